//! The nodes of a cluster, and which of them have come to their end.
//!
//! A change wakes the groups that it concerns: those of type `instance`; those that look for interfaces on a node when
//! its instance becomes known; and all when a node begins or ceases to be one that nobody hears of.

use model::{
    ClusterId,
    node::{Node, NodeRef},
    stream::{Change, NodeReading},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Ingested, synced};
use crate::{
    Op, Result, Store,
    database::transaction,
    row::{to_bigint, to_json, to_word},
    stream,
    stream::Stream,
    wake,
};

/// How long a departure is kept for whose instance the ledger has no target: one may just be about to be registered.
const KEPT_SECONDS: f64 = 600.0;

/// What a change of nodes did.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    /// Whether instance groups may have other targets.
    instances: bool,
    /// Whether the instance of a node became known.
    hosts: bool,
    /// Whether a node became or ceased to be one that nobody hears of.
    unknown: bool,
}

impl Written {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.instances |= other.instances;
        self.hosts |= other.hosts;
        self.unknown |= other.unknown;
    }
}

impl Store {
    /// Stores nodes. A reset is complete; a patch before any reset is not taken. Nothing is taken from a cluster without
    /// bindings.
    pub async fn ingest_nodes(&self, stream: Stream, change: &Change<Node, NodeRef>) -> Result<Ingested> {
        let cluster = stream.cluster;
        transaction!(self, Op::IngestNodes, |tx| {
            stream::check(tx, stream).await?;
            let stated = match change {
                Change::Reset(nodes) => nodes.len(),
                Change::Patch { upserted, deleted } => upserted.len() + deleted.len(),
            } as u64;
            let written = match (standing(tx, cluster).await?, change) {
                (Standing::NotWanted, _) => Written::default(),
                (_, Change::Reset(nodes)) => reset(tx, cluster, nodes).await?,
                (Standing::NotStated, Change::Patch { .. }) => {
                    return Ok(Ingested {
                        needs_reset: true,
                        ..Ingested::default()
                    });
                }
                (Standing::Stated, Change::Patch { upserted, deleted }) => {
                    let mut written = remove(tx, cluster, deleted).await?;
                    written.add(&upsert(tx, cluster, upserted).await?);
                    written
                }
            };
            wake(tx, cluster, &written).await?;
            Ok(Ingested {
                written: written.rows,
                ignored: stated.saturating_sub(written.rows),
                needs_reset: false,
            })
        })
        .await
    }

    /// Stores that live reads did not find these nodes.
    pub async fn ingest_nodes_gone(&self, stream: Stream, nodes: &[NodeRef]) -> Result<Ingested> {
        let cluster = stream.cluster;
        transaction!(self, Op::IngestNodes, |tx| {
            stream::check(tx, stream).await?;
            let written = prove(tx, cluster, nodes).await?;
            wake(tx, cluster, &written).await?;
            Ok(Ingested {
                written: written.rows,
                ignored: (nodes.len() as u64).saturating_sub(written.rows),
                needs_reset: false,
            })
        })
        .await
    }
}

#[derive(Clone, Copy)]
enum Standing {
    NotWanted,
    NotStated,
    Stated,
}

async fn standing(connection: &mut PgConnection, cluster: ClusterId) -> Result<Standing> {
    let row = sqlx::query!(
        r#"
        select nodes_synced_at is not null as "stated!",
            exists (select from services where cluster_id = $1) as "wanted!"
        from clusters where id = $1
        "#,
        cluster.0,
    )
    .fetch_one(connection)
    .await?;
    Ok(match (row.wanted, row.stated) {
        (false, _) => Standing::NotWanted,
        (true, false) => Standing::NotStated,
        (true, true) => Standing::Stated,
    })
}

async fn wake(connection: &mut PgConnection, cluster: ClusterId, written: &Written) -> Result<()> {
    if written.unknown {
        return wake::groups_of_cluster(connection, cluster).await;
    }
    if written.instances {
        wake::instance_groups(connection, cluster).await?;
    }
    if written.hosts {
        wake::groups_with_hosts(connection, cluster).await?;
    }
    Ok(())
}

/// Makes the stored nodes those that are stated.
async fn reset(connection: &mut PgConnection, cluster: ClusterId, nodes: &[Node]) -> Result<Written> {
    synced(connection, cluster, "Node", None).await?;
    let names: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut written = depart(connection, cluster, Leaving::AllBut(&names)).await?;
    written.add(&upsert(connection, cluster, nodes).await?);
    let first = sqlx::query!(
        "update clusters set nodes_synced_at = now() where id = $1 and nodes_synced_at is null",
        cluster.0,
    )
    .execute(connection)
    .await?
    .rows_affected();
    written.rows += first;
    written.instances |= first > 0;
    written.hosts |= first > 0;
    Ok(written)
}

/// Only the node of that UID.
async fn remove(connection: &mut PgConnection, cluster: ClusterId, nodes: &[NodeRef]) -> Result<Written> {
    if nodes.is_empty() {
        return Ok(Written::default());
    }
    depart(connection, cluster, Leaving::These(nodes)).await
}

enum Leaving<'a> {
    AllBut(&'a [String]),
    These(&'a [NodeRef]),
}

/// Takes nodes away and remembers which instances lost theirs.
async fn depart(connection: &mut PgConnection, cluster: ClusterId, leaving: Leaving<'_>) -> Result<Written> {
    let (kept, these) = match leaving {
        Leaving::AllBut(names) => (Some(names), Vec::new()),
        Leaving::These(nodes) => (None, nodes.to_vec()),
    };
    let gone = sqlx::query!(
        r#"
        with gone as (
            delete from nodes
            where cluster_id = $1 and case
                when $2::text[] is null then (name, uid) in (
                    select name, uid from jsonb_to_recordset($3) as these (name text, uid uuid)
                )
                else name <> all($2)
            end
            returning name, uid, instance_id, ready
        ), departed as (
            insert into node_departures (cluster_id, name, uid, instance_id)
            select $1, name, uid, instance_id from gone where instance_id is not null
            on conflict do nothing
        )
        select count(*) as "rows!", coalesce(bool_or(ready = 'unknown'), false) as "unknown!" from gone
        "#,
        cluster.0,
        kept,
        to_json(&these),
    )
    .fetch_one(&mut *connection)
    .await?;
    if gone.rows > 0 {
        sweep(connection, cluster).await?;
    }
    Ok(Written {
        rows: gone.rows.unsigned_abs(),
        instances: gone.rows > 0,
        hosts: false,
        unknown: gone.unknown,
    })
}

/// Writes nodes that are not older than what is stored of the same UID.
async fn upsert(connection: &mut PgConnection, cluster: ClusterId, nodes: &[Node]) -> Result<Written> {
    if nodes.is_empty() {
        return Ok(Written::default());
    }
    let rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            json!({
                "name": node.name,
                "uid": node.version.uid,
                "resource_version": to_bigint(node.version.resource_version),
                "ready": to_word(&node.ready),
                "instance_id": node.instance_id(),
                "body": to_json(node),
            })
        })
        .collect();
    let written = sqlx::query!(
        r#"
        with new as (
            select distinct on (name) *
            from jsonb_to_recordset($2) as new (
                name text, uid uuid, resource_version bigint, ready text, instance_id text, body jsonb
            )
            order by name, resource_version desc
        ), before as (
            select n.* from nodes n join new on n.name = new.name where n.cluster_id = $1
        ), written as (
            insert into nodes as old (cluster_id, name, uid, resource_version, ready, instance_id, body)
            select $1, name, uid, resource_version, ready, instance_id, body from new
            on conflict (cluster_id, name) do update
            set uid = excluded.uid, resource_version = excluded.resource_version, ready = excluded.ready,
                instance_id = excluded.instance_id, body = excluded.body, confirmed_at = null
            where (old.uid <> excluded.uid or old.resource_version <= excluded.resource_version)
                and old.body is distinct from excluded.body
            returning name, uid, ready, instance_id, body
        ), departed as (
            insert into node_departures (cluster_id, name, uid, instance_id)
            select $1, before.name, before.uid, before.instance_id
            from before join written on written.name = before.name
            where before.instance_id is distinct from written.instance_id and before.instance_id is not null
            on conflict do nothing
        ), returned as (
            delete from node_departures d using written
            where d.cluster_id = $1 and d.instance_id = written.instance_id
        )
        select count(*) as "rows!",
            coalesce(bool_or(before.body is null or before.body - 'version' <> written.body - 'version'), false)
                as "instances!",
            coalesce(bool_or(before.body is null or before.instance_id is distinct from written.instance_id), false)
                as "hosts!",
            coalesce(bool_or((written.ready = 'unknown') <> (coalesce(before.ready, '') = 'unknown')), false)
                as "unknown!"
        from written left join before on before.name = written.name
        "#,
        cluster.0,
        Value::from(rows),
    )
    .fetch_one(connection)
    .await?;
    Ok(Written {
        rows: written.rows.unsigned_abs(),
        instances: written.instances,
        hosts: written.hosts,
        unknown: written.unknown,
    })
}

/// Notes that nodes which left have come to their end.
async fn prove(connection: &mut PgConnection, cluster: ClusterId, nodes: &[NodeRef]) -> Result<Written> {
    let proven = sqlx::query!(
        r#"
        update node_departures d set gone = true, at = now()
        from jsonb_to_recordset($2) as these (name text, uid uuid)
        where d.cluster_id = $1 and d.name = these.name and d.uid = these.uid and not d.gone
        "#,
        cluster.0,
        to_json(&nodes),
    )
    .execute(connection)
    .await?
    .rows_affected();
    Ok(Written {
        rows: proven,
        instances: proven > 0,
        hosts: false,
        unknown: false,
    })
}

/// Takes over what live reads of nodes showed, and confirms what is stored where it is just that.
pub(super) async fn confirm(
    connection: &mut PgConnection,
    cluster: ClusterId,
    readings: &[NodeReading],
) -> Result<Written> {
    if readings.is_empty() || !matches!(standing(connection, cluster).await?, Standing::Stated) {
        return Ok(Written::default());
    }
    let gone: Vec<_> = readings
        .iter()
        .filter(|reading| reading.is_gone())
        .map(|reading| reading.node.clone())
        .collect();
    let found: Vec<_> = readings
        .iter()
        .filter_map(|reading| reading.found.clone())
        .collect();
    let mut written = remove(connection, cluster, &gone).await?;
    written.add(&upsert(connection, cluster, &found).await?);
    written.add(&prove(connection, cluster, &gone).await?);
    let versions: Vec<_> = found
        .iter()
        .map(|node| {
            json!({
                "name": node.name,
                "uid": node.version.uid,
                "resource_version": to_bigint(node.version.resource_version),
            })
        })
        .collect();
    let confirmed = sqlx::query!(
        r#"
        update nodes n set confirmed_at = clock_timestamp()
        from jsonb_to_recordset($2) as read (name text, uid uuid, resource_version bigint)
        where n.cluster_id = $1 and n.name = read.name and n.uid = read.uid
            and n.resource_version = read.resource_version
        "#,
        cluster.0,
        Value::from(versions),
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    written.rows += confirmed;
    written.instances |= confirmed > 0;
    wake(connection, cluster, &written).await?;
    Ok(written)
}

/// Lets go of old departures of instances that are no targets of ours any more.
async fn sweep(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        delete from node_departures d
        where cluster_id = $1 and at < now() - make_interval(secs => $2)
            and not exists (
                select from bindings b
                join ledger_targets l on l.target_group_arn = b.target_group_arn and l.target_id = d.instance_id
                where b.cluster_id = $1
            )
        "#,
        cluster.0,
        KEPT_SECONDS,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets the nodes of a cluster that has no binding any more: stated while they are not watched over, they would be
/// old news the next time there is one.
pub(super) async fn forget(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    let forgotten = sqlx::query!(
        r#"
        update clusters set nodes_synced_at = null, nodes_token = nodes_token + 1, unsynced = unsynced - 'Node'
        where id = $1 and nodes_synced_at is not null and not exists (select from services where cluster_id = $1)
        "#,
        cluster.0,
    )
    .execute(&mut *connection)
    .await?;
    if forgotten.rows_affected() > 0 {
        sqlx::query!("delete from nodes where cluster_id = $1", cluster.0)
            .execute(&mut *connection)
            .await?;
        sqlx::query!("delete from node_departures where cluster_id = $1", cluster.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
