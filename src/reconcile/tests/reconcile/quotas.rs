//! S17: where a target group and a security group are full, what goes makes room for what comes, and a deletion ends
//! everything. Nobody has to help.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use awssim::JournalFilter;
use jiff::SignedDuration;
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};

use crate::{
    rules::{networking, rules},
    world::{Pace, World, with_foreign},
};

const LIMIT: Duration = Duration::from_secs(40);
const PACE: Pace = Pace {
    lease: Duration::from_secs(20),
    attempt: Duration::from_secs(5),
    sweep: Duration::from_millis(200),
    observe_every: Duration::from_secs(1),
    consistency_grace: Duration::from_millis(100),
};

async fn opens(world: &World, count: usize) -> Result<()> {
    Ok(wait_until(LIMIT, "the rules", &Progress::silent(), async || {
        match rules(world).map_err(Wait::Never)? {
            rules if rules.len() == count => Ok(()),
            rules => Err(Wait::not_yet(format!("{rules:?}"))),
        }
    })
    .await?)
}

fn refused(world: &World, code: &str) -> usize {
    let entries = world.aws.handle().journal(&JournalFilter::default()).entries;
    let codes = entries.iter().filter_map(|entry| entry.error_code.as_deref());
    codes.filter(|found| *found == code).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_and_replacements_pass_where_everything_is_full() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::prepare_open(&postgres, PACE, networking()).await?;
    world.guards.hold_down = SignedDuration::from_millis(200);
    let full = [1, 2, 3, 4, 5];
    world.aws.handle().update_settings(|settings| {
        settings.quotas.targets_per_target_group = with_foreign(&full).len();
        settings.quotas.rules_per_security_group = 2;
    });
    world.launch().await?;
    world.state(&full, &[], &[]).await?;
    world.settles("a full group", &full, LIMIT).await?;
    opens(&world, 2).await.context("a full security group")?;

    // The first left without a word, and the sixth finds no room before it is gone.
    world.state(&[2, 3, 4, 5, 6], &[], &[]).await?;
    world.settles("without proof", &[2, 3, 4, 5, 6], LIMIT).await?;
    ensure!(refused(&world, "TooManyTargets") > 0, "the group was never full");

    world.state(&[4, 5, 6, 7, 8], &[2], &[3]).await?;
    world.settles("with proof", &[4, 5, 6, 7, 8], LIMIT).await?;

    // More than fit: those that are there are served, and each that goes lets one in.
    world.state(&[4, 5, 6, 7, 8, 9, 10], &[], &[]).await?;
    world.state(&[6, 7, 8, 9, 10], &[4], &[5]).await?;
    world.settles("more than fit", &[6, 7, 8, 9, 10], LIMIT).await?;

    world.unbind().await?;
    world.settles("the deletion", &[], LIMIT).await?;
    opens(&world, 0).await.context("after the deletion")?;
    world.stop().await;
    Ok(())
}
