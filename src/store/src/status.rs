//! What is told about each binding. Written when it changes; the version tells a stream what it has not sent yet.

use std::collections::BTreeMap;

use model::{
    BindingId, ClusterId,
    condition::{BindingStatus, Problem, Readiness, Truth},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    Op, Result, Store,
    database::transaction,
    lease,
    row::{Row, to_json},
    wake,
};

impl Store {
    /// Stores what became of bindings and wakes the streams that write it back. Answers how many statuses changed.
    pub async fn report(
        &self,
        fence: &lease::Fence,
        statuses: &BTreeMap<BindingId, BindingStatus>,
    ) -> Result<usize> {
        if statuses.is_empty() {
            return Ok(0);
        }
        transaction!(self, Op::Report, |tx| {
            let ids: Vec<_> = statuses.keys().map(|id| id.0).collect();
            let bodies: Vec<_> = statuses.values().map(to_json).collect();
            // Most reports change nothing; they take no lock.
            let clusters = sqlx::query_scalar!(
                r#"
                select distinct b.cluster_id
                from unnest($1::uuid[], $2::jsonb[]) as new (id, body)
                join bindings b on b.id = new.id
                left join statuses s on s.binding_id = new.id
                where s.body is distinct from new.body
                order by 1
                "#,
                &ids,
                &bodies,
            )
            .fetch_all(&mut *tx)
            .await?;
            if !clusters.is_empty() {
                lease::check(tx, fence).await?;
            }
            let mut changed = 0;
            for cluster in clusters {
                changed += write(tx, ClusterId(cluster), &ids, &bodies).await?;
            }
            Ok(changed)
        })
        .await
    }
}

/// Reports bindings whose text names no target group: no group's writer will ever look at them.
pub(crate) async fn report_unbound(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    let rows = sqlx::query!(
        r#"
        select id, generation, problem as "problem!" from bindings
        where cluster_id = $1 and deleted_at is null and spec is null and problem is not null
        "#,
        cluster.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut ids = Vec::with_capacity(rows.len());
    let mut bodies = Vec::with_capacity(rows.len());
    for row in rows {
        let problem: Problem = Row::new("bindings", &row.id).json("problem", row.problem)?;
        let ready = Readiness {
            status: Truth::False,
            reason: problem.reason,
            message: problem.to_string(),
        };
        let status = BindingStatus {
            observed_generation: row.generation,
            ready,
            desired: 0,
            registered: 0,
            held: 0,
            target_type: None,
        };
        ids.push(row.id);
        bodies.push(to_json(&status));
    }
    if !ids.is_empty() {
        write(connection, cluster, &ids, &bodies).await?;
    }
    Ok(())
}

async fn write(
    connection: &mut PgConnection,
    cluster: ClusterId,
    ids: &[uuid::Uuid],
    bodies: &[Value],
) -> Result<usize> {
    let rows: Vec<_> = ids
        .iter()
        .zip(bodies)
        .map(|(id, body)| json!({ "id": id, "body": body }))
        .collect();
    let written = sqlx::query!(
        r#"
        with changed as (
            select new.id, new.body, row_number() over (order by new.id) as number
            from jsonb_to_recordset($2) as new (id uuid, body jsonb)
            join bindings b on b.id = new.id and b.cluster_id = $1
            left join statuses s on s.binding_id = new.id
            where s.body is distinct from new.body
        ), clock as (
            insert into status_versions as v (cluster_id, version)
            select $1, count(*) from changed having count(*) > 0
            on conflict (cluster_id) do update set version = v.version + excluded.version
            returning version
        )
        insert into statuses (binding_id, cluster_id, body, version)
        select id, $1, body, clock.version - (select count(*) from changed) + number from changed, clock
        on conflict (binding_id) do update set body = excluded.body, version = excluded.version, changed_at = now()
        "#,
        cluster.0,
        Value::from(rows),
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if written > 0 {
        wake::cluster(connection, cluster).await?;
    }
    Ok(usize::try_from(written).unwrap_or(usize::MAX))
}
