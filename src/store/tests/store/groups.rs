use anyhow::Result;
use model::plan::Step;
use store::Error;

use crate::support::{Fixture, addition, arn, cluster_spec, group_spec, name_of, plan, plan_id, source};

#[tokio::test]
async fn a_sweep_finds_every_group_that_there_may_be_work_for() -> Result<()> {
    let fixture = Fixture::new().await?;
    let shard = cluster_spec().shard();
    assert!(fixture.store.groups(&shard).await?.is_empty());
    fixture
        .store
        .put_target_group("test", &name_of("declared"), &group_spec("declared"), None)
        .await?;
    fixture.upsert([source("bound")]).await?;
    let fence = fixture.fence().await?;
    let register = Step::Register {
        targets: vec![addition("10.0.0.1", &[])],
    };
    fixture
        .store
        .intend(
            &fence,
            plan_id(),
            &plan("ledger", vec![register.clone()]),
            &[register],
        )
        .await?;
    assert_eq!(
        fixture.store.groups(&shard).await?,
        [arn("bound"), arn("declared"), arn("ledger")]
    );

    let other = "aws/000000000001/eu-central-1".parse()?;
    assert!(fixture.store.groups(&other).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_group_is_gathered_with_its_declaration_and_its_cluster() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), None)
        .await?;
    fixture.upsert([source("web")]).await?;
    let snapshot = fixture.snapshot(&arn("web")).await?;
    assert_eq!(snapshot.declared.unwrap().spec, group_spec("web"));
    let bound = &snapshot.bindings[0];
    assert_eq!(
        (bound.cluster.id, &bound.cluster.spec),
        (fixture.cluster, &cluster_spec())
    );
    assert!(bound.last_seen.unwrap() <= snapshot.now);
    assert!(!snapshot.restored);
    Ok(())
}

#[tokio::test]
async fn a_row_that_does_not_read_back_is_named() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let id = fixture.binding(&arn("web")).await?.id;
    sqlx::query("update bindings set spec = '{}'")
        .execute(&mut fixture.sql)
        .await?;
    let error = fixture.store.binding(id).await.unwrap_err();
    let Error::Inconsistent {
        table, column, key, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*table, *column, key), ("bindings", "spec", &id.to_string()));
    Ok(())
}
