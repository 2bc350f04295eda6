//! What clusters state, each statement in one short transaction.
//!
//! Every transaction begins by taking the cluster's row and comparing its epoch ([`crate::stream::check`]): statements of
//! one cluster are written one after the other, and those of an older stream not at all. Only the target groups that a
//! change concerns are woken, and a statement that changes nothing writes nothing.

mod confirm;
mod departures;
mod judge;
mod nodes;
mod pods;
mod service;
mod slices;
mod sources;
mod unbinding;

use model::{ClusterId, binding::BindingSpec, condition::Problem, stream::Source};
use sqlx::PgConnection;

use crate::{Op, Result, Store, database::transaction, row::to_json, stream, stream::Stream};

pub(crate) use departures::of_strength;
pub(crate) use judge::judge;

/// An object with what `translate` says about its text.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedSource {
    pub source: Source,
    pub verdict: std::result::Result<BindingSpec, Problem>,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Rows that changed.
    pub written: u64,
    /// Objects that were passed over: older than the stored ones, or of a service that no binding refers to.
    pub ignored: u64,
    /// A patch to a set that was never stated: nothing was taken, a reset is needed.
    pub needs_reset: bool,
}

impl Store {
    /// The agent can no longer see a kind, in a namespace or anywhere. What it stated stays; the next reset of the kind
    /// there ends it.
    pub async fn ingest_unsynced(
        &self,
        stream: Stream,
        kind: &str,
        namespace: Option<&str>,
        reason: &str,
    ) -> Result<Ingested> {
        transaction!(self, Op::IngestUnsynced, |tx| {
            stream::check(tx, stream).await?;
            let done = sqlx::query!(
                r#"
                update clusters set unsynced = unsynced || jsonb_build_object($2::text, $3::text)
                where id = $1 and unsynced ->> $2 is distinct from $3
                "#,
                stream.cluster.0,
                key(kind, namespace),
                reason,
            )
            .execute(&mut *tx)
            .await?;
            Ok(Ingested {
                written: done.rows_affected(),
                ..Ingested::default()
            })
        })
        .await
    }
}

/// What is told as unsynced: a kind, or a kind in a namespace.
fn key(kind: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{kind} in {namespace}"),
        None => kind.to_owned(),
    }
}

/// The agent sees a kind again, in a namespace if it has any.
async fn synced(
    connection: &mut PgConnection,
    cluster: ClusterId,
    kind: &str,
    namespace: Option<&str>,
) -> Result<()> {
    let keys = [key(kind, None), key(kind, namespace)];
    sqlx::query!(
        "update clusters set unsynced = unsynced - $2::text[] where id = $1 and unsynced ?| $2",
        cluster.0,
        &keys,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The agent sees a kind in the whole cluster: it looks at no namespaces one by one any more.
async fn all_synced(connection: &mut PgConnection, cluster: ClusterId, kind: &str) -> Result<()> {
    sqlx::query!(
        r#"
        with said as (
            select coalesce(jsonb_object_agg(key, value), '{}') as rest from clusters, jsonb_each(unsynced)
            where id = $1 and key <> $2 and key not like '% in %'
        )
        update clusters set unsynced = said.rest from said where id = $1 and unsynced <> said.rest
        "#,
        cluster.0,
        kind,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes `services` what the bindings refer to that are served, or planned at least. The facts of a service go with its
/// row: stated about a service that is no longer watched, they would be old news the next time it is bound. What is told
/// as unsynced goes with the last Service that it keeps from being stated, whose next statement would have ended it.
pub(crate) async fn sync_services(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        insert into services (cluster_id, namespace, name)
        select distinct cluster_id, namespace, service from bindings
        where cluster_id = $1 and service is not null and standing not in ('notServed', 'unstated')
        on conflict do nothing
        "#,
        cluster.0,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        delete from services s where cluster_id = $1 and not exists (
            select from bindings b
            where b.cluster_id = $1 and b.namespace = s.namespace and b.service = s.name
                and b.standing not in ('notServed', 'unstated')
        )
        "#,
        cluster.0,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        with said as (
            select coalesce(jsonb_object_agg(key, value), '{}') as rest from clusters, jsonb_each(unsynced)
            where id = $1 and (split_part(key, ' in ', 1) not in ('Service', 'EndpointSlice', 'Pod') or exists (
                select from services s
                where s.cluster_id = $1 and split_part(key, ' in ', 2) in ('', s.namespace)
            ))
        )
        update clusters set unsynced = said.rest from said where id = $1 and unsynced <> said.rest
        "#,
        cluster.0,
    )
    .execute(&mut *connection)
    .await?;
    nodes::forget(connection, cluster).await
}

/// A binding's columns that come from its spec.
struct SpecColumns {
    spec: Option<serde_json::Value>,
    target_group_arn: Option<String>,
    service: Option<String>,
}

impl SpecColumns {
    fn of(spec: Option<&BindingSpec>) -> Self {
        Self {
            spec: spec.map(to_json),
            target_group_arn: spec.map(|spec| spec.target_group.to_string()),
            service: spec.map(|spec| spec.service.clone()),
        }
    }
}
