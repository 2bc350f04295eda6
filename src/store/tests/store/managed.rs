//! Managed target groups: their declarations, and the ledger of what was made for them.

use std::collections::BTreeMap;

use anyhow::Result;
use model::{
    Name, PlanId, TargetGroupArn,
    condition::{Readiness, Reason, Truth},
    managed::{
        DefinitionSpec, Ending, GroupPlan, GroupState, GroupStatus, GroupStep, LedgerGroup, Setting, Settings,
    },
    pause::Scope,
};
use serde_json::{Value, json};
use store::{Error, Fence, Outcome, Put, SettledStep, Wake};

use crate::support::{
    Fixture, arn, cluster_spec, group_spec, heard, name_of, object, plan_id, spec as binding_spec,
};

fn spec(change: impl FnOnce(&mut Value)) -> DefinitionSpec {
    let cluster = cluster_spec();
    let mut text = json!({
        "account": cluster.account, "region": cluster.region, "vpcId": cluster.vpc_id, "name": "web",
        "targetType": "ip", "deletionProtection": false, "protocol": "HTTP", "port": 80, "tags": {"team": "shop"},
    });
    change(&mut text);
    let settings: Settings = serde_json::from_value(text).unwrap();
    DefinitionSpec {
        managed: settings.try_into().unwrap(),
        arn: None,
        clusters: vec![name_of("alpha")],
        grants: Vec::new(),
    }
}

fn web() -> Name {
    name_of("web")
}

fn settings(list: &[(&str, &str)]) -> BTreeMap<Setting, String> {
    list.iter()
        .map(|(setting, value)| (setting.parse().unwrap(), (*value).to_owned()))
        .collect()
}

fn create() -> GroupStep {
    GroupStep::Create {
        settings: settings(&[("tags.team", "shop"), ("tags.elbow/target-group", "web")]),
    }
}

struct Writer {
    fixture: Fixture,
    fence: Fence,
}

impl Writer {
    async fn new() -> Result<Self> {
        let fixture = Fixture::new().await?;
        fixture
            .store
            .put_managed_group("test", &web(), &spec(|_| ()), None)
            .await?;
        let fence = fixture.fence().await?;
        Ok(Self { fixture, fence })
    }

    async fn intend(&self, step: &GroupStep) -> store::Result<PlanId> {
        self.intend_at(1, step).await
    }

    async fn intend_at(&self, version: i64, step: &GroupStep) -> store::Result<PlanId> {
        let id = plan_id();
        let plan = GroupPlan {
            name: web(),
            version,
            steps: vec![step.clone()],
            observe: None,
            wake_at: None,
            status: status(Reason::Progressing),
        };
        self.fixture
            .store
            .intend_group(&self.fence, id, &plan, step)
            .await?;
        Ok(id)
    }

    async fn settle(&self, id: PlanId, step: &GroupStep, outcome: Outcome) -> Result<()> {
        let settled = SettledStep {
            step,
            outcome,
            request_id: None,
            problem: None,
        };
        Ok(self
            .fixture
            .store
            .settle_group(&self.fence, id, &web(), settled)
            .await?)
    }

    async fn apply(&self, step: GroupStep, outcome: Outcome) -> Result<()> {
        let id = self.intend(&step).await?;
        self.settle(id, &step, outcome).await
    }

    async fn row(&self) -> Result<Option<LedgerGroup>> {
        let shard = cluster_spec().shard();
        let stored = self.fixture.store.managed_group(&shard, &web()).await?;
        Ok(stored.and_then(|stored| stored.ledger))
    }

    async fn state(&self) -> Result<Option<(GroupState, Option<TargetGroupArn>)>> {
        Ok(self.row().await?.map(|row| (row.state, row.arn)))
    }
}

fn status(reason: Reason) -> GroupStatus {
    GroupStatus {
        ready: Readiness {
            status: Truth::False,
            reason,
            message: String::new(),
        },
        steps: Vec::new(),
        holds: Vec::new(),
        drift: Vec::new(),
    }
}

#[tokio::test]
async fn an_intent_lives_until_its_outcome_is_known() -> Result<()> {
    let writer = Writer::new().await?;
    writer.apply(create(), Outcome::Failed).await?;
    assert_eq!(
        writer.state().await?,
        None,
        "what surely was not applied leaves nothing"
    );
    writer.apply(create(), Outcome::Ambiguous).await?;
    let row = writer.row().await?.unwrap();
    assert_eq!((row.state, row.arn), (GroupState::Creating, None));
    assert_eq!(
        row.applied,
        settings(&[("tags.team", "shop")]),
        "our own tags are no setting"
    );
    assert!(row.ambiguous_at.is_some());
    writer.apply(create(), Outcome::Failed).await?;
    assert!(
        writer.row().await?.is_some(),
        "the first call may still have been applied"
    );
    writer.apply(create(), Outcome::Acknowledged).await?;
    assert_eq!(
        writer.state().await?,
        Some((GroupState::Creating, None)),
        "which one, AWS has yet to say"
    );
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    assert_eq!(
        writer.state().await?,
        Some((GroupState::Present, Some(arn("web"))))
    );

    let modify = GroupStep::Modify {
        arn: arn("web"),
        settings: settings(&[("healthCheck.path", "/healthz")]),
    };
    writer.apply(modify.clone(), Outcome::Ambiguous).await?;
    assert!(
        !writer
            .row()
            .await?
            .unwrap()
            .applied
            .contains_key(&"healthCheck.path".parse()?)
    );
    writer.apply(modify.clone(), Outcome::Acknowledged).await?;
    let before = writer.row().await?.unwrap();
    let again = GroupStep::Modify {
        arn: arn("web"),
        settings: settings(&[("healthCheck.path", "/ready")]),
    };
    writer.intend(&again).await?;
    let row = writer.row().await?.unwrap();
    assert!(
        !row.applied.contains_key(&"healthCheck.path".parse()?) && row.changed_at > before.changed_at,
        "whoever dies now leaves no word on which of the two it is: {row:?}"
    );
    writer.apply(modify, Outcome::Acknowledged).await?;
    let keys = ["tags.team".parse()?].into();
    writer
        .apply(
            GroupStep::Untag {
                arn: arn("web"),
                keys,
            },
            Outcome::Acknowledged,
        )
        .await?;
    assert_eq!(
        writer.row().await?.unwrap().applied,
        settings(&[("healthCheck.path", "/healthz")])
    );

    writer
        .apply(GroupStep::Delete { arn: arn("web") }, Outcome::Failed)
        .await?;
    assert_eq!(writer.row().await?.unwrap().state, GroupState::Present);
    writer
        .apply(GroupStep::Delete { arn: arn("web") }, Outcome::Ambiguous)
        .await?;
    assert_eq!(writer.row().await?.unwrap().state, GroupState::Deleting);
    Ok(())
}

#[tokio::test]
async fn a_plan_of_another_declaration_or_of_another_group_is_stale() -> Result<()> {
    let writer = Writer::new().await?;
    let stale = |result: store::Result<PlanId>| matches!(result, Err(Error::PlanStale { .. }));
    assert!(stale(writer.intend_at(2, &create()).await));
    let of_another = GroupStep::Modify {
        arn: arn("other"),
        settings: BTreeMap::new(),
    };
    assert!(stale(writer.intend(&of_another).await), "nothing is ours");
    writer.apply(create(), Outcome::Acknowledged).await?;
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    assert!(stale(writer.intend(&of_another).await), "ours is another");
    assert!(stale(
        writer.intend(&GroupStep::Delete { arn: arn("other") }).await
    ));
    assert!(stale(writer.intend(&create()).await), "it is there");
    Ok(())
}

#[tokio::test]
async fn a_pause_and_a_lost_lease_stop_an_intent_in_its_transaction() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    for scope in [
        Scope::Installation,
        Scope::Shard(cluster_spec().shard()),
        Scope::Cluster(writer.fixture.cluster),
    ] {
        store.pause("me", &scope, "it", "because").await?;
        assert!(
            matches!(writer.intend(&create()).await, Err(Error::Paused)),
            "{scope:?}"
        );
        let stored = store
            .managed_group(&cluster_spec().shard(), &web())
            .await?
            .unwrap();
        assert!(stored.paused.is_some(), "{scope:?}");
        store.resume("me", &scope, "it").await?;
    }
    let lost = Writer {
        fence: Fence {
            epoch: writer.fence.epoch - 1,
            ..writer.fence.clone()
        },
        fixture: writer.fixture,
    };
    assert!(matches!(
        lost.intend(&create()).await,
        Err(Error::LeaseLost { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn a_group_with_an_arn_is_declared_to_bindings_and_those_by_name_hear_of_it() -> Result<()> {
    let mut writer = Writer::new().await?;
    let mut listener = writer.fixture.store.listen().await?;
    writer.apply(create(), Outcome::Acknowledged).await?;
    assert_eq!(writer.fixture.store.target_group_by_arn(&arn("web")).await?, None);
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
    assert_eq!(wakes, [Wake::Group(arn("web")), Wake::Declared]);
    let store = &writer.fixture.store;
    let declared = store.target_group_by_arn(&arn("web")).await?.unwrap();
    assert_eq!(
        (declared.spec, declared.version),
        (spec(|_| ()).declared(arn("web")), 1)
    );
    assert_eq!(store.unannounced_groups().await?, [spec(|_| ())]);
    store.announced_groups(&[spec(|_| ())]).await?;
    assert!(store.unannounced_groups().await?.is_empty());

    // Who may use it changes for both.
    let mut shared = spec(|_| ());
    shared.clusters = vec![name_of("alpha"), name_of("beta")];
    store.put_managed_group("test", &web(), &shared, Some(1)).await?;
    let declared = store.target_group_by_arn(&arn("web")).await?.unwrap();
    assert_eq!((declared.spec.clusters.len(), declared.version), (2, 2));
    let both = store.declared_groups(None, None, 10).await?;
    assert_eq!(both.len(), 1);
    assert_eq!((both[0].arn.clone(), both[0].version), (Some(arn("web")), 2));
    Ok(())
}

#[tokio::test]
async fn what_aws_cannot_change_and_what_others_have_is_refused() -> Result<()> {
    let fixture = Fixture::new().await?;
    let store = &fixture.store;
    let put = |name: &'static str, spec: DefinitionSpec| async move {
        store.put_managed_group("test", &name_of(name), &spec, None).await
    };
    assert!(matches!(put("web", spec(|_| ())).await?, Put::Created(_)));
    assert!(matches!(put("web", spec(|_| ())).await?, Put::Unchanged(_)));
    for (told, result) in [
        (
            "by another name",
            put("web", spec(|text| text["port"] = json!(81))).await,
        ),
        ("declared as `web` already", put("other", spec(|_| ())).await),
    ] {
        assert!(
            matches!(&result, Err(Error::Constraint(message)) if message.contains(told)),
            "{result:?}"
        );
    }
    store
        .put_target_group("test", &name_of("theirs"), &group_spec("theirs"), None)
        .await?;
    let result = put("theirs", spec(|text| text["name"] = json!("theirs"))).await;
    assert!(
        matches!(&result, Err(Error::Constraint(message)) if message.contains("taken over")),
        "{result:?}"
    );
    let mut adopting = spec(|text| text["name"] = json!("theirs"));
    adopting.arn = Some(arn("theirs"));
    let adopted = put("theirs", adopting).await?;
    assert!(matches!(adopted, Put::Updated(definition) if definition.version == 2));
    let conflict = store
        .put_managed_group("test", &web(), &spec(|_| ()), Some(7))
        .await;
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    Ok(())
}

/// Whoever declares by another name what Elbow is about to delete would be left with nothing.
#[tokio::test]
async fn a_group_that_is_on_its_way_out_is_declared_by_nobody() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    writer.apply(create(), Outcome::Acknowledged).await?;
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    store
        .end_managed_group("test", &web(), Ending::Delete, None, false)
        .await?;
    let (mine, same) = (name_of("mine"), group_spec("web"));
    let declare = || store.put_target_group("test", &mine, &same, None);
    assert!(
        matches!(declare().await, Err(Error::Constraint(message)) if message.contains("on its way out")),
        "it is Elbow's until it is gone"
    );
    writer.intend_at(2, &GroupStep::Forget).await?;
    declare().await?;
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_used_is_not_ended_and_one_that_was_never_made_is_gone_at_once() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    writer.apply(create(), Outcome::Acknowledged).await?;
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    let bound = object("web");
    store
        .put_binding(
            "test",
            writer.fixture.cluster,
            &bound,
            &json!({}),
            &Ok(binding_spec("web", "web")),
            None,
        )
        .await?;
    let refused = store
        .end_managed_group("test", &web(), Ending::Delete, None, false)
        .await;
    assert!(
        matches!(&refused, Err(Error::Constraint(message)) if message.contains("1 bindings")),
        "{refused:?}"
    );
    // Whoever asked: not in the transaction of the intent either.
    let refused = writer.intend(&GroupStep::Delete { arn: arn("web") }).await;
    assert!(matches!(refused, Err(Error::Constraint(_))), "{refused:?}");
    store
        .delete_binding("test", writer.fixture.cluster, &bound, None)
        .await?;
    store.finish_bindings(&writer.fence, &arn("web")).await?;
    store
        .end_managed_group("test", &web(), Ending::Delete, None, false)
        .await?;
    assert_eq!(
        store.target_group_by_arn(&arn("web")).await?,
        None,
        "nobody binds it any more"
    );
    assert_eq!(
        store.managed_groups(&cluster_spec().shard()).await?,
        [web()],
        "there is still something to do"
    );
    let again = store.put_managed_group("test", &web(), &spec(|_| ()), None).await;
    assert!(
        matches!(&again, Err(Error::Constraint(message)) if message.contains("on its way out")),
        "{again:?}"
    );
    let delete = GroupStep::Delete { arn: arn("web") };
    let id = writer.intend_at(2, &delete).await?;
    writer.settle(id, &delete, Outcome::Acknowledged).await?;
    writer.intend_at(2, &GroupStep::Forget).await?;
    assert_eq!(store.declared_group(&web()).await?, None);

    store
        .put_managed_group("test", &web(), &spec(|_| ()), None)
        .await?;
    store
        .end_managed_group("test", &web(), Ending::Delete, None, false)
        .await?;
    assert_eq!(
        store.declared_group(&web()).await?,
        None,
        "there was nothing of ours"
    );
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_given_up_stays_declared_as_somebody_elses() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    writer.apply(create(), Outcome::Acknowledged).await?;
    writer.intend(&GroupStep::Confirm { arn: arn("web") }).await?;
    let other = store
        .release_managed_group("test", &web(), &group_spec("other"), None, false)
        .await;
    assert!(matches!(other, Err(Error::Constraint(_))), "{other:?}");
    store
        .release_managed_group("test", &web(), &group_spec("web"), Some(1), false)
        .await?;
    assert_eq!(
        store.target_group_by_arn(&arn("web")).await?.unwrap().version,
        2,
        "bindings go on"
    );
    let keys = ["tags.elbow/installation".parse()?].into();
    let release = GroupStep::Release {
        arn: arn("web"),
        keys,
    };
    let id = writer.intend_at(2, &release).await?;
    writer.settle(id, &release, Outcome::Acknowledged).await?;
    writer.intend_at(2, &GroupStep::Forget).await?;
    let declared = store.declared_group(&web()).await?.unwrap();
    assert_eq!(
        (declared.managed, declared.arn, declared.version),
        (None, Some(arn("web")), 2)
    );
    Ok(())
}

#[tokio::test]
async fn a_protected_group_is_not_deleted_but_may_be_let_go_and_a_trial_leaves_no_trace() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    writer.apply(create(), Outcome::Acknowledged).await?;
    let protected = spec(|text| text["deletionProtection"] = json!(true));
    let (group, snapshot) = store
        .try_managed_group("test", &web(), &protected, Some(1))
        .await?;
    assert_eq!((group.version, snapshot.definition.version), (2, 2));
    assert_eq!(store.declared_group(&web()).await?.unwrap().version, 1);
    store
        .put_managed_group("test", &web(), &protected, Some(1))
        .await?;
    let end = async |ending, dry_run| {
        store
            .end_managed_group("test", &web(), ending, None, dry_run)
            .await
    };
    let refused = end(Ending::Delete, false).await;
    assert!(matches!(refused, Err(Error::Constraint(_))), "{refused:?}");
    end(Ending::Keep, true).await?;
    let ending = async || {
        store
            .declared_group(&web())
            .await
            .map(|group| group.unwrap().managed.unwrap().ending)
    };
    assert_eq!(ending().await?, None);
    end(Ending::Keep, false).await?;
    assert_eq!(ending().await?, Some(Ending::Keep));
    Ok(())
}

#[tokio::test]
async fn what_a_writer_tells_is_read_back() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    let before = store.declared_group(&web()).await?.unwrap().managed.unwrap();
    assert_eq!((before.status, before.state), (None, None));
    let observed = model::Observed::Unknown;
    store
        .report_managed_group(&writer.fence, &web(), &status(Reason::NotOwned), &observed)
        .await?;
    let told = store.declared_group(&web()).await?.unwrap().managed.unwrap();
    assert_eq!(told.status, Some(status(Reason::NotOwned)));
    Ok(())
}
