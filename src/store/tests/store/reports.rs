use std::collections::BTreeMap;

use anyhow::Result;
use futures::future::try_join_all;
use jiff::Timestamp;
use model::{
    BindingId, Observed,
    condition::{BindingStatus, Readiness, Reason, Truth},
    plan::{Hold, HoldReason},
    target::{HealthState, ObservedTarget, Target},
};
use store::{Error, HoldFilter, Wake};

use crate::support::{Fixture, arn, heard, judged, key, lease_locks, rows, source, spec, uid};

fn status(registered: u32) -> BindingStatus {
    let ready = Readiness {
        status: Truth::True,
        reason: Reason::Reconciled,
        message: String::new(),
    };
    BindingStatus {
        observed_generation: 1,
        ready,
        desired: registered,
        registered,
        held: 0,
        target_type: None,
    }
}

#[tokio::test]
async fn a_status_is_sent_once_for_each_change() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web"), source("api")]).await?;
    let fence = fixture.fence().await?;
    let (web, api) = (
        fixture.binding(&arn("web")).await?.id,
        fixture.binding(&arn("api")).await?.id,
    );
    let report = BTreeMap::from([(web, status(1)), (api, status(2))]);
    assert_eq!(fixture.store.report(&fence, &report).await?, 2);
    let sent = fixture.store.write_backs(fixture.cluster, 0, 10).await?;
    assert_eq!(sent.len(), 2);
    let last = sent[1].version;

    let mut listener = fixture.store.listen().await?;
    let before = rows(&mut fixture.sql).await?;
    let locks = lease_locks(&mut fixture.sql).await?;
    assert_eq!(fixture.store.report(&fence, &report).await?, 0);
    assert_eq!(fixture.store.finish_bindings(&fence, &arn("web")).await?, 0);
    assert!(!fixture.store.sync_holds(&fence, &arn("web"), &[]).await?);
    assert_eq!(rows(&mut fixture.sql).await?, before);
    assert_eq!(lease_locks(&mut fixture.sql).await?, locks);
    assert_eq!(
        fixture
            .store
            .report(&fence, &BTreeMap::from([(web, status(3)), (api, status(2))]))
            .await?,
        1
    );
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Cluster(fixture.cluster)]
    );
    let sent = fixture.store.write_backs(fixture.cluster, last, 10).await?;
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].binding, sent[0].uid, &sent[0].status),
        (web, uid("web"), &status(3))
    );
    Ok(())
}

#[tokio::test]
async fn versions_of_statuses_that_are_reported_at_once_are_all_different() -> Result<()> {
    let fixture = Fixture::new().await?;
    let names: Vec<_> = (0..8).map(|number| format!("web-{number}")).collect();
    fixture.upsert(names.iter().map(|name| source(name))).await?;
    let fence = fixture.fence().await?;
    let mut reports = Vec::new();
    for name in &names {
        reports.push(BTreeMap::from([(
            fixture.binding(&arn(name)).await?.id,
            status(1),
        )]));
    }
    try_join_all(reports.iter().map(|report| fixture.store.report(&fence, report))).await?;
    let sent = fixture.store.write_backs(fixture.cluster, 0, 100).await?;
    assert_eq!(
        sent.iter().map(|sent| sent.version).collect::<Vec<_>>(),
        (1..=8).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
async fn an_object_made_anew_is_told_its_status_again() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let fence = fixture.fence().await?;
    let report = BTreeMap::from([(fixture.binding(&arn("web")).await?.id, status(1))]);
    fixture.store.report(&fence, &report).await?;
    let last = fixture.store.write_backs(fixture.cluster, 0, 10).await?[0].version;
    let mut anew = judged("web", 2, Ok(spec("web", "web")));
    anew.source.version.uid = uid("anew");
    fixture.upsert([anew]).await?;
    fixture.store.report(&fence, &report).await?;
    assert_eq!(
        fixture.store.write_backs(fixture.cluster, last, 10).await?[0].uid,
        uid("anew")
    );
    Ok(())
}

#[tokio::test]
async fn an_observation_is_written_when_it_says_something_else() -> Result<()> {
    let fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let observed = |at: &str, state| {
        let target = ObservedTarget {
            target: Target {
                key: key("10.0.0.1"),
                zone: None,
            },
            state,
            reason: None,
            description: None,
        };
        Observed::Present {
            at: at.parse::<Timestamp>().unwrap(),
            value: vec![target],
        }
    };
    let absent = |at: &str| Observed::Absent {
        at: at.parse().unwrap(),
    };
    let (one, two) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
    let record = async |at: &str, state| {
        fixture
            .store
            .record_observation(&fence, &arn("web"), &absent(at), &observed(at, state))
            .await
    };
    assert!(record(one, HealthState::Initial).await?);
    assert!(!record(two, HealthState::Initial).await?);
    assert!(record(two, HealthState::Healthy).await?);
    let stored = fixture.store.observation(&arn("web")).await?.unwrap();
    assert_eq!(stored.targets.present().unwrap()[0].state, HealthState::Healthy);
    assert_eq!(
        stored.facts,
        Observed::Absent {
            at: stored.changed_at
        }
    );
    Ok(())
}

fn hold(reason: HoldReason, removals: &[&str]) -> Hold {
    let binding = BindingId(uid("binding"));
    let removals = removals.iter().map(|address| key(address)).collect();
    Hold {
        reason,
        bindings: vec![binding],
        removals,
        additions: Vec::new(),
        until: None,
    }
}

#[tokio::test]
async fn a_hold_that_shrinks_stays_and_one_that_grows_is_another() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let open = async || fixture.store.holds(&HoldFilter::default(), None, 10).await;
    let sync = async |holds: &[Hold]| fixture.store.sync_holds(&fence, &arn("web"), holds).await;

    assert!(sync(&[hold(HoldReason::GuardWindow, &["10.0.0.1", "10.0.0.2"])]).await?);
    let first = open().await?.remove(0);
    assert!(sync(&[hold(HoldReason::GuardWindow, &["10.0.0.1"])]).await?);
    let shrunk = open().await?.remove(0);
    assert_eq!((shrunk.id, shrunk.hold.removals.len()), (first.id, 1));
    assert!(sync(&[hold(HoldReason::GuardWindow, &["10.0.0.1", "10.0.0.3"])]).await?);
    let grown = open().await?;
    assert_eq!(grown.len(), 1);
    assert_ne!(grown[0].id, first.id);
    assert!(matches!(
        fixture.store.release_hold("operator", first.id).await,
        Err(Error::Constraint(_))
    ));

    // What time alone lifts is no operator's business.
    let before = rows(&mut fixture.sql).await?;
    let sync = async |holds: &[Hold]| fixture.store.sync_holds(&fence, &arn("web"), holds).await;
    let with_hold_down = [hold(HoldReason::HoldDown, &["10.0.0.9"]), grown[0].hold.clone()];
    assert!(!sync(&with_hold_down).await?);
    assert_eq!(rows(&mut fixture.sql).await?, before);
    Ok(())
}

#[tokio::test]
async fn what_a_restored_database_keeps_is_listed_and_released_with_its_shard_alone() -> Result<()> {
    let fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let holds = [hold(HoldReason::Restored, &["10.0.0.1"])];
    fixture.store.sync_holds(&fence, &arn("web"), &holds).await?;
    let listed = fixture.store.holds(&HoldFilter::default(), None, 10).await?;
    assert_eq!(listed[0].hold, holds[0]);
    let refused = fixture.store.release_hold("operator", listed[0].id).await;
    assert!(
        matches!(&refused, Err(Error::Constraint(why)) if why.contains("shard")),
        "{refused:?}"
    );
    assert_eq!(fixture.store.hold(listed[0].id).await?.unwrap().ended_at, None);
    Ok(())
}

#[tokio::test]
async fn a_released_hold_tells_which_targets_may_go() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let holds = [hold(HoldReason::LastTarget, &["10.0.0.1"])];
    fixture.store.sync_holds(&fence, &arn("web"), &holds).await?;
    let id = fixture.store.holds(&HoldFilter::default(), None, 10).await?[0].id;
    let mut listener = fixture.store.listen().await?;
    fixture.store.release_hold("operator", id).await?;
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Group(arn("web"))]
    );
    let released = fixture.snapshot(&arn("web")).await?.released;
    assert_eq!(released.keys().collect::<Vec<_>>(), [&key("10.0.0.1")]);
    assert_eq!(
        fixture.store.audit(None, None, None, None, 1).await?[0].action,
        "hold.release"
    );
    Ok(())
}
