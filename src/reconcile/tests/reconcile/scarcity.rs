//! What happens while AWS's tokens are scarce.

use std::time::Duration;

use anyhow::{Result, ensure};
use aws::budget::{self, Rate};
use awssim::JournalFilter;
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};

use crate::world::{Pace, World, address};

const LIMIT: Duration = Duration::from_mins(1);
const PACE: Pace = Pace {
    lease: Duration::from_secs(4),
    attempt: Duration::from_secs(1),
    sweep: Duration::from_millis(200),
    observe_every: Duration::from_mins(2),
    consistency_grace: Duration::from_secs(1),
};

/// M3: "first in line when tokens are scarce".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_pod_goes_before_an_addition_that_waits_already() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::prepare(&postgres, PACE).await?;
    // Three calls, of which additions must leave two; and there will be no more.
    world.budgets = budget::Settings {
        registration: Rate::new(3.0, 0.0),
        headroom: 0.0,
        rested_after: Duration::from_hours(1),
        ..budget::Settings::default()
    };
    world.launch().await?;
    world.state(&[1], &[], &[]).await?;
    world.settles("the first pod", &[1], LIMIT).await?;

    world.state(&[1, 2], &[], &[]).await?;
    wait_until(
        LIMIT,
        "a pass that waits for a token",
        &Progress::silent(),
        async || {
            let metrics = world
                .metrics()
                .map_err(|error| Wait::not_yet(error.to_string()))?;
            let waits = |line: &str| line.starts_with("queue_waiting{") && line.ends_with(" 1");
            if metrics.lines().any(waits) {
                Ok(())
            } else {
                Err(Wait::not_yet("nobody waits"))
            }
        },
    )
    .await?;
    world.state(&[2], &[1], &[]).await?;
    let filter = JournalFilter {
        action: Some("DeregisterTargets".to_owned()),
        ..JournalFilter::default()
    };
    let removals = world.aws.handle().wait_journal(&filter, LIMIT).await.entries;
    let ended = address(1);
    ensure!(
        removals
            .iter()
            .any(|call| call.param("Targets.member.1.Id") == Some(&ended)),
        "the pod that ended was not removed: {removals:?}"
    );
    let registered = world.registered()?;
    ensure!(
        !registered.contains(&address(2)),
        "an addition spent the reserve: {registered:?}"
    );
    world.stop().await;
    Ok(())
}
