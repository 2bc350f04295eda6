//! Registered clusters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    ClusterId, Name, Shard,
    cluster::{Cluster, ClusterSpec, Leaving},
    ownership::Surroundings,
    scope::Scope,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error, Op, Put, Result, Store, audit,
    database::transaction,
    hold, lease,
    row::{self, Row, to_json},
    standing, version, wake,
};

/// A cluster with what is known of its agent's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    pub cluster: Cluster,
    /// The epoch of the newest stream; 0: there was none.
    pub epoch: u64,
    /// Which agent has the newest stream.
    pub instance: Option<String>,
    /// UID of kube-system.
    pub cluster_uid: Option<String>,
    /// When the agent was last heard of.
    pub seen_at: Option<Timestamp>,
    /// When the first complete list of its objects was stored.
    pub sources_synced_at: Option<Timestamp>,
    /// What the agent says it cannot see: kind → reason.
    pub unsynced: BTreeMap<String, String>,
    /// It is on its way out, and what becomes of its targets.
    pub leaving: Option<Leaving>,
    /// What the agent sees of the AWS Load Balancer Controller beside the objects.
    pub surroundings: Surroundings,
    pub cordoned_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// The database's clock when this was read.
    pub now: Timestamp,
}

struct ClusterRow {
    id: Uuid,
    name: String,
    spec: Value,
    version: i64,
    epoch: i64,
    agent_instance: Option<String>,
    cluster_uid: Option<String>,
    seen_at: Option<SqlTimestamp>,
    sources_synced_at: Option<SqlTimestamp>,
    unsynced: Value,
    leaving: Option<String>,
    surroundings: Option<Value>,
    cordoned_at: Option<SqlTimestamp>,
    created_at: SqlTimestamp,
    now: SqlTimestamp,
}

impl TryFrom<ClusterRow> for ClusterState {
    type Error = Error;

    fn try_from(row: ClusterRow) -> Result<Self> {
        let at = Row::new("clusters", &row.name);
        Ok(Self {
            cluster: Cluster {
                id: ClusterId(row.id),
                name: at.text("name", &row.name)?,
                spec: at.json("spec", row.spec)?,
                cordoned: row.cordoned_at.is_some(),
                version: row.version,
            },
            epoch: at.number("epoch", row.epoch)?,
            instance: row.agent_instance,
            cluster_uid: row.cluster_uid,
            seen_at: row.seen_at.map(SqlTimestamp::to_jiff),
            sources_synced_at: row.sources_synced_at.map(SqlTimestamp::to_jiff),
            unsynced: at.json("unsynced", row.unsynced)?,
            leaving: row
                .leaving
                .map(|leaving| at.text("leaving", &leaving))
                .transpose()?,
            surroundings: row
                .surroundings
                .map(|surroundings| at.json("surroundings", surroundings))
                .transpose()?
                .unwrap_or_default(),
            cordoned_at: row.cordoned_at.map(SqlTimestamp::to_jiff),
            created_at: row.created_at.to_jiff(),
            now: row.now.to_jiff(),
        })
    }
}

impl Store {
    /// Registers a cluster or changes it. Its account and region are what everything of it is filed under, and stay.
    pub async fn put_cluster(
        &self,
        actor: &str,
        name: &Name,
        spec: &ClusterSpec,
        expected: Option<i64>,
    ) -> Result<Put<Cluster>> {
        transaction!(self, Op::Declare, |tx| {
            let stored = for_update(tx, name).await?;
            version::check(expected, stored.as_ref().map(|cluster| cluster.version))?;
            let shard = spec.shard();
            match stored {
                None => {
                    lease::ensure_shard(tx, &shard).await?;
                    let cluster = insert(tx, name, spec, &shard).await?;
                    audit::append(tx, actor, "cluster.put", name.as_str(), None, Some(to_json(spec))).await?;
                    Ok(Put::Created(cluster))
                }
                Some(cluster) if cluster.spec == *spec => Ok(Put::Unchanged(cluster)),
                Some(cluster) if cluster.spec.shard() != shard => Err(Error::Constraint(format!(
                    "cluster `{name}` is in {} and cannot move to {shard}: register it by another name",
                    cluster.spec.shard()
                ))),
                Some(mut cluster) => {
                    let before = to_json(&cluster.spec);
                    sqlx::query!(
                        "update clusters set spec = $2::jsonb - 'serve', serve = $2 ->> 'serve', version = version + 1 where id = $1",
                        cluster.id.0,
                        to_json(spec),
                    )
                    .execute(&mut *tx)
                    .await?;
                    cluster.version += 1;
                    if cluster.spec.serve != spec.serve {
                        standing::reconsider(tx, cluster.id, spec.serve).await?;
                    }
                    cluster.spec = spec.clone();
                    audit::append(
                        tx,
                        actor,
                        "cluster.put",
                        name.as_str(),
                        Some(before),
                        Some(to_json(spec)),
                    )
                    .await?;
                    wake::groups_of_cluster(tx, cluster.id).await?;
                    wake::cluster(tx, cluster.id).await?;
                    Ok(Put::Updated(cluster))
                }
            }
        })
        .await
    }

    pub async fn cluster(&self, name: &Name) -> Result<Option<ClusterState>> {
        let query = sqlx::query_as!(
            ClusterRow,
            r#"
            select id, name, spec || jsonb_build_object('serve', serve) as "spec!", version, epoch, agent_instance, cluster_uid,
                seen_at as "seen_at: SqlTimestamp", sources_synced_at as "sources_synced_at: SqlTimestamp", unsynced, leaving,
                cordoned_at as "cordoned_at: SqlTimestamp", surroundings, created_at as "created_at: SqlTimestamp",
                clock_timestamp() as "now!: SqlTimestamp"
            from clusters where name = $1
            "#,
            name.as_str(),
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    pub async fn cluster_by_id(&self, id: ClusterId) -> Result<Option<ClusterState>> {
        let query = sqlx::query_as!(
            ClusterRow,
            r#"
            select id, name, spec || jsonb_build_object('serve', serve) as "spec!", version, epoch, agent_instance, cluster_uid,
                seen_at as "seen_at: SqlTimestamp", sources_synced_at as "sources_synced_at: SqlTimestamp", unsynced, leaving,
                cordoned_at as "cordoned_at: SqlTimestamp", surroundings, created_at as "created_at: SqlTimestamp",
                clock_timestamp() as "now!: SqlTimestamp"
            from clusters where id = $1
            "#,
            id.0,
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// Those of which anything is in `scope`, by name; `after` = the last name of the page before.
    pub async fn clusters(
        &self,
        scope: Option<&Scope>,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<ClusterState>> {
        let within = row::places(scope).map(|(clusters, _)| clusters);
        let query = sqlx::query_as!(
            ClusterRow,
            r#"
            select id, name, spec || jsonb_build_object('serve', serve) as "spec!", version, epoch, agent_instance, cluster_uid,
                seen_at as "seen_at: SqlTimestamp", sources_synced_at as "sources_synced_at: SqlTimestamp", unsynced, leaving,
                cordoned_at as "cordoned_at: SqlTimestamp", surroundings, created_at as "created_at: SqlTimestamp",
                clock_timestamp() as "now!: SqlTimestamp"
            from clusters
            where ($1::text is null or name > $1) and ($3::text[] is null or name = any($3))
            order by name limit $2
            "#,
            after.map(Name::as_str),
            row::limit(limit),
            within.as_deref(),
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    /// Sets a cluster aside, or takes it back. `false`: it was so already.
    pub async fn cordon_cluster(&self, actor: &str, name: &Name, cordon: bool) -> Result<bool> {
        transaction!(self, Op::Declare, |tx| {
            let Some(cluster) = for_update(tx, name).await? else {
                return Err(Error::not_found("cluster", name));
            };
            if cluster.cordoned == cordon {
                return Ok(false);
            }
            sqlx::query!(
                "update clusters set cordoned_at = case when $2 then now() end where id = $1",
                cluster.id.0,
                cordon,
            )
            .execute(&mut *tx)
            .await?;
            let action = if cordon {
                "cluster.cordon"
            } else {
                "cluster.uncordon"
            };
            audit::append(tx, actor, action, name.as_str(), None, None).await?;
            wake::groups_of_cluster(tx, cluster.id).await?;
            Ok(true)
        })
        .await
    }

    /// Takes a cluster away: at once if it has nothing left, else with the last of its bindings, whose targets become
    /// what `leaving` says. From now on its agent is nobody's.
    pub async fn delete_cluster(
        &self,
        actor: &str,
        name: &Name,
        leaving: Option<Leaving>,
        expected: Option<i64>,
    ) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            let Some(cluster) = for_update(tx, name).await? else {
                return Err(Error::not_found("cluster", name));
            };
            version::check(expected, Some(cluster.version))?;
            let left = sqlx::query!(
                r#"
                select count(*) filter (where deleted_at is null) as "active!",
                    count(*) filter (where deleted_at is not null) as "leaving!"
                from bindings where cluster_id = $1
                "#,
                cluster.id.0,
            )
            .fetch_one(&mut *tx)
            .await?;
            let after = match leaving {
                Some(leaving) => {
                    leave(tx, cluster.id, leaving).await?;
                    Some(json!({ "targets": leaving }))
                }
                None if left.active + left.leaving > 0 => {
                    return Err(Error::Constraint(format!(
                        "cluster `{name}` still has {} bindings, and {} deleted ones whose targets are still registered: \
                         say what becomes of their targets, `targets=drain` (deregister them) or `targets=keep` (leave \
                         them in AWS as nobody's), or delete the bindings first",
                        left.active, left.leaving
                    )));
                }
                None => {
                    leave(tx, cluster.id, Leaving::Drain).await?;
                    None
                }
            };
            audit::append(
                tx,
                actor,
                "cluster.delete",
                name.as_str(),
                Some(to_json(&cluster.spec)),
                after,
            )
            .await?;
            forget_left(tx, cluster.id).await?;
            wake::cluster(tx, cluster.id).await
        })
        .await
    }
}

/// Lets go of everything that the cluster has, and of its agent.
async fn leave(connection: &mut PgConnection, cluster: ClusterId, leaving: Leaving) -> Result<()> {
    // A newer epoch than any stream's: nothing more is taken from the agent, which cannot return without a token.
    sqlx::query!(
        "update clusters set leaving = $2, epoch = epoch + 1, version = version + 1 where id = $1",
        cluster.0,
        leaving.to_string(),
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from tokens where cluster_id = $1", cluster.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "delete from bindings where cluster_id = $1 and target_group_arn is null",
        cluster.0
    )
    .execute(&mut *connection)
    .await?;
    // It is meant: the rule on many at once does not apply, and what it held back goes as well.
    sqlx::query!("delete from unbindings where cluster_id = $1", cluster.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        r#"
        update bindings set deleted_at = coalesce(deleted_at, now()), hold_id = null, relinquished = $2,
            -- To drain is said of all that is ours; what LBC acts on is its own.
            standing = case when not $2 and standing in ('notServed', 'unstated') then 'served' else standing end,
            version = version + 1
        where cluster_id = $1
        "#,
        cluster.0,
        leaving == Leaving::Keep,
    )
    .execute(&mut *connection)
    .await?;
    hold::refresh(connection, cluster).await?;
    wake::groups_of_cluster(connection, cluster).await
}

/// Forgets the cluster, with all its facts, if it was on its way out and has no binding left, nor a rule to end.
pub(crate) async fn forget_left(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        delete from clusters c
        where id = $1 and leaving is not null and not exists (select from bindings where cluster_id = c.id)
            and (leaving = 'keep' or not exists (select from ledger_rules where c.id = any(clusters)))
        "#,
        cluster.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn for_update(connection: &mut PgConnection, name: &Name) -> Result<Option<Cluster>> {
    let row = sqlx::query!(
        r#"
        select id, spec || jsonb_build_object('serve', serve) as "spec!", cordoned_at is not null as "cordoned!", version
        from clusters where name = $1 for update
        "#,
        name.as_str()
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let spec = Row::new("clusters", name).json("spec", row.spec)?;
        Ok(Cluster {
            id: ClusterId(row.id),
            name: name.clone(),
            spec,
            cordoned: row.cordoned,
            version: row.version,
        })
    })
    .transpose()
}

async fn insert(
    connection: &mut PgConnection,
    name: &Name,
    spec: &ClusterSpec,
    shard: &Shard,
) -> Result<Cluster> {
    let row = sqlx::query!(
        r#"
        insert into clusters (name, shard, spec, serve) values ($1, $2, $3::jsonb - 'serve', $3 ->> 'serve')
        returning id, version
        "#,
        name.as_str(),
        shard.to_string(),
        to_json(spec),
    )
    .fetch_one(connection)
    .await?;
    Ok(Cluster {
        id: ClusterId(row.id),
        name: name.clone(),
        spec: spec.clone(),
        cordoned: false,
        version: row.version,
    })
}

/// Takes the lock under which everything that a cluster states is written, one transaction after the other.
pub(crate) async fn lock(connection: &mut PgConnection, id: ClusterId) -> Result<()> {
    sqlx::query_scalar!("select id from clusters where id = $1 for no key update", id.0)
        .fetch_optional(connection)
        .await?
        .map(drop)
        .ok_or_else(|| Error::not_found("cluster", id))
}
