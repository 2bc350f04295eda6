//! S16: one target group of forty always fails, with each class of error in turn, and the others do not wait for it.
//!
//! While its call hangs, all others have what they want: that is seen in AWS's journal, in which the call has no answer
//! yet.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use awssim::{Entry, Fault, FaultMatch, FaultRule, JournalFilter};
use futures::future::try_join_all;
use model::TargetGroupArn;
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};

use crate::world::{MUTATING, Pace, World, address};

const OTHERS: usize = 39;
const LIMIT: Duration = Duration::from_mins(1);
const PACE: Pace = Pace {
    lease: Duration::from_mins(5),
    // A call that hangs does so until the end of its case.
    attempt: LIMIT,
    // What wakes a group here is a change, or its backoff.
    sweep: LIMIT,
    observe_every: Duration::from_hours(1),
    consistency_grace: Duration::from_secs(1),
};

fn error(code: &str) -> Fault {
    Fault::Error {
        code: code.to_owned(),
        message: String::new(),
        status: 400,
    }
}

/// Each class of answer that is no success; the one that hangs is the last, since it holds the group.
fn classes() -> Vec<Fault> {
    vec![
        error("ValidationError"),
        error("TargetGroupNotFound"),
        error("TooManyTargets"),
        Fault::AccessDenied,
        Fault::ExpiredToken,
        Fault::Http500,
        Fault::DroppedConnection { applied: false },
        Fault::TimeoutNotApplied { hold: None },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_always_fails_keeps_no_other_waiting() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::prepare(&postgres, PACE).await?;
    world.bind_to_others(OTHERS).await?;
    world.launch().await?;
    world.state(&[1], &[], &[]).await?;
    have(&world, &[1]).await?;
    world.settles("the group that is to fail", &[1], LIMIT).await?;
    for (class, pod) in classes().into_iter().zip(2..) {
        Box::pin(fails(&mut world, class.clone(), pod))
            .await
            .with_context(|| format!("{class:?}"))?;
    }
    world.kill();
    Ok(())
}

/// Another pod comes in place of the last, and the group cannot follow.
async fn fails(world: &mut World, class: Fault, pod: u16) -> Result<()> {
    let hangs = matches!(class, Fault::TimeoutNotApplied { .. });
    let before = world.registered()?;
    let former = world.aws.handle().faults();
    for action in MUTATING {
        world.aws.handle().add_fault(FaultRule {
            when: FaultMatch {
                action: Some(action.to_owned()),
                target_group_arn: Some(world.arn.to_string()),
                ..FaultMatch::default()
            },
            fault: class.clone(),
        });
    }
    // Not before: the group fails all the time.
    for rule in former {
        world.aws.handle().remove_fault(rule.id);
    }
    let began = world.aws.handle().journal(&JournalFilter::default()).next;
    world.state(&[pod], &[], &[pod - 1]).await?;
    have(world, &[pod]).await?;
    let calls = wait_until(LIMIT, "the call that fails", &Progress::silent(), async || {
        let calls = calls(world, began);
        if calls.is_empty() {
            Err(Wait::not_yet("none"))
        } else {
            Ok(calls)
        }
    })
    .await?;
    if hangs {
        let waits = |call: &Entry| call.answered.is_none() && !call.abandoned;
        ensure!(
            calls.iter().all(waits),
            "the others waited for the answer: {calls:?}"
        );
    }
    ensure!(world.registered()? == before, "it did not fail");
    Ok(())
}

/// Waits until all other groups have exactly these pods.
async fn have(world: &World, pods: &[u16]) -> Result<()> {
    let wanted = pods.iter().map(|pod| address(*pod)).collect();
    try_join_all(world.others.iter().map(async |group| {
        wait_until(LIMIT, "the others", &Progress::silent(), async || {
            let registered = world.registered_in(group).map_err(Wait::Never)?;
            if registered == wanted {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("{} has {registered:?}", name(group))))
            }
        })
        .await
    }))
    .await?;
    Ok(())
}

fn name(group: &TargetGroupArn) -> String {
    sandbox::fixture::name(&group.to_string()).to_owned()
}

/// What AWS was called for, to change the group that fails.
fn calls(world: &World, since: u64) -> Vec<Entry> {
    let filter = JournalFilter {
        since,
        target_group_arn: Some(world.arn.to_string()),
        ..JournalFilter::default()
    };
    let entries = world.aws.handle().journal(&filter).entries.into_iter();
    entries
        .filter(|entry| MUTATING.contains(&&*entry.action))
        .collect()
}
