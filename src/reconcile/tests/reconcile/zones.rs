//! Addresses that AWS does not find in a subnet of the VPC: it wants to be told their zones, and refuses calls until then.

use std::time::Duration;

use anyhow::Result;
use awssim::JournalFilter;
use sandbox::{fixture, postgres::Postgres};

use crate::world::{NOWHERE, Pace, World, address};

const LIMIT: Duration = Duration::from_mins(1);
const PACE: Pace = Pace {
    lease: Duration::from_secs(4),
    attempt: Duration::from_secs(1),
    sweep: Duration::from_mins(2),
    observe_every: Duration::from_mins(2),
    consistency_grace: Duration::from_secs(1),
};

/// What was asked to be registered after `since`: address → zone.
fn registrations(world: &World, since: u64) -> Vec<Vec<(String, Option<String>)>> {
    let filter = JournalFilter {
        action: Some("RegisterTargets".to_owned()),
        since,
        ..JournalFilter::default()
    };
    let calls = world.aws.handle().journal(&filter).entries;
    let targets = |call: &awssim::Entry| {
        (1..=call.targets)
            .map(|index| {
                let field = |name| call.param(&format!("Targets.member.{index}.{name}"));
                let id = field("Id").unwrap_or_default().to_owned();
                (id, field("AvailabilityZone").map(str::to_owned))
            })
            .collect()
    };
    calls.iter().map(targets).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_is_told_the_zone_of_an_address_once_it_has_asked_and_others_do_not_wait_for_it() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::start(&postgres, PACE).await?;
    let [first, second] = [NOWHERE + 1, NOWHERE + 2];
    world.state(&[1, first], &[], &[]).await?;
    world.settles("both", &[1, first], LIMIT).await?;
    let zone = || Some(fixture::ZONES[1].to_owned());
    let calls = registrations(&world, 0);
    assert_eq!(
        calls,
        [
            vec![(address(1), None), (address(first), None)],
            vec![(address(1), None)],
            vec![(address(first), zone())],
        ]
    );

    // It is remembered.
    let since = world.aws.handle().journal(&JournalFilter::default()).next;
    world.state(&[1, first, second], &[], &[]).await?;
    world.settles("all three", &[1, first, second], LIMIT).await?;
    assert_eq!(registrations(&world, since), [vec![(address(second), zone())]]);
    world.stop().await;
    Ok(())
}
