//! The objects of a cluster that ask for load balancing.

use std::collections::BTreeSet;

use model::{
    BindingId, ClusterId,
    binding::BindingSpec,
    fact::{ObjectName, ObjectVersion},
    guard::Unbinding,
    stream::Change,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    Ingested, JudgedSource, SpecColumns, all_synced,
    judge::{self, Changes, Existing},
    key, sync_services, unbinding,
};
use crate::{
    Op, Result, Store,
    database::transaction,
    hold, row,
    row::{to_bigint, to_json},
    standing, status, stream,
    stream::Stream,
    wake,
};

const KIND: &str = "TargetGroupBinding";

impl Store {
    /// Stores objects with what their texts mean. A reset is of these namespaces, or of all, and complete: bindings of
    /// objects that it lacks are deleted, as far as the rule on many at once lets them go (`ingest/unbinding.rs`). Those of
    /// other namespaces stay as they are, and the cluster tells that nobody sees them.
    pub async fn ingest_sources(
        &self,
        stream: Stream,
        change: &Change<JudgedSource>,
        within: Option<&BTreeSet<String>>,
        guard: &Unbinding,
    ) -> Result<Ingested> {
        let within: Option<Vec<_>> = within.map(|namespaces| namespaces.iter().cloned().collect());
        transaction!(self, Op::IngestSources, |tx| {
            stream::check(tx, stream).await?;
            let cluster = stream.cluster;
            let existing = match change {
                Change::Reset(_) => {
                    begin_reset(tx, cluster).await?;
                    match &within {
                        Some(namespaces) => hide(tx, cluster, namespaces).await?,
                        None => all_synced(tx, cluster, KIND).await?,
                    }
                    read(tx, cluster, None, within.as_deref()).await?
                }
                Change::Patch { .. } if !is_stated(tx, cluster).await? => {
                    return Ok(Ingested {
                        needs_reset: true,
                        ..Ingested::default()
                    });
                }
                Change::Patch { upserted, deleted } => {
                    let upserted = upserted.iter().map(|judged| &judged.source.object);
                    let names = upserted.chain(deleted.iter().map(|tombstone| &tombstone.object));
                    read(tx, cluster, Some(names.collect()), None).await?
                }
            };
            settle(tx, cluster, &existing, change, guard).await
        })
        .await
    }
}

/// Makes of the stored bindings what is stated.
async fn settle(
    connection: &mut PgConnection,
    cluster: ClusterId,
    existing: &[Existing],
    change: &Change<JudgedSource>,
    guard: &Unbinding,
) -> Result<Ingested> {
    let serve = standing::serve(connection, cluster).await?;
    let changes = judge::compare(existing, change, serve);
    if changes.is_empty() {
        return Ok(Ingested {
            ignored: changes.ignored,
            ..Ingested::default()
        });
    }
    let mut affected: Vec<String> = Vec::new();
    // First what frees a name, then what takes it.
    affected.extend(replace(connection, &changes.replaced).await?);
    affected.extend(unbinding::unbind(connection, cluster, &changes.deleted, guard).await?);
    affected.extend(update(connection, &changes).await?);
    affected.extend(insert(connection, cluster, &changes).await?);
    hold::refresh(connection, cluster).await?;
    sync_services(connection, cluster).await?;
    status::report_unbound(connection, cluster).await?;
    affected.sort_unstable();
    affected.dedup();
    wake::groups(connection, affected).await?;
    wake::cluster(connection, cluster).await?;
    Ok(Ingested {
        written: changes.count(),
        ignored: changes.ignored,
        needs_reset: false,
    })
}

impl Changes {
    fn count(&self) -> u64 {
        let Self {
            inserted,
            updated,
            replaced,
            deleted,
            ignored: _,
        } = self;
        (inserted.len() + updated.len() + replaced.len() + deleted.len()) as u64
    }
}

async fn begin_reset(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        "update clusters set sources_synced_at = now() where id = $1 and sources_synced_at is null",
        cluster.0,
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Only these namespaces are seen: those of other bindings are told as unsynced.
async fn hide(connection: &mut PgConnection, cluster: ClusterId, seen: &[String]) -> Result<()> {
    let mut synced: Vec<_> = seen.iter().map(|namespace| key(KIND, Some(namespace))).collect();
    synced.push(key(KIND, None));
    sqlx::query!(
        r#"
        with said as (
            select coalesce(jsonb_object_agg($3 || namespace, $4::text), '{}') as hidden from (
                select distinct namespace from bindings
                where cluster_id = $1 and origin = 'object' and deleted_at is null and namespace <> all ($2)
            ) others
        )
        update clusters set unsynced = said.hidden || (unsynced - $5::text[]) from said
        where id = $1 and unsynced is distinct from said.hidden || (unsynced - $5::text[])
        "#,
        cluster.0,
        seen,
        key(KIND, Some("")),
        "the agent does not look at this namespace: what is bound there stays as it was",
        &synced,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn is_stated(connection: &mut PgConnection, cluster: ClusterId) -> Result<bool> {
    let stated = sqlx::query_scalar!(
        r#"select sources_synced_at is not null as "stated!" from clusters where id = $1"#,
        cluster.0,
    );
    Ok(stated.fetch_one(connection).await?)
}

/// The bindings of the objects of these names, or of all, or of all of some namespaces; those on their way out included.
async fn read(
    connection: &mut PgConnection,
    cluster: ClusterId,
    names: Option<Vec<&ObjectName>>,
    within: Option<&[String]>,
) -> Result<Vec<Existing>> {
    let namespaces: Option<Vec<_>> = names
        .as_ref()
        .map(|names| names.iter().map(|object| object.namespace.clone()).collect());
    let names: Option<Vec<_>> = names.map(|names| names.iter().map(|object| object.name.clone()).collect());
    let rows = sqlx::query!(
        r#"
        select id, namespace, name, object_uid as "object_uid!", resource_version as "resource_version!", generation,
            source, spec, problem, deleted_at is not null as "deleted!", hold_id is not null as "held!",
            marks, standing, adopted_at is not null as "adopted!"
        from bindings
        where cluster_id = $1 and origin = 'object' and (
            $2::text[] is null or (namespace, name) in (select * from unnest($2::text[], $3::text[]))
        ) and ($4::text[] is null or namespace = any ($4))
        "#,
        cluster.0,
        namespaces.as_deref(),
        names.as_deref(),
        within,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let at = row::Row::new("bindings", &row.id);
            Ok(Existing {
                id: BindingId(row.id),
                object: ObjectName::new(row.namespace, row.name),
                version: ObjectVersion {
                    uid: row.object_uid,
                    resource_version: at.number("resource_version", row.resource_version)?,
                },
                generation: row.generation,
                source: row.source,
                spec: row
                    .spec
                    .map(|spec| at.json::<BindingSpec>("spec", spec))
                    .transpose()?,
                problem: row
                    .problem
                    .map(|problem| at.json("problem", problem))
                    .transpose()?,
                deleted: row.deleted,
                held: row.held,
                marks: row.marks.map(|marks| at.json("marks", marks)).transpose()?,
                standing: at.word("standing", &row.standing)?,
                adopted: row.adopted,
            })
        })
        .collect()
}

/// Lets go of bindings whose names are bound to other groups now.
async fn replace(connection: &mut PgConnection, bindings: &[BindingId]) -> Result<Vec<String>> {
    let ids: Vec<_> = bindings.iter().map(|id| id.0).collect();
    let arns = sqlx::query_scalar!(
        r#"
        update bindings set deleted_at = coalesce(deleted_at, now()), hold_id = null, version = version + 1
        where id = any($1)
        returning target_group_arn
        "#,
        &ids,
    );
    Ok(arns.fetch_all(connection).await?.into_iter().flatten().collect())
}

async fn update(connection: &mut PgConnection, changes: &Changes) -> Result<Vec<String>> {
    if changes.updated.is_empty() {
        return Ok(Vec::new());
    }
    let rows = changes
        .updated
        .iter()
        .map(|(id, row)| with_id(to_row(row), *id))
        .collect::<Vec<_>>();
    let ids: Vec<_> = changes.updated.iter().map(|(id, _)| id.0).collect();
    // A new object has a status of its own to be told.
    sqlx::query!(
        r#"
        delete from statuses using bindings b, jsonb_to_recordset($1) as new (id uuid, object_uid uuid)
        where b.id = new.id and binding_id = b.id and b.object_uid <> new.object_uid
        "#,
        Value::from(rows.clone()),
    )
    .execute(&mut *connection)
    .await?;
    unbinding::returned(connection, &ids).await?;
    let arns = sqlx::query_scalar!(
        r#"
        update bindings b set object_uid = new.object_uid, resource_version = new.resource_version,
            generation = new.generation, source = new.source, spec = new.spec, problem = new.problem,
            target_group_arn = new.target_group_arn, service = new.service, marks = new.marks,
            standing = new.standing, deleted_at = null, hold_id = null,
            version = b.version + 1
        from jsonb_to_recordset($1) as new (
            id uuid, object_uid uuid, resource_version bigint, generation bigint, source jsonb, spec jsonb,
            problem jsonb, target_group_arn text, service text, marks jsonb, standing text
        )
        where b.id = new.id
        returning b.target_group_arn
        "#,
        Value::from(rows),
    )
    .fetch_all(connection)
    .await?;
    Ok(arns.into_iter().flatten().collect())
}

async fn insert(connection: &mut PgConnection, cluster: ClusterId, changes: &Changes) -> Result<Vec<String>> {
    if changes.inserted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = changes.inserted.iter().map(to_row).collect();
    let arns = sqlx::query_scalar!(
        r#"
        insert into bindings (cluster_id, namespace, name, origin, object_uid, resource_version, generation, source, spec,
            problem, target_group_arn, service, marks, standing)
        select $1, namespace, name, 'object', object_uid, resource_version, generation, source, spec, problem,
            target_group_arn, service, marks, standing
        from jsonb_to_recordset($2) as new (
            namespace text, name text, object_uid uuid, resource_version bigint, generation bigint, source jsonb,
            spec jsonb, problem jsonb, target_group_arn text, service text, marks jsonb, standing text
        )
        returning target_group_arn
        "#,
        cluster.0,
        Value::from(rows),
    )
    .fetch_all(connection)
    .await?;
    Ok(arns.into_iter().flatten().collect())
}

fn to_row(row: &judge::Row) -> Value {
    let judge::Row {
        object,
        version,
        generation,
        source,
        spec,
        problem,
        marks,
        standing,
    } = row;
    let SpecColumns {
        spec,
        target_group_arn,
        service,
    } = SpecColumns::of(spec.as_ref());
    json!({
        "namespace": object.namespace,
        "name": object.name,
        "object_uid": version.uid,
        "resource_version": to_bigint(version.resource_version),
        "generation": generation,
        "source": source,
        "spec": spec,
        "problem": problem.as_ref().map(to_json),
        "target_group_arn": target_group_arn,
        "service": service,
        "marks": marks,
        "standing": standing,
    })
}

fn with_id(mut row: Value, id: BindingId) -> Value {
    row["id"] = to_json(&id);
    row
}
