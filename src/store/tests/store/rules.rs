//! Openings and the ledger of security-group rules.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use model::{
    BindingId, PlanId, SecurityGroupId,
    binding::{Lifecycle, Peer},
    condition::{Problem, Reason},
    fact::Protocol,
    network::{LedgerRule, Openings, Permission, PortRange, RuleState, SecurityGroupRuleId, Standing},
    pause::Scope,
    plan::Step,
    rule_plan::{
        Authorization, Confirmation, Revocation, RulePlan, RuleStep, Sharing, WhyAuthorize, WhyRevoke,
    },
    stream::Change,
};
use serde_json::json;
use store::{Error, Fence, Outcome, SettledRule, Wake};

use crate::support::{Fixture, addition, arn, cluster_spec, heard, plan, plan_id, source};

fn group() -> SecurityGroupId {
    "sg-0123456789abcdef0".parse().unwrap()
}

fn id(last: u8) -> SecurityGroupRuleId {
    format!("sgr-0123456789abcde{last:02x}").parse().unwrap()
}

fn port(port: u16) -> Permission {
    Permission {
        protocol: Protocol::Tcp,
        peer: Peer::Cidr("10.0.0.0/8".parse().unwrap()),
        ports: PortRange::single(port),
    }
}

fn openings(ports: &[u16]) -> Openings {
    if ports.is_empty() {
        return Openings::new();
    }
    Openings::from([(group(), ports.iter().map(|each| port(*each)).collect())])
}

struct Writer {
    fixture: Fixture,
    fence: Fence,
    binding: BindingId,
}

impl Writer {
    async fn new() -> Result<Self> {
        let fixture = Fixture::new().await?;
        fixture.upsert([source("web")]).await?;
        let (fence, binding) = (fixture.fence().await?, fixture.binding(&arn("web")).await?.id);
        Ok(Self {
            fixture,
            fence,
            binding,
        })
    }

    async fn open(&self, ports: &[u16]) -> Result<bool> {
        let store = &self.fixture.store;
        Ok(store
            .write_openings(
                &self.fence,
                &arn("web"),
                self.binding,
                Some(&openings(ports)),
                None,
            )
            .await?)
    }

    async fn intend(&self, step: RuleStep) -> store::Result<PlanId> {
        let id = plan_id();
        let plan = RulePlan {
            security_group: group(),
            steps: vec![step.clone()],
            holds: Vec::new(),
            borrowed: BTreeMap::new(),
            widened: Vec::new(),
            observe: None,
            wake_at: None,
            standings: BTreeMap::new(),
        };
        self.fixture
            .store
            .intend_rules(&self.fence, id, &plan, &[step])
            .await?;
        Ok(id)
    }

    async fn authorize(&self, rule: Option<u8>, outcome: Outcome) -> Result<()> {
        let rules = vec![Authorization {
            permission: port(80),
            clusters: BTreeSet::from([self.fixture.cluster]),
            bindings: BTreeSet::from([self.binding]),
            description: String::new(),
            why: WhyAuthorize::Wanted,
        }];
        let plan = self.intend(RuleStep::Authorize { rules }).await?;
        self.settle(plan, rule, outcome).await
    }

    async fn revoke(&self, rule: u8, outcome: Outcome) -> Result<()> {
        let rules = vec![Revocation {
            permission: port(80),
            rule: id(rule),
            why: WhyRevoke::Unneeded,
        }];
        let plan = self.intend(RuleStep::Revoke { rules }).await?;
        self.settle(plan, None, outcome).await
    }

    async fn settle(&self, plan: PlanId, rule: Option<u8>, outcome: Outcome) -> Result<()> {
        let settled = SettledRule {
            permission: port(80),
            rule: rule.map(id),
            outcome,
            request_id: Some(format!("request-{plan}")),
        };
        let store = &self.fixture.store;
        Ok(store
            .settle_rules(&self.fence, plan, &group(), &[settled], None)
            .await?)
    }

    async fn row(&self) -> Result<Option<LedgerRule>> {
        let mut rows = self.fixture.store.ledger_rules(&group()).await?;
        let shard = cluster_spec().shard();
        assert_eq!(
            rows,
            self.fixture.store.security_group(&shard, &group()).await?.ledger
        );
        assert!(rows.len() < 2);
        Ok(rows.pop())
    }

    async fn state(&self) -> Result<Option<(RuleState, Option<SecurityGroupRuleId>)>> {
        Ok(self.row().await?.map(|row| (row.state, row.rule)))
    }
}

#[tokio::test]
async fn openings_wake_the_security_group_and_their_standing_the_target_group() -> Result<()> {
    let mut writer = Writer::new().await?;
    let shard = cluster_spec().shard();
    let woken = Wake::SecurityGroup(shard.clone(), group());
    let mut listener = writer.fixture.store.listen().await?;
    assert!(writer.open(&[80, 443]).await?);
    assert!(!writer.open(&[80, 443]).await?, "the same is no news");
    assert_eq!(
        heard(&mut listener, &mut writer.fixture.sql).await?,
        std::slice::from_ref(&woken)
    );
    let snapshot = writer.fixture.store.security_group(&shard, &group()).await?;
    assert_eq!(
        snapshot.openings[0].permissions,
        BTreeSet::from([port(80), port(443)])
    );
    assert_eq!(snapshot.clusters.len(), 1);
    assert_eq!(writer.fixture.store.security_groups(&shard).await?, [group()]);

    let problem = Some(Problem::new(Reason::QuotaExceeded, "full"));
    let standing = Standing {
        open: BTreeSet::from([port(80)]),
        problem,
        ..Standing::default()
    };
    let report = BTreeMap::from([(writer.binding, standing.clone())]);
    let store = writer.fixture.store.clone();
    assert_eq!(store.report_openings(&writer.fence, &group(), &report).await?, 1);
    assert_eq!(store.report_openings(&writer.fence, &group(), &report).await?, 0);
    assert_eq!(
        heard(&mut listener, &mut writer.fixture.sql).await?,
        [Wake::Group(arn("web"))]
    );
    let bound = writer.fixture.snapshot(&arn("web")).await?.bindings;
    assert_eq!(bound[0].openings[&group()].standing, Some(standing));

    // What was refused is asked for anew when something else is asked for.
    writer.open(&[80]).await?;
    let bound = writer.fixture.snapshot(&arn("web")).await?.bindings;
    let standing = bound[0].openings[&group()].standing.clone().unwrap();
    assert_eq!(
        (standing.open, standing.problem),
        (BTreeSet::from([port(80)]), None)
    );

    // They go with the binding.
    heard(&mut listener, &mut writer.fixture.sql).await?;
    writer.fixture.delete([source("web")]).await?;
    store.finish_bindings(&writer.fence, &arn("web")).await?;
    let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
    assert!(wakes.contains(&woken), "{wakes:?}");
    assert!(store.security_groups(&shard).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_a_held_deletion_without_targets_needed_open_wakes_the_security_group_as_it_ends() -> Result<()>
{
    let mut writer = Writer::new().await?;
    let others: Vec<_> = (0..9).map(|number| source(&format!("web-{number}"))).collect();
    writer.fixture.upsert(others).await?;
    writer.fixture.age(120).await?;
    writer.open(&[80]).await?;
    writer.fixture.state(Change::Reset(Vec::new())).await?;
    assert!(matches!(
        writer.fixture.binding(&arn("web")).await?.lifecycle,
        Lifecycle::DeletionHeld { .. }
    ));

    let store = writer.fixture.store.clone();
    let mut listener = store.listen().await?;
    assert_eq!(store.finish_bindings(&writer.fence, &arn("web")).await?, 1);
    let shard = cluster_spec().shard();
    let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
    assert!(
        wakes.contains(&Wake::SecurityGroup(shard.clone(), group())),
        "{wakes:?}"
    );
    assert!(store.security_groups(&shard).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_deleted_binding_that_still_has_targets_wakes_no_security_group() -> Result<()> {
    let mut writer = Writer::new().await?;
    writer.open(&[80]).await?;
    let store = writer.fixture.store.clone();
    let targets = vec![addition("10.0.0.1", &[writer.binding])];
    let step = Step::Register { targets };
    store
        .intend(
            &writer.fence,
            plan_id(),
            &plan("web", vec![step.clone()]),
            &[step],
        )
        .await?;
    writer.fixture.delete([source("web")]).await?;

    let mut listener = store.listen().await?;
    assert_eq!(store.finish_bindings(&writer.fence, &arn("web")).await?, 0);
    assert_eq!(heard(&mut listener, &mut writer.fixture.sql).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_rule_goes_through_its_life_and_keeps_its_id() -> Result<()> {
    let writer = Writer::new().await?;
    writer.authorize(None, Outcome::Failed).await?;
    assert_eq!(writer.row().await?, None, "surely not made: it was never ours");
    writer.authorize(None, Outcome::Ambiguous).await?;
    assert_eq!(writer.state().await?, Some((RuleState::Authorizing, None)));
    assert!(writer.row().await?.unwrap().ambiguous_at.is_some());
    let seen = |rule| RuleStep::Confirm {
        rules: vec![Confirmation {
            permission: port(80),
            rule: id(rule),
        }],
    };
    writer.intend(seen(1)).await?;
    assert_eq!(writer.state().await?, Some((RuleState::Authorized, Some(id(1)))));
    let other = writer.intend(RuleStep::Revoke {
        rules: vec![Revocation {
            permission: port(80),
            rule: id(2),
            why: WhyRevoke::Unneeded,
        }],
    });
    assert!(
        matches!(other.await, Err(Error::PlanStale { .. })),
        "another id is another rule"
    );
    writer.revoke(1, Outcome::Ambiguous).await?;
    assert_eq!(writer.state().await?, Some((RuleState::Revoking, Some(id(1)))));
    writer.revoke(1, Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some((RuleState::Revoked, Some(id(1)))));
    writer.authorize(Some(3), Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some((RuleState::Authorized, Some(id(3)))));
    writer
        .intend(RuleStep::Share {
            rules: vec![Sharing {
                permission: port(80),
                clusters: BTreeSet::new(),
                bindings: BTreeSet::new(),
            }],
        })
        .await?;
    assert!(writer.row().await?.unwrap().clusters.is_empty());
    writer
        .intend(RuleStep::Forget {
            rules: vec![port(80)],
        })
        .await?;
    assert_eq!(writer.row().await?, None);
    let plans = writer.fixture.store.rule_plans(&group(), None, 100).await?;
    assert!(plans.len() >= 8, "{}", plans.len());
    assert_eq!(
        writer.fixture.store.plan(plans[0].id).await?,
        None,
        "it is of no target group"
    );
    Ok(())
}

#[tokio::test]
async fn a_writer_without_the_lease_writes_no_rule_and_no_opening() -> Result<()> {
    let mut writer = Writer::new().await?;
    writer.fence.epoch += 1;
    assert!(writer.open(&[80]).await.is_err());
    let rules = vec![port(80)];
    let late = writer.intend(RuleStep::Forget { rules }).await;
    assert!(matches!(late, Err(Error::LeaseLost { .. })));
    Ok(())
}

#[tokio::test]
async fn a_pause_of_any_scope_that_a_rule_is_of_refuses_its_intent() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    writer.open(&[80]).await?;
    writer.authorize(Some(1), Outcome::Acknowledged).await?;
    let shard = cluster_spec().shard();
    for scope in [
        Scope::Installation,
        Scope::Shard(shard),
        Scope::Cluster(writer.fixture.cluster),
        Scope::Binding(writer.binding),
    ] {
        store.pause("mia", &scope, "it", "a test").await?;
        let revoked = writer.revoke(1, Outcome::Acknowledged).await;
        let authorized = writer.authorize(None, Outcome::Failed).await;
        for refused in [revoked, authorized] {
            let error = refused.expect_err("paused").downcast::<Error>()?;
            assert!(matches!(error, Error::Paused), "{scope:?}: {error:?}");
        }
        // What writes nothing to AWS goes on.
        let clusters = BTreeSet::from([writer.fixture.cluster]);
        let rules = vec![Sharing {
            permission: port(80),
            clusters,
            bindings: BTreeSet::from([writer.binding]),
        }];
        writer.intend(RuleStep::Share { rules }).await?;
        store.resume("mia", &scope, "it").await?;
    }
    // A pause of another binding in the group is no affair of this rule, unless nobody wrote down whom it serves.
    let mut fixture = writer.fixture;
    fixture.upsert([source("other")]).await?;
    let other = fixture.binding(&arn("other")).await?.id;
    let store = fixture.store.clone();
    let openings = openings(&[443]);
    store
        .write_openings(&writer.fence, &arn("other"), other, Some(&openings), None)
        .await?;
    let scope = Scope::Binding(other);
    store.pause("mia", &scope, "it", "a test").await?;
    let snapshot = store.security_group(&cluster_spec().shard(), &group()).await?;
    assert_eq!(snapshot.pauses[0].0, scope);
    sqlx::query("update ledger_rules set bindings = null")
        .execute(&mut fixture.sql)
        .await?;
    let writer = Writer { fixture, ..writer };
    let refused = writer.revoke(1, Outcome::Acknowledged).await.unwrap_err();
    assert!(matches!(refused.downcast::<Error>()?, Error::Paused));
    let rules = vec![Sharing {
        permission: port(80),
        clusters: BTreeSet::from([writer.fixture.cluster]),
        bindings: BTreeSet::from([writer.binding]),
    }];
    writer.intend(RuleStep::Share { rules }).await?;
    writer.revoke(1, Outcome::Acknowledged).await
}

#[tokio::test]
async fn a_pause_and_its_end_wake_the_security_groups_of_whom_they_concern() -> Result<()> {
    let mut writer = Writer::new().await?;
    writer.open(&[80]).await?;
    writer.authorize(Some(1), Outcome::Acknowledged).await?;
    let store = writer.fixture.store.clone();
    let woken = Wake::SecurityGroup(cluster_spec().shard(), group());
    let mut listener = store.listen().await?;
    for opened in [true, false] {
        for scope in [
            Scope::Cluster(writer.fixture.cluster),
            Scope::Binding(writer.binding),
        ] {
            store.pause("mia", &scope, "it", "a test").await?;
            let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
            assert!(wakes.contains(&woken), "{scope:?} {opened}: {wakes:?}");
            store.resume("mia", &scope, "it").await?;
            let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
            assert!(wakes.contains(&woken), "{scope:?} {opened}: {wakes:?}");
        }
        // A rule that served it last is enough.
        writer.open(&[]).await?;
        heard(&mut listener, &mut writer.fixture.sql).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_write_of_rules_can_be_found_in_aws_s_own_records() -> Result<()> {
    let writer = Writer::new().await?;
    writer.authorize(None, Outcome::Failed).await?;
    writer.authorize(Some(1), Outcome::Acknowledged).await?;
    let plans = writer.fixture.store.rule_plans(&group(), None, 10).await?;
    let requests: Vec<_> = plans
        .iter()
        .map(|plan| plan.outcome.as_ref().unwrap()[0]["requests"].clone())
        .collect();
    let request = |plan: usize, outcome: &str| json!([{ "requestId": format!("request-{}", plans[plan].id), "outcome": outcome, "rules": ["TCP 80 from 10.0.0.0/8"] }]);
    assert_eq!(requests, [request(0, "acknowledged"), request(1, "failed")]);
    Ok(())
}

#[tokio::test]
async fn a_binding_that_keeps_what_it_had_goes_only_when_its_rules_are_nobody_s() -> Result<()> {
    let mut writer = Writer::new().await?;
    writer.open(&[80]).await?;
    writer.authorize(Some(1), Outcome::Acknowledged).await?;
    let store = writer.fixture.store.clone();
    let shard = cluster_spec().shard();
    let relinquished = async || {
        let snapshot = store.security_group(&shard, &group()).await?;
        anyhow::Ok(
            snapshot
                .openings
                .iter()
                .map(|opening| opening.relinquished)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(relinquished().await?, [false]);
    sqlx::query("update bindings set standing = 'managedByLbc'")
        .execute(&mut writer.fixture.sql)
        .await?;
    assert_eq!(relinquished().await?, [false], "it is still there");
    writer.fixture.delete([source("web")]).await?;
    assert_eq!(relinquished().await?, [true]);

    let mut listener = store.listen().await?;
    assert_eq!(store.finish_bindings(&writer.fence, &arn("web")).await?, 0);
    let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
    assert_eq!(wakes, [Wake::SecurityGroup(shard.clone(), group())]);
    writer
        .intend(RuleStep::Relinquish {
            rules: vec![port(80)],
            bindings: BTreeSet::from([writer.binding]),
        })
        .await?;
    let wakes = heard(&mut listener, &mut writer.fixture.sql).await?;
    assert_eq!(wakes, [Wake::Group(arn("web"))]);
    assert_eq!(writer.row().await?, None);
    assert_eq!(store.finish_bindings(&writer.fence, &arn("web")).await?, 1);
    Ok(())
}
