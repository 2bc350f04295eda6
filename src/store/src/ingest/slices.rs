//! EndpointSlices. The endpoints of a Service are the union of its slices, wherever a slice came from.

use model::{
    ClusterId,
    fact::{EndpointSlice, ObjectName},
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

/// What a change of slices did.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    /// Services whose union may have changed.
    pub(super) services: Vec<String>,
}

impl Store {
    /// Stores slices of a Service. A reset is complete; a patch before any reset is not taken.
    pub async fn ingest_slices(
        &self,
        stream: Stream,
        service: &ObjectName,
        change: &Change<EndpointSlice>,
    ) -> Result<Ingested> {
        transaction!(self, Op::IngestSlices, |tx| {
            stream::check(tx, stream).await?;
            let stated = sqlx::query_scalar!(
                "select slices_known from services where cluster_id = $1 and namespace = $2 and name = $3",
                stream.cluster.0,
                service.namespace,
                service.name,
            )
            .fetch_optional(&mut *tx)
            .await?;
            let (written, stated_count) = match (stated, change) {
                (None, Change::Reset(slices)) => return Ok(passed_over(slices.len())),
                (None, Change::Patch { upserted, .. }) => return Ok(passed_over(upserted.len())),
                (Some(_), Change::Reset(slices)) => {
                    synced(tx, stream.cluster, "EndpointSlice", Some(&service.namespace)).await?;
                    (reset(tx, stream.cluster, service, slices).await?, slices.len())
                }
                (Some(false), Change::Patch { .. }) => {
                    return Ok(Ingested {
                        needs_reset: true,
                        ..Ingested::default()
                    });
                }
                (Some(true), Change::Patch { upserted, deleted }) => {
                    let mut written = remove(tx, stream.cluster, service, deleted).await?;
                    let more = upsert(tx, stream.cluster, service, upserted).await?;
                    written.rows += more.rows;
                    written.services.extend(more.services);
                    (written, upserted.len() + deleted.len())
                }
            };
            if written.rows > 0 {
                wake::services(tx, stream.cluster, &service.namespace, &written.services).await?;
            }
            let ignored = (stated_count as u64).saturating_sub(written.rows);
            Ok(Ingested {
                written: written.rows,
                ignored,
                needs_reset: false,
            })
        })
        .await
    }
}

fn passed_over(objects: usize) -> Ingested {
    Ingested {
        ignored: objects as u64,
        ..Ingested::default()
    }
}

/// Makes the stored slices of the Service those that are stated.
async fn reset(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    slices: &[EndpointSlice],
) -> Result<Written> {
    let names: Vec<_> = slices.iter().map(|slice| slice.object.name.clone()).collect();
    let gone = sqlx::query!(
        r#"
        delete from endpoint_slices
        where cluster_id = $1 and namespace = $2 and service = $3 and name <> all($4)
        "#,
        cluster.0,
        service.namespace,
        service.name,
        &names,
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let first = sqlx::query!(
        r#"
        update services set slices_known = true
        where cluster_id = $1 and namespace = $2 and name = $3 and not slices_known
        "#,
        cluster.0,
        service.namespace,
        service.name,
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let mut written = upsert(connection, cluster, service, slices).await?;
    written.rows += gone + first;
    written.services.push(service.name.clone());
    Ok(written)
}

/// Only the slice of that UID, and only from this Service: one that moved to another Service by its label stays there.
async fn remove(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    tombstones: &[Tombstone],
) -> Result<Written> {
    if tombstones.is_empty() {
        return Ok(Written::default());
    }
    let names: Vec<_> = tombstones
        .iter()
        .map(|tombstone| tombstone.object.name.clone())
        .collect();
    let uids: Vec<_> = tombstones.iter().map(|tombstone| tombstone.uid).collect();
    let gone = sqlx::query!(
        r#"
        delete from endpoint_slices using unnest($4::text[], $5::uuid[]) as gone (name, uid)
        where cluster_id = $1 and namespace = $2 and service = $3
            and endpoint_slices.name = gone.name and endpoint_slices.uid = gone.uid
        "#,
        cluster.0,
        service.namespace,
        service.name,
        &names,
        &uids,
    )
    .execute(connection)
    .await?;
    Ok(Written {
        rows: gone.rows_affected(),
        services: vec![service.name.clone()],
    })
}

/// Writes slices that are not older than what is stored of the same UID. A slice belongs to the Service that its label
/// says now; one that says a Service nobody is bound to is let go.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    slices: &[EndpointSlice],
) -> Result<Written> {
    if slices.is_empty() {
        return Ok(Written::default());
    }
    let rows: Vec<_> = slices
        .iter()
        .map(|slice| {
            json!({
                "name": slice.object.name,
                "service": slice.service,
                "uid": slice.version.uid,
                "resource_version": to_bigint(slice.version.resource_version),
                "body": to_json(slice),
            })
        })
        .collect();
    let touched = sqlx::query!(
        r#"
        with new as (
            select * from jsonb_to_recordset($3)
                as new (name text, service text, uid uuid, resource_version bigint, body jsonb)
        ), bound as (
            select new.* from new
            join services s on s.cluster_id = $1 and s.namespace = $2 and s.name = new.service
        ), moved as (
            select old.name, old.service from endpoint_slices old join new on old.name = new.name
            where old.cluster_id = $1 and old.namespace = $2 and old.service <> new.service
                and (old.uid <> new.uid or old.resource_version <= new.resource_version)
        ), gone as (
            delete from endpoint_slices old using moved
            where old.cluster_id = $1 and old.namespace = $2 and old.name = moved.name
                and old.name not in (select name from bound)
            returning old.service
        ), written as (
            insert into endpoint_slices as old (cluster_id, namespace, name, service, uid, resource_version, body)
            select $1, $2, name, service, uid, resource_version, body from bound
            on conflict (cluster_id, namespace, name) do update
            set service = excluded.service, uid = excluded.uid, resource_version = excluded.resource_version,
                body = excluded.body
            where (old.uid <> excluded.uid or old.resource_version <= excluded.resource_version)
                and (old.service, old.uid, old.resource_version, old.body)
                    is distinct from (excluded.service, excluded.uid, excluded.resource_version, excluded.body)
            returning name, service
        )
        select service as "service!", true as "counts!" from written
        union all select service, true from gone
        union all select moved.service, false from moved join written on written.name = moved.name
        "#,
        cluster.0,
        service.namespace,
        Value::from(rows),
    )
    .fetch_all(connection)
    .await?;
    let rows = touched.iter().filter(|row| row.counts).count() as u64;
    let mut services: Vec<_> = touched.into_iter().map(|row| row.service).collect();
    services.sort_unstable();
    services.dedup();
    Ok(Written { rows, services })
}
