//! The fault matrix: whatever goes wrong with a call that changes AWS, the group ends with exactly the wanted targets
//! and with the foreign one that was there before, and the ledger knows each of ours once. Each fault is played twice:
//! the world stays as the call was meant for, or it turns while nobody knows what became of the call.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use awssim::{Fault, FaultRule, JournalFilter};
use model::{ledger::LedgerState, plan::Step};
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};

use crate::world::{FOREIGN, HEIR, MUTATING, Pace, World, address};

const LIMIT: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(1);

/// What the world does while the call is in the dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It stays.
    Stays,
    /// What was to be registered ends; what was to be deregistered has an heir at its address.
    Turns,
}

/// Every fault that a call that changes AWS, or a read after it, can meet.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Error {
            code: "TooManyTargets".to_owned(),
            message: String::new(),
            status: 400,
        },
        Fault::Throttle,
        Fault::Http500,
        Fault::AppliedThenTimeout { hold: None },
        Fault::TimeoutNotApplied { hold: None },
        Fault::LateApply { after: TIMEOUT * 2 },
        Fault::DroppedConnection { applied: true },
        Fault::DroppedConnection { applied: false },
        Fault::Slow { by: TIMEOUT / 2 },
        Fault::AccessDenied,
        Fault::ExpiredToken,
        // Within the time that we allow AWS to be consistent.
        Fault::StaleReads { age: GRACE / 2 },
    ]
}

/// The fault's column. It does not compile for a fault that nobody has thought of.
fn column(fault: &Fault) -> usize {
    match fault {
        Fault::Error { .. } => 0,
        Fault::Throttle => 1,
        Fault::Http500 => 2,
        Fault::AppliedThenTimeout { .. } => 3,
        Fault::TimeoutNotApplied { .. } => 4,
        Fault::LateApply { .. } => 5,
        Fault::DroppedConnection { applied: true } => 6,
        Fault::DroppedConnection { applied: false } => 7,
        Fault::Slow { .. } => 8,
        Fault::AccessDenied => 9,
        Fault::ExpiredToken => 10,
        Fault::StaleReads { .. } => 11,
    }
}

/// The call that a step makes. It does not compile for a step that nobody has thought of.
fn call(step: &Step) -> Option<&'static str> {
    match step {
        Step::Register { .. } => Some("RegisterTargets"),
        Step::Deregister { .. } => Some("DeregisterTargets"),
        Step::Claim { .. } | Step::Forget { .. } | Step::Unbind { .. } => None,
    }
}

#[test]
fn the_matrix_has_every_call_and_every_fault() {
    let columns: BTreeSet<_> = faults().iter().map(column).collect();
    assert_eq!(columns, (0..=11).collect(), "a fault is not played");
    let steps = [
        Step::Register { targets: Vec::new() },
        Step::Deregister { targets: Vec::new() },
        Step::Claim { targets: Vec::new() },
        Step::Forget { targets: Vec::new() },
        Step::Unbind { targets: Vec::new() },
    ];
    let calls: BTreeSet<_> = steps.iter().filter_map(call).collect();
    assert_eq!(calls, MUTATING.into(), "a call is not played");
    assert!(steps.iter().all(|step| step.writes_aws() == call(step).is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_write_the_end_is_the_same() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    for action in MUTATING {
        for then in [Then::Stays, Then::Turns] {
            let cases = faults().into_iter().map(|fault| {
                let case = format!("{action} × {fault:?}, the world {then:?}");
                let postgres = &postgres;
                async move {
                    Box::pin(play(postgres, action, fault, then))
                        .await
                        .with_context(|| case)
                }
            });
            futures::future::try_join_all(cases).await?;
        }
    }
    Ok(())
}

async fn play(postgres: &Postgres, action: &str, fault: Fault, then: Then) -> Result<()> {
    let stale = matches!(fault, Fault::StaleReads { .. });
    let mut pace = Pace {
        lease: Duration::from_secs(4),
        attempt: TIMEOUT,
        sweep: Duration::from_secs(30),
        observe_every: Duration::from_mins(2),
        consistency_grace: GRACE,
    };
    if stale {
        // Reads that are wrong must be made to do harm.
        pace.sweep = TIMEOUT / 4;
        pace.observe_every = TIMEOUT / 4;
    }
    let mut world = World::start(postgres, pace).await?;
    world.state(&[1, 2], &[], &[]).await?;
    settles(&world, &[1, 2]).await.context("before")?;
    let before = last(&world);
    let rule = if stale {
        FaultRule::on("DescribeTargetHealth", fault)
    } else {
        FaultRule::on(action, fault).nth(1)
    };
    let rule = world.aws.handle().add_fault(rule);
    world.state(&[2, 3], &[1], &[]).await?;
    fires(&world, rule, action, before).await?;
    let pods: &[u16] = match then {
        Then::Stays => &[2, 3],
        Then::Turns if action == "RegisterTargets" => {
            world.state(&[2], &[3], &[1]).await?;
            &[2]
        }
        Then::Turns => {
            world.state(&[2, 3, 1 + HEIR], &[], &[1]).await?;
            &[1, 2, 3]
        }
    };
    settles(&world, pods).await?;
    if stale && then == Then::Stays {
        world.aws.handle().remove_fault(rule);
        observed(&world, last(&world)).await?;
        settles(&world, pods)
            .await
            .context("when AWS tells the truth again")?;
        for action in MUTATING {
            let calls = since(&world, before, action);
            anyhow::ensure!(
                calls == 1,
                "{calls} calls {action} for one change: a stale read was believed"
            );
        }
    }
    for entry in world.aws.handle().journal(&JournalFilter::default()).entries {
        let known = MUTATING.contains(&entry.action.as_str()) || entry.action.starts_with("Describe");
        anyhow::ensure!(
            known,
            "{} changes AWS and is missing from the matrix",
            entry.action
        );
    }
    world.stop().await;
    Ok(())
}

/// Waits until the fault has happened: to the call itself, or to a read after it.
async fn fires(world: &World, rule: u64, action: &str, before: u64) -> Result<()> {
    wait_until(LIMIT, "the fault", &Progress::silent(), async || {
        let fired = world
            .aws
            .handle()
            .faults()
            .into_iter()
            .any(|status| status.id == rule && status.fired > 0);
        if !fired || since(world, before, action) == 0 {
            return Err(Wait::not_yet("no call"));
        }
        Ok(())
    })
    .await?;
    let stale = world
        .aws
        .handle()
        .faults()
        .into_iter()
        .any(|status| status.id == rule && matches!(status.rule.fault, Fault::StaleReads { .. }));
    if stale {
        observed(world, last(world)).await?;
    }
    Ok(())
}

/// Waits until AWS was asked for the targets after entry `since` of the journal.
async fn observed(world: &World, since: u64) -> Result<()> {
    let filter = JournalFilter {
        since,
        action: Some("DescribeTargetHealth".to_owned()),
        ..JournalFilter::default()
    };
    let page = world.aws.handle().wait_journal(&filter, LIMIT).await;
    anyhow::ensure!(!page.entries.is_empty(), "nobody looks at the targets");
    Ok(())
}

fn last(world: &World) -> u64 {
    world.aws.handle().journal(&JournalFilter::default()).next
}

fn since(world: &World, since: u64, action: &str) -> usize {
    let filter = JournalFilter {
        since,
        action: Some(action.to_owned()),
        ..JournalFilter::default()
    };
    world.aws.handle().journal(&filter).entries.len()
}

/// Waits until AWS has exactly these pods and the foreign target, and the ledger exactly these pods.
async fn settles(world: &World, pods: &[u16]) -> Result<()> {
    let ours: BTreeSet<String> = pods.iter().map(|pod| address(*pod)).collect();
    let mut all = ours.clone();
    all.insert(FOREIGN.to_owned());
    wait_until(LIMIT, "the end", &Progress::silent(), async || {
        let registered = world.registered().map_err(Wait::Never)?;
        let ledger = world.store.ledger(&world.arn).await.map_err(Wait::not_yet)?;
        let settled = ledger.iter().all(|row| row.state == LedgerState::Registered);
        let recorded: BTreeSet<String> = ledger.iter().map(|row| row.key().id.to_string()).collect();
        if registered == all && recorded == ours && settled {
            Ok(())
        } else {
            Err(Wait::not_yet(format!(
                "AWS has {registered:?}, the ledger {ledger:?}"
            )))
        }
    })
    .await?;
    Ok(())
}
