//! Pauses: where nothing may be written to AWS. A write is stopped where it becomes durable, in the transaction of its
//! intent, so that no replica needs to have heard of the pause.

use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    BindingId, ClusterId, Name, TargetGroupArn, TargetKey,
    fact::ObjectName,
    managed::{Definition, GroupStep},
    network::Permission,
    pause::{Pause, Scope},
    plan::Step,
    rule_plan::RuleStep,
};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store, audit,
    database::transaction,
    lease::Fence,
    row::{Row, to_json},
    wake,
};

/// A pause, with the names of what it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPause {
    pub scope: Scope,
    /// Of a cluster or a binding.
    pub cluster: Option<Name>,
    pub binding: Option<ObjectName>,
    pub pause: Pause,
}

impl Store {
    /// All pauses, the widest first.
    pub async fn pauses(&self) -> Result<Vec<StoredPause>> {
        let query = sqlx::query!(
            r#"
            select p.id, p.shard, p.cluster_id, p.binding_id, p.paused_by, p.reason, p.at as "at: SqlTimestamp",
                c.name as "cluster?", b.namespace as "namespace?", b.name as "name?"
            from pauses p
            left join bindings b on b.id = p.binding_id
            left join clusters c on c.id = coalesce(p.cluster_id, b.cluster_id)
            order by num_nonnulls(p.shard, p.cluster_id, p.binding_id), p.shard nulls last, c.name, b.namespace, b.name
            "#
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("pauses", &row.id);
                Ok(StoredPause {
                    scope: scope(&at, row.shard, row.cluster_id, row.binding_id)?,
                    cluster: row.cluster.map(|name| at.text("cluster", &name)).transpose()?,
                    binding: row
                        .namespace
                        .zip(row.name)
                        .map(|(namespace, name)| ObjectName { namespace, name }),
                    pause: Pause {
                        by: row.paused_by,
                        reason: row.reason,
                        since: row.at.to_jiff(),
                    },
                })
            })
            .collect()
    }

    /// Stops writes. One that was paused before keeps its time and takes the new reason.
    pub async fn pause(&self, actor: &str, scope: &Scope, object: &str, reason: &str) -> Result<()> {
        let (shard, cluster, binding) = columns(scope);
        transaction!(self, Op::Pause, |tx| {
            let written = sqlx::query!(
                r#"
                insert into pauses (shard, cluster_id, binding_id, paused_by, reason) values ($1, $2, $3, $4, $5)
                on conflict (shard, cluster_id, binding_id) do update set paused_by = $4, reason = $5
                where (pauses.paused_by, pauses.reason) is distinct from ($4, $5)
                "#,
                shard.as_deref(),
                cluster,
                binding,
                actor,
                reason,
            )
            .execute(&mut *tx)
            .await?;
            if written.rows_affected() == 0 {
                return Ok(());
            }
            let after = Some(json!({ "reason": reason }));
            audit::append(tx, actor, "pause.set", object, None, after).await?;
            wake_scope(tx, scope).await
        })
        .await
    }

    /// Lets writes go on; what is not paused stays so.
    pub async fn resume(&self, actor: &str, scope: &Scope, object: &str) -> Result<()> {
        let (shard, cluster, binding) = columns(scope);
        transaction!(self, Op::Pause, |tx| {
            let ended = sqlx::query!(
                r#"
                delete from pauses
                where shard is not distinct from $1 and cluster_id is not distinct from $2
                    and binding_id is not distinct from $3
                returning paused_by, reason
                "#,
                shard.as_deref(),
                cluster,
                binding,
            )
            .fetch_optional(&mut *tx)
            .await?;
            let Some(ended) = ended else { return Ok(()) };
            let before = Some(json!({ "pausedBy": ended.paused_by, "reason": ended.reason }));
            audit::append(tx, actor, "pause.end", object, before, None).await?;
            wake_scope(tx, scope).await
        })
        .await
    }
}

/// A scope as `pauses` has it.
pub(crate) fn scope(
    at: &Row<'_>,
    shard: Option<String>,
    cluster: Option<Uuid>,
    binding: Option<Uuid>,
) -> Result<Scope> {
    Ok(match (shard, cluster, binding) {
        (Some(shard), ..) => Scope::Shard(at.text("shard", &shard)?),
        (_, Some(cluster), _) => Scope::Cluster(ClusterId(cluster)),
        (_, _, Some(binding)) => Scope::Binding(BindingId(binding)),
        (None, None, None) => Scope::Installation,
    })
}

fn columns(scope: &Scope) -> (Option<String>, Option<Uuid>, Option<Uuid>) {
    match scope {
        Scope::Installation => (None, None, None),
        Scope::Shard(shard) => (Some(shard.to_string()), None, None),
        Scope::Cluster(cluster) => (None, Some(cluster.0), None),
        Scope::Binding(binding) => (None, None, Some(binding.0)),
    }
}

async fn wake_scope(connection: &mut PgConnection, scope: &Scope) -> Result<()> {
    match scope {
        Scope::Installation => {
            let shards = sqlx::query_scalar!("select shard from shards")
                .fetch_all(&mut *connection)
                .await?;
            for shard in shards {
                wake::shard(connection, &shard).await?;
            }
            Ok(())
        }
        Scope::Shard(shard) => wake::shard(connection, &shard.to_string()).await,
        Scope::Cluster(cluster) => {
            wake::groups_of_cluster(connection, *cluster).await?;
            wake::security_groups_of(connection, Some(*cluster), None).await
        }
        Scope::Binding(binding) => {
            wake::security_groups_of(connection, None, Some(*binding)).await?;
            let arn = sqlx::query_scalar!("select target_group_arn from bindings where id = $1", binding.0)
                .fetch_optional(&mut *connection)
                .await?;
            wake::groups(connection, arn.flatten()).await
        }
    }
}

/// Refuses an intent that a pause forbids: the plan was made before it.
pub(crate) async fn check(
    connection: &mut PgConnection,
    fence: &Fence,
    arn: &TargetGroupArn,
    steps: &[Step],
) -> Result<()> {
    if !steps.iter().any(Step::writes_aws) {
        return Ok(());
    }
    let (mut bindings, mut removals): (Vec<Uuid>, Vec<&TargetKey>) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Register { targets } => {
                let of = targets.iter().flat_map(|addition| &addition.bindings);
                bindings.extend(of.map(|binding| binding.0));
            }
            Step::Deregister { targets } => removals.extend(targets.iter().map(|gone| &gone.target.key)),
            Step::Claim { .. } | Step::Forget { .. } | Step::Unbind { .. } => {}
        }
    }
    let paused = sqlx::query_scalar!(
        r#"
        with concerned as (
            select unnest($2::uuid[]) as binding
            union
            select unnest(l.bindings) from ledger_targets l
            join jsonb_to_recordset($4) as gone (id text, port integer)
                on gone.id = l.target_id and gone.port = l.port
            where l.target_group_arn = $3
        )
        select exists (
            select from pauses p
            where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = $1
                or p.binding_id in (select binding from concerned)
                or p.cluster_id in (select cluster_id from bindings where id in (select binding from concerned))
        ) as "paused!"
        "#,
        fence.shard.to_string(),
        &bindings,
        arn.to_string(),
        to_json(&removals),
    )
    .fetch_one(connection)
    .await?;
    if paused {
        return Err(Error::Paused);
    }
    Ok(())
}

/// The same for rules of a security group: those that are made for what is paused, and the end of those that serve it, or
/// served it last.
pub(crate) async fn check_rules(
    connection: &mut PgConnection,
    fence: &Fence,
    group: &str,
    steps: &[RuleStep],
) -> Result<()> {
    if !steps.iter().any(RuleStep::writes_aws) {
        return Ok(());
    }
    let (mut clusters, mut bindings) = (Vec::new(), Vec::new());
    let mut revoked: Vec<&Permission> = Vec::new();
    for step in steps {
        match step {
            RuleStep::Authorize { rules } => {
                for rule in rules {
                    clusters.extend(rule.clusters.iter().map(|cluster| cluster.0));
                    bindings.extend(rule.bindings.iter().map(|binding| binding.0));
                }
            }
            RuleStep::Revoke { rules } => revoked.extend(rules.iter().map(|rule| &rule.permission)),
            RuleStep::Forget { .. }
            | RuleStep::Confirm { .. }
            | RuleStep::Share { .. }
            | RuleStep::Relinquish { .. } => {}
        }
    }
    let paused = sqlx::query_scalar!(
        r#"
        with ended as (
            select clusters, bindings from ledger_rules
            where security_group_id = $2 and permission in (select jsonb_array_elements($5))
        )
        select exists (
            select from pauses p
            where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = $1
                or p.cluster_id = any($3) or p.binding_id = any($4)
                or exists (
                    select from ended
                    where p.cluster_id = any(ended.clusters) or p.binding_id = any(ended.bindings)
                        -- Whom it served was not written down: anybody of the group.
                        or ended.bindings is null
                            and p.binding_id in (select o.binding_id from openings o where o.security_group_id = $2)
                )
        ) as "paused!"
        "#,
        fence.shard.to_string(),
        group,
        &clusters,
        &bindings,
        to_json(&revoked),
    )
    .fetch_one(connection)
    .await?;
    if paused {
        return Err(Error::Paused);
    }
    Ok(())
}

/// The same for a managed group: a pause of a cluster that may use it covers it.
pub(crate) async fn check_group(
    connection: &mut PgConnection,
    fence: &Fence,
    definition: &Definition,
    step: &GroupStep,
) -> Result<()> {
    if !step.writes_aws() {
        return Ok(());
    }
    let clusters: Vec<_> = definition
        .spec
        .admitted_clusters()
        .map(ToString::to_string)
        .collect();
    let paused = sqlx::query_scalar!(
        r#"
        select exists (
            select from pauses p left join clusters c on c.id = p.cluster_id
            where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = $1 or c.name = any($2)
        ) as "paused!"
        "#,
        fence.shard.to_string(),
        &clusters,
    )
    .fetch_one(connection)
    .await?;
    if paused {
        return Err(Error::Paused);
    }
    Ok(())
}
