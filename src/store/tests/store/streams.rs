use anyhow::Result;
use futures::future::try_join_all;
use model::{guard::Unbinding, stream::Change};
use store::{Error, Identity, Stream};

use crate::support::{Fixture, cluster_spec, source};

const SILENT: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

#[tokio::test]
async fn statements_of_an_older_stream_are_not_taken() -> Result<()> {
    let fixture = Fixture::new().await?;
    let newer = crate::support::open(&fixture.store, fixture.cluster).await?;
    assert!(newer.epoch > fixture.stream.epoch);

    let stale = fixture
        .store
        .ingest_sources(
            fixture.stream,
            &Change::Reset(vec![source("web")]),
            None,
            &Unbinding::default(),
        )
        .await;
    assert!(matches!(stale, Err(Error::StaleEpoch { .. })), "{stale:?}");
    assert!(matches!(
        fixture.store.touch(fixture.stream, None).await,
        Err(Error::StaleEpoch { .. })
    ));
    assert_eq!(
        fixture
            .snapshot(&crate::support::arn("web"))
            .await?
            .bindings
            .len(),
        0
    );
    fixture.store.touch(newer, None).await?;
    Ok(())
}

#[tokio::test]
async fn of_streams_that_open_at_once_exactly_one_may_state() -> Result<()> {
    let fixture = Fixture::new().await?;
    let streams = try_join_all((0..8).map(|_| crate::support::open(&fixture.store, fixture.cluster))).await?;
    let mut taken = Vec::new();
    for stream in &streams {
        if fixture
            .store
            .ingest_sources(*stream, &Change::Reset(Vec::new()), None, &Unbinding::default())
            .await
            .is_ok()
        {
            taken.push(stream.epoch);
        }
    }
    assert_eq!(taken, [streams.iter().map(|stream| stream.epoch).max().unwrap()]);
    Ok(())
}

#[tokio::test]
async fn a_name_belongs_to_the_cluster_that_first_used_it() -> Result<()> {
    let fixture = Fixture::new().await?;
    let other = fixture
        .store
        .open_stream(fixture.cluster, "agent-1", 0, "another-uid")
        .await;
    assert!(matches!(other, Err(Error::OtherCluster { .. })), "{other:?}");
    fixture.store.touch(fixture.stream, None).await?;
    Ok(())
}

#[tokio::test]
async fn an_epoch_that_the_database_does_not_know_holds_every_shard_until_its_release() -> Result<()> {
    let fixture = Fixture::new().await?;
    let shard = cluster_spec().shard();
    let last = fixture.stream.epoch + 5000;
    let opened = fixture
        .store
        .open_stream(fixture.cluster, "agent-0", last, "kube-system-uid")
        .await?;
    assert!(opened.restored && opened.epoch > last);
    assert!(fixture.snapshot(&crate::support::arn("web")).await?.restored);

    // The agent's new epoch is known: that it connects again is no second restoration.
    fixture.store.release_shard("operator", &shard).await?;
    let again = fixture
        .store
        .open_stream(fixture.cluster, "agent-0", opened.epoch, "kube-system-uid")
        .await?;
    assert!(!again.restored);
    assert!(!fixture.snapshot(&crate::support::arn("web")).await?.restored);
    let audit = fixture.store.audit(None, None, None, None, 1).await?;
    assert_eq!(
        (audit[0].actor.as_str(), audit[0].action.as_str()),
        ("operator", "shard.release")
    );
    Ok(())
}

#[tokio::test]
async fn an_epoch_of_the_far_future_is_refused_and_holds_nothing() -> Result<()> {
    let fixture = Fixture::new().await?;
    let opened = fixture
        .store
        .open_stream(fixture.cluster, "agent-0", u64::MAX, "kube-system-uid")
        .await;
    assert!(matches!(opened, Err(Error::Constraint(_))), "{opened:?}");
    assert_eq!(fixture.store.counts(SILENT).await?.restored_shards, 0);
    Ok(())
}

#[tokio::test]
async fn another_timeline_of_postgres_holds_every_shard() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    assert_eq!(fixture.store.check_identity().await?, Identity::First);
    assert_eq!(fixture.store.check_identity().await?, Identity::Same);
    sqlx::query("update installation set timeline_id = timeline_id + 1")
        .execute(&mut fixture.sql)
        .await?;
    assert_eq!(fixture.store.check_identity().await?, Identity::Changed);
    assert_eq!(fixture.store.counts(SILENT).await?.restored_shards, 1);
    assert_eq!(fixture.store.check_identity().await?, Identity::Same);
    Ok(())
}

#[tokio::test]
async fn a_database_that_went_back_holds_every_shard_and_hears_every_agent_anew() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.store.went_back().await?;
    assert_eq!(fixture.store.counts(SILENT).await?.restored_shards, 1);
    let heard = fixture.store.touch(fixture.stream, None).await;
    assert!(matches!(heard, Err(Error::Forgotten { .. })), "{heard:?}");
    let opened = fixture
        .store
        .open_stream(
            fixture.cluster,
            "agent-0",
            fixture.stream.epoch,
            "kube-system-uid",
        )
        .await?;
    assert!(opened.epoch > fixture.stream.epoch);
    // From here on another stream is the newest, and the old one is to keep out of its way.
    let heard = fixture.store.touch(fixture.stream, None).await;
    assert!(matches!(heard, Err(Error::StaleEpoch { .. })), "{heard:?}");
    Ok(())
}

#[tokio::test]
async fn what_an_agent_cannot_see_is_told_until_it_sees_it_again() -> Result<()> {
    let fixture = Fixture::new().await?;
    let Stream { cluster, .. } = fixture.stream;
    fixture
        .store
        .ingest_unsynced(fixture.stream, "TargetGroupBinding", None, "403")
        .await?;
    let state = fixture.store.cluster_by_id(cluster).await?.unwrap();
    assert_eq!(state.unsynced["TargetGroupBinding"], "403");
    fixture.state(Change::Reset(Vec::new())).await?;
    assert!(
        fixture
            .store
            .cluster_by_id(cluster)
            .await?
            .unwrap()
            .unsynced
            .is_empty()
    );
    Ok(())
}
