use anyhow::Result;
use jiff::Timestamp;
use model::{
    BindingId, PlanId,
    drain::Drained,
    fact::Evidence,
    ledger::{Ground, LedgerState, LedgerTarget},
    plan::{MarkKey, Step},
};
use store::{Call, Error, Fence, Outcome};

use crate::support::{
    Fixture, addition, arn, eventually, group_spec, key, name_of, plan, plan_id, pod, rows, source,
    subtraction,
};

const ADDRESS: &str = "10.0.0.1";
const PROVEN: Ground = Ground::Proven(Evidence::PodGone);

/// A writer with one binding to the group `web`.
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

    async fn intend(&self, step: Step) -> store::Result<PlanId> {
        let id = plan_id();
        self.fixture
            .store
            .intend(&self.fence, id, &plan("web", vec![step.clone()]), &[step])
            .await?;
        Ok(id)
    }

    async fn settle(&self, id: PlanId, outcome: Outcome) -> store::Result<()> {
        let call = Call {
            targets: vec![key(ADDRESS)],
            outcome,
            request_id: Some("a-request".to_owned()),
        };
        self.fixture
            .store
            .settle(&self.fence, id, &arn("web"), &[call], None)
            .await
    }

    async fn register(&self, outcome: Outcome) -> Result<()> {
        let id = self
            .intend(Step::Register {
                targets: vec![addition(ADDRESS, &[self.binding])],
            })
            .await?;
        Ok(self.settle(id, outcome).await?)
    }

    async fn deregister(&self, outcome: Outcome) -> Result<()> {
        self.deregister_for(PROVEN, outcome).await
    }

    async fn deregister_for(&self, ground: Ground, outcome: Outcome) -> Result<()> {
        let id = self
            .intend(Step::Deregister {
                targets: vec![subtraction(ADDRESS, ground)],
            })
            .await?;
        Ok(self.settle(id, outcome).await?)
    }

    async fn row(&self) -> Result<Option<LedgerTarget>> {
        let mut ledger = self.fixture.snapshot(&arn("web")).await?.ledger;
        assert_eq!(ledger, self.fixture.store.ledger(&arn("web")).await?);
        assert!(ledger.len() < 2);
        Ok(ledger.pop())
    }

    async fn state(&self) -> Result<Option<LedgerState>> {
        Ok(self.row().await?.map(|row| row.state))
    }

    async fn removals(&self) -> Result<usize> {
        Ok(self.fixture.snapshot(&arn("web")).await?.removals.len())
    }
}

#[tokio::test]
async fn an_intent_is_there_before_its_outcome_and_follows_it() -> Result<()> {
    let writer = Writer::new().await?;
    let id = writer
        .intend(Step::Register {
            targets: vec![addition(ADDRESS, &[writer.binding])],
        })
        .await?;
    let row = writer.row().await?.unwrap();
    assert_eq!(
        (row.state, row.claimed, row.bindings),
        (LedgerState::Registering, false, vec![writer.binding])
    );
    writer.settle(id, Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Registered));

    writer.deregister(Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Deregistered));
    writer
        .intend(Step::Forget {
            targets: vec![key(ADDRESS)],
        })
        .await?;
    assert_eq!(writer.state().await?, None);
    Ok(())
}

/// What AWS was asked last may be of before.
#[tokio::test]
async fn a_declared_group_tells_how_many_targets_are_registered_in_it_now() -> Result<()> {
    let writer = Writer::new().await?;
    let (store, name) = (&writer.fixture.store, name_of("web"));
    store
        .put_target_group("test", &name, &group_spec("web"), None)
        .await?;
    let registered = async || -> Result<(Option<u32>, Vec<u32>)> {
        let one = store.declared_group(&name).await?;
        let all = store.declared_groups(None, None, 10).await?;
        Ok((
            one.map(|group| group.registered),
            all.iter().map(|group| group.registered).collect(),
        ))
    };
    assert_eq!(registered().await?, (Some(0), vec![0]));
    writer.register(Outcome::Acknowledged).await?;
    assert_eq!(registered().await?, (Some(1), vec![1]));
    writer.deregister(Outcome::Acknowledged).await?;
    assert_eq!(registered().await?, (Some(0), vec![0]));
    Ok(())
}

#[tokio::test]
async fn a_register_that_surely_failed_leaves_what_was_before() -> Result<()> {
    let writer = Writer::new().await?;
    writer.register(Outcome::Failed).await?;
    assert_eq!(writer.state().await?, None);

    writer.register(Outcome::Acknowledged).await?;
    writer.register(Outcome::Failed).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Registered));
    writer.deregister(Outcome::Acknowledged).await?;
    writer.register(Outcome::Failed).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Deregistered));
    Ok(())
}

#[tokio::test]
async fn after_an_ambiguous_answer_a_failure_proves_nothing() -> Result<()> {
    let writer = Writer::new().await?;
    writer.register(Outcome::Ambiguous).await?;
    let row = writer.row().await?.unwrap();
    assert_eq!(row.state, LedgerState::Registering);
    assert!(row.ambiguous_at.is_some());
    writer.register(Outcome::Failed).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Registering));
    writer.register(Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Registered));
    Ok(())
}

#[tokio::test]
async fn an_intent_whose_writer_died_is_as_good_as_an_ambiguous_answer() -> Result<()> {
    let writer = Writer::new().await?;
    writer
        .intend(Step::Register {
            targets: vec![addition(ADDRESS, &[writer.binding])],
        })
        .await?;
    writer.register(Outcome::Failed).await?;
    let row = writer.row().await?.unwrap();
    assert_eq!(row.state, LedgerState::Registering);
    assert!(row.ambiguous_at.is_some());
    Ok(())
}

#[tokio::test]
async fn a_removal_counts_once_however_often_it_is_tried_and_not_if_it_failed() -> Result<()> {
    let writer = Writer::new().await?;
    writer.register(Outcome::Acknowledged).await?;
    writer.deregister(Outcome::Failed).await?;
    assert_eq!(
        (writer.state().await?, writer.removals().await?),
        (Some(LedgerState::Registered), 0)
    );
    writer.deregister(Outcome::Ambiguous).await?;
    writer.deregister(Outcome::Ambiguous).await?;
    assert_eq!(
        (writer.state().await?, writer.removals().await?),
        (Some(LedgerState::Deregistering), 1)
    );
    let removal = writer.fixture.snapshot(&arn("web")).await?.removals.remove(0);
    assert_eq!(
        (removal.key, removal.ground, removal.live_before),
        (key(ADDRESS), PROVEN, 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_claim_is_ours_at_once_and_only_if_it_was_not() -> Result<()> {
    let writer = Writer::new().await?;
    let claim = || Step::Claim {
        targets: vec![addition(ADDRESS, &[writer.binding])],
    };
    writer.intend(claim()).await?;
    let row = writer.row().await?.unwrap();
    assert_eq!((row.state, row.claimed), (LedgerState::Registered, true));
    assert!(matches!(
        writer.intend(claim()).await,
        Err(Error::PlanStale { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn a_plan_that_the_ledger_contradicts_writes_nothing() -> Result<()> {
    let mut writer = Writer::new().await?;
    let before = rows(&mut writer.fixture.sql).await?;
    for step in [
        Step::Deregister {
            targets: vec![subtraction(ADDRESS, PROVEN)],
        },
        Step::Forget {
            targets: vec![key(ADDRESS)],
        },
        Step::Unbind {
            targets: vec![addition(ADDRESS, &[])],
        },
    ] {
        assert!(matches!(writer.intend(step).await, Err(Error::PlanStale { .. })));
    }
    assert!(
        writer
            .fixture
            .store
            .plans(&arn("web"), None, 10)
            .await?
            .is_empty()
    );
    // But for the lock on the lease, which leaves the rows as they are.
    assert_eq!(rows(&mut writer.fixture.sql).await?, before);
    Ok(())
}

#[tokio::test]
async fn an_outcome_of_a_plan_that_another_followed_is_passed_over() -> Result<()> {
    let writer = Writer::new().await?;
    let register = || Step::Register {
        targets: vec![addition(ADDRESS, &[writer.binding])],
    };
    let first = writer.intend(register()).await?;
    writer.intend(register()).await?;
    writer.settle(first, Outcome::Acknowledged).await?;
    assert_eq!(writer.state().await?, Some(LedgerState::Registering));
    Ok(())
}

#[tokio::test]
async fn marks_come_with_the_plan_or_alone_and_a_registration_ends_them() -> Result<()> {
    let writer = Writer::new().await?;
    writer.register(Outcome::Acknowledged).await?;
    let since: Timestamp = "2026-01-02T03:04:05.678901Z".parse()?;
    let marks = [(MarkKey(key(ADDRESS)), Some(since))].into();
    writer
        .fixture
        .store
        .apply_marks(&writer.fence, &arn("web"), &marks)
        .await?;
    assert_eq!(writer.row().await?.unwrap().unwanted_since, Some(since));
    writer.register(Outcome::Acknowledged).await?;
    assert_eq!(writer.row().await?.unwrap().unwanted_since, None);

    let mut marked = plan("web", Vec::new());
    marked.marks = marks;
    writer
        .fixture
        .store
        .intend(&writer.fence, plan_id(), &marked, &[])
        .await?;
    assert_eq!(writer.row().await?.unwrap().unwanted_since, Some(since));
    Ok(())
}

#[tokio::test]
async fn a_deleted_binding_stays_while_the_ledger_names_it() -> Result<()> {
    let writer = Writer::new().await?;
    writer.register(Outcome::Acknowledged).await?;
    writer.fixture.delete([source("web")]).await?;
    assert_eq!(
        writer
            .fixture
            .store
            .finish_bindings(&writer.fence, &arn("web"))
            .await?,
        0
    );
    writer.deregister(Outcome::Acknowledged).await?;
    assert_eq!(
        writer
            .fixture
            .store
            .finish_bindings(&writer.fence, &arn("web"))
            .await?,
        0
    );
    writer
        .intend(Step::Forget {
            targets: vec![key(ADDRESS)],
        })
        .await?;
    assert_eq!(
        writer
            .fixture
            .store
            .finish_bindings(&writer.fence, &arn("web"))
            .await?,
        1
    );
    assert!(writer.fixture.snapshot(&arn("web")).await?.bindings.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_journal_keeps_the_last_plans_with_what_became_of_them() -> Result<()> {
    let writer = Writer::new().await?;
    let mut ids = Vec::new();
    for _ in 0..60 {
        let id = writer
            .intend(Step::Register {
                targets: vec![addition(ADDRESS, &[writer.binding])],
            })
            .await?;
        writer.settle(id, Outcome::Acknowledged).await?;
        ids.push(id);
    }
    ids.reverse();
    let first = writer.fixture.store.plans(&arn("web"), None, 20).await?;
    let rest = writer
        .fixture
        .store
        .plans(&arn("web"), Some(first[19].id), 100)
        .await?;
    let kept: Vec<_> = first.iter().chain(&rest).map(|plan| plan.id).collect();
    assert_eq!(kept, ids[..50]);
    let outcome = writer.fixture.store.plan(ids[0]).await?.unwrap().outcome.unwrap();
    assert_eq!(outcome[0]["acknowledged"][0]["port"], 8080);
    Ok(())
}

#[tokio::test]
async fn a_target_of_a_pod_that_ends_is_followed_until_it_has_drained() -> Result<()> {
    let writer = Writer::new().await?;
    let store = &writer.fixture.store;
    let drains = async || anyhow::Ok(writer.fixture.snapshot(&arn("web")).await?.drains);
    let forget = async || {
        let targets = vec![key(ADDRESS)];
        writer.intend(Step::Forget { targets }).await
    };
    // A pod that is gone has nothing to finish.
    writer.register(Outcome::Acknowledged).await?;
    writer.deregister(Outcome::Acknowledged).await?;
    forget().await?;
    assert_eq!(drains().await?, []);

    writer.register(Outcome::Acknowledged).await?;
    let ends = Ground::Proven(Evidence::Terminating);
    writer.deregister_for(ends, Outcome::Acknowledged).await?;
    forget().await?;
    let [drain] = &drains().await?[..] else {
        panic!("it drains")
    };
    assert_eq!((&drain.key, &drain.pod), (&key(ADDRESS), &pod(ADDRESS)));
    assert_eq!(store.groups(arn("web").shard()).await?, [arn("web")]);

    let before = store.latest_event().await?;
    let drained = Drained {
        key: key(ADDRESS),
        at: Some("2030-01-01T00:00:00Z".parse()?),
    };
    store
        .finish_drains(&writer.fence, &arn("web"), std::slice::from_ref(&drained))
        .await?;
    assert_eq!(drains().await?, []);
    // It is told when every transaction from before it has ended, those of other tests as well.
    let event = eventually(async || {
        let mut told = store.events(None, before, 100).await?.into_iter();
        Ok(told.find(|event| event.change == "target.drained"))
    })
    .await?;
    assert_eq!(
        (event.object.as_str(), &event.body["pod"]),
        ("alpha/shop/web", &serde_json::json!("shop/pod-10.0.0.1"))
    );
    Ok(())
}
