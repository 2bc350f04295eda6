//! The pods with readiness gates that bound Services select.

use model::{
    ClusterId,
    fact::ObjectName,
    pod::Pod,
    stream::{Change, Tombstone},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Ingested, synced};
use crate::{
    Op, Result, Store,
    database::transaction,
    row::{to_bigint, to_json},
    stream,
    stream::Stream,
    wake,
};

impl Store {
    /// Stores gated pods of a Service, and the shortest termination grace of all its pods. A reset is complete; a patch
    /// before any reset is not taken.
    pub async fn ingest_pods(
        &self,
        stream: Stream,
        service: &ObjectName,
        change: &Change<Pod>,
        shortest_grace: Option<u32>,
    ) -> Result<Ingested> {
        let cluster = stream.cluster;
        transaction!(self, Op::IngestPods, |tx| {
            stream::check(tx, stream).await?;
            let stated = change.stated();
            let Some(known) = sqlx::query!(
                r#"
                select pods_known, shortest_grace from services
                where cluster_id = $1 and namespace = $2 and name = $3
                "#,
                cluster.0,
                service.namespace,
                service.name,
            )
            .fetch_optional(&mut *tx)
            .await?
            else {
                // No binding refers to the Service.
                return Ok(Ingested {
                    ignored: stated.len() as u64,
                    ..Ingested::default()
                });
            };
            if !known.pods_known && matches!(change, Change::Patch { .. }) {
                return Ok(Ingested {
                    needs_reset: true,
                    ..Ingested::default()
                });
            }
            let mut written = match change {
                Change::Reset(pods) => {
                    synced(tx, cluster, "Pod", Some(&service.namespace)).await?;
                    keep_only(tx, cluster, service, pods).await?
                }
                Change::Patch { deleted, .. } => remove(tx, cluster, service, deleted).await?,
            };
            written += upsert(tx, cluster, service, stated).await?;
            let shortest_grace = shortest_grace.map(i64::from);
            if !known.pods_known || known.shortest_grace != shortest_grace {
                written += describe(tx, cluster, service, shortest_grace).await?;
            }
            if written > 0 {
                wake::service(tx, cluster, service).await?;
            }
            Ok(Ingested {
                written,
                ignored: (stated.len() as u64).saturating_sub(written),
                needs_reset: false,
            })
        })
        .await
    }
}

/// Lets go of all that are not among `pods`.
async fn keep_only(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    pods: &[Pod],
) -> Result<u64> {
    let names: Vec<_> = pods.iter().map(|pod| pod.object.name.clone()).collect();
    let gone = sqlx::query!(
        "delete from pods where cluster_id = $1 and namespace = $2 and service = $3 and name <> all($4)",
        cluster.0,
        service.namespace,
        service.name,
        &names,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// Only the pods of these UIDs.
async fn remove(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    tombstones: &[Tombstone],
) -> Result<u64> {
    if tombstones.is_empty() {
        return Ok(0);
    }
    let uids: Vec<_> = tombstones.iter().map(|tombstone| tombstone.uid).collect();
    let gone = sqlx::query!(
        "delete from pods where cluster_id = $1 and namespace = $2 and service = $3 and uid = any($4)",
        cluster.0,
        service.namespace,
        service.name,
        &uids,
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}

/// Writes pods that are not older than what is stored of the same UID.
async fn upsert(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    pods: &[Pod],
) -> Result<u64> {
    if pods.is_empty() {
        return Ok(0);
    }
    let rows: Vec<_> = pods
        .iter()
        .map(|pod| {
            json!({
                "name": pod.object.name,
                "uid": pod.version.uid,
                "resource_version": to_bigint(pod.version.resource_version),
                "body": to_json(pod),
            })
        })
        .collect();
    let written = sqlx::query!(
        r#"
        insert into pods as old (cluster_id, namespace, service, name, uid, resource_version, body)
        select $1, $2, $3, name, uid, resource_version, body
        from jsonb_to_recordset($4) as new (name text, uid uuid, resource_version bigint, body jsonb)
        on conflict (cluster_id, namespace, service, name) do update
        set uid = excluded.uid, resource_version = excluded.resource_version, body = excluded.body,
            since = case when old.uid = excluded.uid then old.since else excluded.since end
        where (old.uid <> excluded.uid or old.resource_version <= excluded.resource_version)
            and (old.uid, old.resource_version, old.body)
                is distinct from (excluded.uid, excluded.resource_version, excluded.body)
        "#,
        cluster.0,
        service.namespace,
        service.name,
        Value::from(rows),
    )
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}

/// Notes that the pods are known, and their shortest termination grace.
async fn describe(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    shortest_grace: Option<i64>,
) -> Result<u64> {
    let described = sqlx::query!(
        r#"
        update services set pods_known = true, shortest_grace = $4
        where cluster_id = $1 and namespace = $2 and name = $3
        "#,
        cluster.0,
        service.namespace,
        service.name,
        shortest_grace,
    )
    .execute(connection)
    .await?;
    Ok(described.rows_affected())
}
