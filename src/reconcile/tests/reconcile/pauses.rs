//! Pauses: nothing is written to AWS, observing and planning go on, and each write can be found in AWS's own records.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use awssim::JournalFilter;
use model::{condition::Reason, pause::Scope};
use sandbox::{Progress, Wait, postgres::Postgres, wait_until};
use store::BindingFilter;
use uuid::Uuid;

use crate::world::{MUTATING, Pace, World};

const LIMIT: Duration = Duration::from_mins(1);
const PACE: Pace = Pace {
    lease: Duration::from_secs(4),
    attempt: Duration::from_millis(400),
    sweep: Duration::from_secs(30),
    observe_every: Duration::from_mins(2),
    consistency_grace: Duration::from_secs(1),
};

/// Which of AWS's writes the simulator has seen.
fn writes(world: &World) -> usize {
    let journal = world.aws.handle().journal(&JournalFilter::default());
    let writes = journal
        .entries
        .iter()
        .filter(|entry| MUTATING.contains(&entry.action.as_str()));
    writes.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_any_scope_stops_every_write_and_shows_what_would_be_done() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::start(&postgres, PACE).await?;
    world.state(&[1, 2], &[], &[]).await?;
    world.settles("before", &[1, 2], LIMIT).await?;
    let shard = Scope::Shard(world.arn.shard().clone());
    let bindings = world.store.bindings(&BindingFilter::default(), None, 10).await?;
    let binding = Scope::Binding(bindings[0].binding.id);
    let cluster = Scope::Cluster(bindings[0].binding.cluster);
    let mut standing = vec![1, 2];
    for (round, scope) in [Scope::Installation, shard, cluster, binding]
        .into_iter()
        .enumerate()
    {
        let case = format!("{scope:?}");
        world
            .store
            .pause("operator", &scope, "scope", "maintenance")
            .await?;
        let before = writes(&world);
        // One comes, and one ends with proof: neither may pass.
        let new = u16::try_from(round)? + 3;
        world.state(&[standing[1], new], &[standing[0]], &[]).await?;
        wait_until(LIMIT, &case, &Progress::silent(), async || {
            let stored = world.store.bindings(&BindingFilter::default(), None, 10).await;
            let stored = stored.map_err(Wait::not_yet)?;
            match &stored[0].status {
                // The plan was made with the new statement: two wanted, one of them there, one held.
                Some(status) if status.ready.reason == Reason::Paused && status.held == 1 => Ok(()),
                status => Err(Wait::not_yet(format!("{status:?}"))),
            }
        })
        .await?;
        let stored = world.store.bindings(&BindingFilter::default(), None, 10).await?;
        let ready = &stored[0].status.as_ref().context("a status")?.ready;
        anyhow::ensure!(
            ready.message.contains("paused by operator: maintenance"),
            "{case}: {ready:?}"
        );
        anyhow::ensure!(writes(&world) == before, "{case}: AWS was written to");
        world.store.resume("operator", &scope, "scope").await?;
        standing = vec![standing[1], new];
        world
            .settles(&format!("{case}: resumed"), &standing, LIMIT)
            .await?;
    }
    // Each write can be found in AWS's own records, once its outcome is written down.
    wait_until(
        LIMIT,
        "the ids of all requests",
        &Progress::silent(),
        async || {
            let plans = world
                .store
                .plans(&world.arn, None, 50)
                .await
                .map_err(Wait::not_yet)?;
            let outcomes = plans.iter().filter_map(|plan| plan.outcome.as_ref());
            let entries = outcomes.flat_map(|outcome| outcome.as_array().into_iter().flatten());
            let ids: BTreeSet<_> = entries
                .flat_map(|entry| entry["requests"].as_array().into_iter().flatten())
                .filter_map(|request| request["requestId"].as_str())
                .collect();
            match (ids.len(), writes(&world)) {
                (told, written) if told == written => Ok(()),
                (told, written) => Err(Wait::not_yet(format!("{told} of {written}"))),
            }
        },
    )
    .await?;
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_that_was_planned_before_a_pause_is_refused() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::start(&postgres, PACE).await?;
    world.state(&[1], &[], &[]).await?;
    world.settles("before", &[1], LIMIT).await?;
    let plans = world.store.plans(&world.arn, None, 1).await?;
    let plan = plans.first().context("a plan")?.plan.clone();
    let shards = world.store.shards().await?;
    let fence = store::Fence {
        shard: shards[0].shard.clone(),
        holder: shards[0].holder.clone().context("a holder")?,
        epoch: shards[0].epoch,
    };
    let bindings = world.store.bindings(&BindingFilter::default(), None, 10).await?;
    let cluster = Scope::Cluster(bindings[0].binding.cluster);
    world
        .store
        .pause("operator", &cluster, "scope", "maintenance")
        .await?;
    let steps: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.writes_aws())
        .cloned()
        .collect();
    let refused = world
        .store
        .intend(&fence, model::PlanId(Uuid::now_v7()), &plan, &steps)
        .await;
    anyhow::ensure!(matches!(refused, Err(store::Error::Paused)), "{refused:?}");
    world.stop().await;
    Ok(())
}
