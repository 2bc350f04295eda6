//! Many bindings at once.
//!
//! More than [`Unbinding`] allows of a cluster's object bindings gone within its window become one hold: it covers all of
//! the window that are still letting go of targets, and every later one while it is open. Each binding that returns leaves it; an operator
//! may release it; when none is left it ends.

use model::{
    BindingId, ClusterId, HoldId,
    guard::Unbinding,
    plan::{Hold, HoldReason},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Result,
    row::{to_json, to_word},
};

/// Deletes bindings of objects, or holds their deletion. Answers their target groups.
pub(super) async fn unbind(
    connection: &mut PgConnection,
    cluster: ClusterId,
    bindings: &[BindingId],
    guard: &Unbinding,
) -> Result<Vec<String>> {
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = bindings.iter().map(|id| id.0).collect();
    let is_many = is_many(connection, cluster, &ids, guard).await?;
    sqlx::query!(
        r#"
        insert into unbindings (binding_id, cluster_id, bound_since)
        select id, cluster_id, created_at from bindings
        where id = any($1) and target_group_arn is not null and standing in ('served', 'contested')
        on conflict (binding_id) do update set at = now()
        "#,
        &ids,
    )
    .execute(&mut *connection)
    .await?;
    // A binding that never named a target group has no target, and nobody will finish it.
    sqlx::query!(
        "delete from bindings where id = any($1) and target_group_arn is null",
        &ids
    )
    .execute(&mut *connection)
    .await?;
    let mut arns = sqlx::query_scalar!(
        r#"
        update bindings set deleted_at = now(), version = version + 1 where id = any($1)
        returning target_group_arn as "arn!"
        "#,
        &ids,
    )
    .fetch_all(&mut *connection)
    .await?;
    let open = open_hold(connection, cluster).await?;
    if open.is_some() || is_many {
        arns.extend(hold(connection, cluster, open).await?);
    }
    Ok(arns)
}

/// Bindings that returned are no deletions any more.
pub(super) async fn returned(connection: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("delete from unbindings where binding_id = any($1)", ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether these deletions, with those of the window, are more than somebody means. Bindings without a target group,
/// and those for which nothing is removed since somebody else acts on them, do not count on either side.
async fn is_many(
    connection: &mut PgConnection,
    cluster: ClusterId,
    ids: &[Uuid],
    guard: &Unbinding,
) -> Result<bool> {
    let window = guard.window.as_secs_f64();
    sqlx::query!(
        "delete from unbindings where cluster_id = $1 and at <= now() - make_interval(secs => $2)",
        cluster.0,
        window,
    )
    .execute(&mut *connection)
    .await?;
    let count = sqlx::query!(
        r#"
        with gone as (
            select bound_since from unbindings where cluster_id = $1
        ), present as (
            select created_at as bound_since from bindings
            where cluster_id = $1 and origin = 'object' and deleted_at is null and target_group_arn is not null
                and standing in ('served', 'contested')
        )
        select
            (select count(*) from gone)
                + (
                    select count(*) from bindings
                    where id = any($2) and target_group_arn is not null and standing in ('served', 'contested')
                ) as "deleted!",
            (
                select count(*) from (select * from gone union all select * from present) bound
                where bound_since <= now() - make_interval(secs => $3)
            ) as "at_start!"
        "#,
        cluster.0,
        ids,
        window,
    )
    .fetch_one(connection)
    .await?;
    Ok(count.deleted > i64::from(guard.always_meant).max(count.at_start * i64::from(guard.percent) / 100))
}

async fn open_hold(connection: &mut PgConnection, cluster: ClusterId) -> Result<Option<HoldId>> {
    let id = sqlx::query_scalar!(
        "select id from holds where cluster_id = $1 and reason = $2 and ended_at is null",
        cluster.0,
        to_word(&HoldReason::MassUnbinding),
    );
    Ok(id.fetch_optional(connection).await?.map(HoldId))
}

/// Takes the window's deletions that are still under way into the hold. Answers their target groups.
async fn hold(
    connection: &mut PgConnection,
    cluster: ClusterId,
    open: Option<HoldId>,
) -> Result<Vec<String>> {
    let id = match open {
        Some(id) => id,
        None => begin(connection, cluster).await?,
    };
    let held = sqlx::query_scalar!(
        r#"
        update bindings b set hold_id = $2, version = version + 1
        from unbindings u
        where u.cluster_id = $1 and b.id = u.binding_id and b.deleted_at is not null and b.hold_id is null
        returning b.target_group_arn as "arn!"
        "#,
        cluster.0,
        id.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    Ok(held)
}

async fn begin(connection: &mut PgConnection, cluster: ClusterId) -> Result<HoldId> {
    // `hold::refresh` fills in the bindings.
    let none_yet = Hold {
        reason: HoldReason::MassUnbinding,
        bindings: Vec::new(),
        removals: Vec::new(),
        additions: Vec::new(),
        until: None,
    };
    let id = sqlx::query_scalar!(
        r#"
        insert into holds (shard, cluster_id, reason, body) select shard, id, $2, $3 from clusters where id = $1
        returning id
        "#,
        cluster.0,
        to_word(&HoldReason::MassUnbinding),
        to_json(&none_yet),
    );
    Ok(HoldId(id.fetch_one(connection).await?))
}
