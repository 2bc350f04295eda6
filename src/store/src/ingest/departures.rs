//! Endpoints that vanished, with what the agent could prove. Evidence is strengthened and never weakened.

use model::{
    ClusterId,
    fact::{Evidence, ObjectName},
    stream::{PodReading, Vanished},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Ingested;
use crate::{Op, Result, Store, database::transaction, stream, stream::Stream, wake};

/// How long a departure is kept for which the ledger has no target: one may just be about to be registered.
const KEPT_SECONDS: f64 = 600.0;

impl Store {
    /// Stores departures of a Service's endpoints.
    pub async fn ingest_departures(
        &self,
        stream: Stream,
        service: &ObjectName,
        vanished: &[Vanished],
    ) -> Result<Ingested> {
        transaction!(self, Op::IngestDepartures, |tx| {
            stream::check(tx, stream).await?;
            let written = write(tx, stream.cluster, service, vanished).await?;
            if written > 0 {
                sweep(tx, stream.cluster, service).await?;
                wake::service(tx, stream.cluster, service).await?;
            }
            Ok(Ingested {
                written,
                ignored: (vanished.len() as u64).saturating_sub(written),
                needs_reset: false,
            })
        })
        .await
    }
}

/// How an [`Evidence`] is stored, so that Postgres can tell the stronger one.
pub(crate) fn strength(evidence: Evidence) -> i16 {
    match evidence {
        Evidence::None => 0,
        Evidence::NotSelected => 1,
        Evidence::PodGone => 2,
        Evidence::Terminating => 3,
    }
}

pub(crate) fn of_strength(strength: i16) -> Option<Evidence> {
    [
        Evidence::None,
        Evidence::NotSelected,
        Evidence::PodGone,
        Evidence::Terminating,
    ]
    .into_iter()
    .find(|evidence| self::strength(*evidence) == strength)
}

async fn write(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    vanished: &[Vanished],
) -> Result<u64> {
    let rows: Vec<_> = vanished
        .iter()
        .map(
            |Vanished {
                 address,
                 pod,
                 evidence,
             }| {
                json!({
                    "address": address,
                    "pod_uid": pod.as_ref().map(|pod| pod.uid),
                    "pod": pod,
                    "evidence": strength(*evidence),
                })
            },
        )
        .collect();
    let written = sqlx::query!(
        r#"
        insert into departures as old (cluster_id, namespace, service, address, pod_uid, pod, evidence)
        select distinct on (address, pod_uid) $1, $2, $3, address, pod_uid, pod, evidence
        from jsonb_to_recordset($4) as new (address text, pod_uid uuid, pod jsonb, evidence smallint)
        where exists (select from services where cluster_id = $1 and namespace = $2 and name = $3)
        order by address, pod_uid, evidence desc
        on conflict (cluster_id, namespace, service, address, pod_uid) do update
        set evidence = excluded.evidence, at = now()
        where old.evidence < excluded.evidence
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

/// Strengthens what live reads of pods showed, for the targets and departures that are these pods'.
pub(super) async fn strengthen(
    connection: &mut PgConnection,
    cluster: ClusterId,
    service: &ObjectName,
    readings: &[PodReading],
) -> Result<u64> {
    let rows: Vec<_> = readings
        .iter()
        .filter(|reading| reading.evidence != Evidence::None)
        .map(|PodReading { pod, evidence }| {
            json!({ "pod_uid": pod.uid, "pod": pod, "evidence": strength(*evidence) })
        })
        .collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let written = sqlx::query!(
        r#"
        with read as (
            select * from jsonb_to_recordset($4) as read (pod_uid uuid, pod jsonb, evidence smallint)
        ), addresses as (
            select l.target_id as address, read.pod_uid, read.pod, read.evidence
            from bindings b
            join ledger_targets l on l.target_group_arn = b.target_group_arn
            join read on l.pod ->> 'uid' = read.pod_uid::text
            where b.cluster_id = $1 and b.namespace = $2 and b.service = $3
            union
            select d.address, d.pod_uid, read.pod, read.evidence
            from departures d join read on read.pod_uid = d.pod_uid
            where d.cluster_id = $1 and d.namespace = $2 and d.service = $3
        )
        insert into departures as old (cluster_id, namespace, service, address, pod_uid, pod, evidence)
        select distinct on (address, pod_uid) $1, $2, $3, address, pod_uid, pod, evidence from addresses
        where exists (select from services where cluster_id = $1 and namespace = $2 and name = $3)
        order by address, pod_uid, evidence desc
        on conflict (cluster_id, namespace, service, address, pod_uid) do update
        set evidence = excluded.evidence, at = now()
        where old.evidence < excluded.evidence
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

/// Lets go of old departures of addresses that are no targets of ours any more.
async fn sweep(connection: &mut PgConnection, cluster: ClusterId, service: &ObjectName) -> Result<()> {
    sqlx::query!(
        r#"
        delete from departures d
        where cluster_id = $1 and namespace = $2 and service = $3 and at < now() - make_interval(secs => $4)
            and not exists (
                select from bindings b
                join ledger_targets l on l.target_group_arn = b.target_group_arn and l.target_id = d.address
                where b.cluster_id = $1 and b.namespace = $2 and b.service = $3
            )
        "#,
        cluster.0,
        service.namespace,
        service.name,
        KEPT_SECONDS,
    )
    .execute(connection)
    .await?;
    Ok(())
}
