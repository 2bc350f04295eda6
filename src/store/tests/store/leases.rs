use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use sqlx::Connection;
use store::{Error, Wake};

use crate::support::{
    Fixture, arn, cluster_spec, eventually, group_spec, heard, name_of, plan, plan_id, rows,
};

const LONG: Duration = Duration::from_mins(10);

#[tokio::test]
async fn a_shard_has_one_holder_who_may_renew() -> Result<()> {
    let fixture = Fixture::new().await?;
    let first = fixture.store.lease("a", LONG, 10).await?;
    assert_eq!(first[0].shard, cluster_spec().shard());
    assert_eq!((first[0].former_deadline, first[0].known_deadline), (None, None));
    assert!(fixture.store.lease("b", LONG, 10).await?.is_empty());
    let renewed = fixture.store.lease("a", LONG, 10).await?;
    assert_eq!(renewed[0].epoch, first[0].epoch);
    assert!(renewed[0].deadline > first[0].deadline);
    assert_eq!(
        renewed[0].known_deadline,
        Some(first[0].deadline),
        "a database that went back would know an earlier one"
    );
    Ok(())
}

#[tokio::test]
async fn an_expired_lease_passes_on_with_a_new_epoch_and_the_former_deadline() -> Result<()> {
    let fixture = Fixture::new().await?;
    let first = fixture
        .store
        .lease("a", Duration::from_millis(5), 10)
        .await?
        .remove(0);
    let taken = eventually(|| async { Ok(fixture.store.lease("b", LONG, 10).await?.pop()) }).await?;
    assert!(taken.epoch > first.epoch && taken.now >= first.deadline);
    assert_eq!(taken.former_deadline, Some(first.deadline));
    assert_eq!(taken.known_deadline, Some(first.deadline));

    let stale = fixture
        .store
        .intend(&first.fence(), plan_id(), &plan("web", Vec::new()), &[])
        .await;
    assert!(matches!(stale, Err(Error::LeaseLost { .. })), "{stale:?}");
    assert!(fixture.store.plans(&arn("web"), None, 10).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_lease_past_its_deadline_writes_nothing_even_if_nobody_took_it() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    sqlx::query("update shards set deadline = clock_timestamp()")
        .execute(&mut fixture.sql)
        .await?;
    let stale = fixture
        .store
        .intend(&fence, plan_id(), &plan("web", Vec::new()), &[])
        .await;
    assert!(matches!(stale, Err(Error::LeaseLost { .. })), "{stale:?}");
    // Its return is a change of hands.
    assert!(fixture.fence().await?.epoch > fence.epoch);
    Ok(())
}

#[tokio::test]
async fn a_lease_covers_no_group_of_another_shard() -> Result<()> {
    let fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let mut foreign = plan("web", Vec::new());
    foreign.target_group = arn("web")
        .to_string()
        .replace("123456789012", "000000000001")
        .parse()?;
    let refused = fixture.store.intend(&fence, plan_id(), &foreign, &[]).await;
    assert!(matches!(refused, Err(Error::LeaseLost { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn nobody_takes_a_shard_in_the_middle_of_its_writers_transaction() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let mut writing = fixture.sql.begin().await?;
    sqlx::query("select from shards for key share")
        .execute(&mut *writing)
        .await?;
    // The writer renews beside it.
    assert_eq!(
        fixture
            .store
            .lease("replica-0", Duration::from_millis(1), 10)
            .await?[0]
            .epoch,
        fence.epoch
    );
    eventually(|| async {
        let held = fixture.store.shards().await?[0].holder.is_some();
        Ok((!held).then_some(()))
    })
    .await?;
    assert!(fixture.store.lease("b", LONG, 10).await?.is_empty());
    writing.commit().await?;
    assert_eq!(fixture.store.lease("b", LONG, 10).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_released_lease_is_free_at_once() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let fence = fixture.fence().await?;
    let mut listener = fixture.store.listen().await?;
    fixture.store.release_lease(&fence).await?;
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Shard(cluster_spec().shard())]
    );
    assert_eq!(fixture.store.shards().await?[0].holder, None);
    assert_eq!(fixture.store.lease("b", LONG, 10).await?.len(), 1);
    // A second release, by then of somebody else's lease.
    fixture.store.release_lease(&fence).await?;
    assert_eq!(fixture.store.shards().await?[0].holder.as_deref(), Some("b"));
    Ok(())
}

#[tokio::test]
async fn replicas_that_lease_at_once_never_share_a_shard() -> Result<()> {
    let fixture = Fixture::new().await?;
    for number in 0..9 {
        let mut spec = cluster_spec();
        spec.account = format!("10000000000{number}").parse()?;
        fixture
            .store
            .put_cluster("test", &name_of(&format!("c{number}")), &spec, None)
            .await?;
    }
    let replicas: Vec<_> = (0..4).map(|number| format!("replica-{number}")).collect();
    let leases = try_join_all(
        replicas
            .iter()
            .map(|replica| fixture.store.lease(replica, LONG, 3)),
    )
    .await?;
    assert!(leases.iter().all(|leases| leases.len() <= 3));
    let mut shards: Vec<_> = leases.iter().flatten().map(|lease| lease.shard.clone()).collect();
    let all = shards.len();
    shards.sort();
    shards.dedup();
    assert_eq!(shards.len(), all);
    let left = fixture.store.lease("last", LONG, 100).await?;
    assert_eq!(left.len() + all, 10);
    Ok(())
}

#[tokio::test]
async fn a_declaration_that_changes_nothing_writes_nothing() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), None)
        .await?;
    let before = rows(&mut fixture.sql).await?;
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), Some(1))
        .await?;
    fixture
        .store
        .put_cluster("test", &name_of("alpha"), &cluster_spec(), Some(1))
        .await?;
    assert_eq!(rows(&mut fixture.sql).await?, before);
    Ok(())
}
