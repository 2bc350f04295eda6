//! A binding that turned to other pods: what it had goes when AWS has found what it has now healthy, which nobody tells.

use std::time::Duration;

use anyhow::Result;
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};
use store::BindingFilter;

use crate::world::{Pace, World};

/// AWS is not looked at by itself within this.
const LIMIT: Duration = Duration::from_mins(1);
const PACE: Pace = Pace {
    lease: Duration::from_secs(4),
    attempt: Duration::from_secs(1),
    sweep: Duration::from_mins(2),
    observe_every: Duration::from_mins(2),
    consistency_grace: Duration::from_secs(1),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_targets_go_when_aws_has_found_the_new_ones_healthy() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::start(&postgres, PACE).await?;
    world.state(&[1], &[], &[]).await?;
    world.settles("the first pod", &[1], LIMIT).await?;
    let aws = world.aws.handle().clone();
    let first_checks_take = |time| aws.update_settings(|settings| settings.health.first_checks = Some(time));
    first_checks_take(Duration::from_hours(1));
    // The pod of before is neither ending nor gone, as far as anybody says.
    world.state(&[2], &[], &[]).await?;
    wait_until(LIMIT, "the hold", &Progress::silent(), async || {
        let bindings = world.store.bindings(&BindingFilter::default(), None, 10).await;
        let status = bindings.map_err(Wait::not_yet)?[0].status.clone();
        match status {
            Some(status) if status.ready.message.contains("AwaitingHealth") => Ok(()),
            status => Err(Wait::not_yet(format!("{status:?}"))),
        }
    })
    .await?;
    world.settles("both", &[1, 2], LIMIT).await?;
    first_checks_take(Duration::ZERO);
    world.settles("the second pod alone", &[2], LIMIT).await?;
    world.stop().await;
    Ok(())
}
