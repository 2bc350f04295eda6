//! What bindings need open in which security group: computed by the writer of the target group, read by the writer of
//! the security group, which answers with what became of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, ClusterId, SecurityGroupId, Shard, TargetGroupArn,
    cluster::Cluster,
    fact::ObjectName,
    network::{BoundOpening, Opening, Openings, Permission, SecurityGroupSnapshot, Standing},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    ledger::RuleRow,
    row::{Row, to_json},
    wake,
};

/// A row of `openings`, as a group's snapshot has it.
#[derive(Deserialize)]
pub(crate) struct OpeningRow {
    permissions: BTreeSet<Permission>,
    changed_at: Timestamp,
    standing: Option<Standing>,
}

impl From<OpeningRow> for Opening {
    fn from(row: OpeningRow) -> Self {
        let OpeningRow {
            permissions,
            changed_at,
            standing,
        } = row;
        Self {
            permissions,
            changed_at,
            standing,
        }
    }
}

impl Store {
    /// Stores what a binding of the group needs open in security groups of `shard`, and wakes the writers of those for
    /// which that is news.
    pub async fn write_openings(
        &self,
        fence: &Fence,
        arn: &TargetGroupArn,
        binding: BindingId,
        shard: &Shard,
        openings: &Openings,
    ) -> Result<bool> {
        let rows: Value = openings
            .iter()
            .map(|(group, permissions)| json!({ "security_group_id": group, "permissions": permissions }))
            .collect();
        transaction!(self, Op::WriteOpenings, |tx| {
            lease::check_group(tx, fence, arn).await?;
            let changed = sqlx::query!(
                r#"
                with new as (
                    select * from jsonb_to_recordset($3) as new (security_group_id text, permissions jsonb)
                ), gone as (
                    delete from openings
                    where binding_id = $1 and security_group_id not in (select security_group_id from new)
                    returning shard, security_group_id
                ), written as (
                    insert into openings as old (binding_id, security_group_id, shard, permissions)
                    select b.id, new.security_group_id, $2, new.permissions from new join bindings b on b.id = $1
                    on conflict (binding_id, security_group_id) do update
                    -- What was refused is asked for anew.
                    set permissions = excluded.permissions, changed_at = now(), standing = old.standing - 'problem'
                    where old.permissions is distinct from excluded.permissions
                    returning shard, security_group_id
                )
                select shard as "shard!", security_group_id as "security_group_id!" from gone
                union select shard, security_group_id from written
                order by 1, 2
                "#,
                binding.0,
                shard.to_string(),
                rows.clone(),
            )
            .fetch_all(&mut *tx)
            .await?;
            wake::security_groups(tx, changed.iter().map(|row| (&*row.shard, &*row.security_group_id))).await?;
            Ok(!changed.is_empty())
        })
        .await
    }

    /// All that is stored about a security group.
    pub async fn security_group(
        &self,
        shard: &Shard,
        group: &SecurityGroupId,
    ) -> Result<SecurityGroupSnapshot> {
        let query = sqlx::query!(
            r#"
            with asked as (
                select o.binding_id, b.namespace, b.name, b.cluster_id, o.permissions
                from openings o join bindings b on b.id = o.binding_id
                where o.shard = $1 and o.security_group_id = $2
            ), ours as (
                select * from ledger_rules where shard = $1 and security_group_id = $2
            ), concerned as (
                select cluster_id as id from asked union select unnest(clusters) from ours
            )
            select
                to_json(clock_timestamp()) as "now!",
                exists (select from shards where shard = $1 and restored_at is not null) as "restored!",
                (select id from installation) as "installation!",
                (select json_agg(to_json(asked) order by binding_id) from asked) as openings,
                (select json_agg(json_build_object('id', c.id, 'name', c.name, 'spec', c.spec, 'version', c.version,
                        'cordoned', c.cordoned_at is not null))
                    from clusters c join concerned on concerned.id = c.id
                    -- The rules of one that leaves and keeps its targets are nobody's to end.
                    where c.leaving is distinct from 'keep') as clusters,
                (select json_agg(to_jsonb(ours) order by permission) from ours) as ledger
            "#,
            shard.to_string(),
            group.as_str(),
        );
        let row = self.read(Op::Gather, query.fetch_one(&self.pool)).await?;
        let openings: Vec<AskedRow> = aggregate("openings", group, row.openings)?;
        let mut clusters = BTreeMap::new();
        for cluster in aggregate::<ClusterRow>("clusters", group, row.clusters)? {
            let cluster = cluster.read()?;
            clusters.insert(cluster.id, cluster);
        }
        let ledger: Vec<RuleRow> = aggregate("ledger_rules", group, row.ledger)?;
        Ok(SecurityGroupSnapshot {
            now: Row::new("now", group).json("now", row.now)?,
            group: group.clone(),
            restored: row.restored,
            installation: row.installation,
            openings: openings.into_iter().map(Into::into).collect(),
            clusters,
            ledger: ledger.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        })
    }

    /// Every security group of a shard that there may be something to do for.
    pub async fn security_groups(&self, shard: &Shard) -> Result<Vec<SecurityGroupId>> {
        let query = sqlx::query_scalar!(
            r#"
            select security_group_id as "id!" from (
                select security_group_id from openings where shard = $1
                union
                select security_group_id from ledger_rules where shard = $1
            ) known
            order by 1
            "#,
            shard.to_string(),
        );
        let ids = self.read(Op::Groups, query.fetch_all(&self.pool)).await?;
        ids.iter()
            .map(|id| Row::new("openings", id).text("security_group_id", id))
            .collect()
    }

    /// Stores what became of openings, and wakes the target groups that wait for it. Answers how many changed.
    pub async fn report_openings(
        &self,
        fence: &Fence,
        group: &SecurityGroupId,
        standings: &BTreeMap<BindingId, Standing>,
    ) -> Result<usize> {
        if standings.is_empty() {
            return Ok(0);
        }
        let rows: Value = standings
            .iter()
            .map(|(binding, standing)| json!({ "binding_id": binding, "standing": to_json(standing) }))
            .collect();
        transaction!(self, Op::ReportOpenings, |tx| {
            lease::check(tx, fence).await?;
            let arns = sqlx::query_scalar!(
                r#"
                update openings o set standing = new.standing
                from jsonb_to_recordset($3) as new (binding_id uuid, standing jsonb), bindings b
                where o.shard = $1 and o.security_group_id = $2 and o.binding_id = new.binding_id
                    and b.id = o.binding_id and o.standing is distinct from new.standing
                returning b.target_group_arn
                "#,
                fence.shard.to_string(),
                group.as_str(),
                rows.clone(),
            )
            .fetch_all(&mut *tx)
            .await?;
            let changed = arns.len();
            wake::groups(tx, arns.into_iter().flatten()).await?;
            Ok(changed)
        })
        .await
    }
}

fn aggregate<T: DeserializeOwned>(
    table: &'static str,
    group: &SecurityGroupId,
    rows: Option<Value>,
) -> Result<Vec<T>> {
    rows.map_or_else(
        || Ok(Vec::new()),
        |rows| Row::new(table, group).json("body", rows),
    )
}

#[derive(Deserialize)]
struct AskedRow {
    binding_id: Uuid,
    namespace: String,
    name: String,
    cluster_id: Uuid,
    permissions: BTreeSet<Permission>,
}

impl From<AskedRow> for BoundOpening {
    fn from(row: AskedRow) -> Self {
        let AskedRow {
            binding_id,
            namespace,
            name,
            cluster_id,
            permissions,
        } = row;
        Self {
            binding: BindingId(binding_id),
            object: ObjectName::new(namespace, name),
            cluster: ClusterId(cluster_id),
            permissions,
        }
    }
}

#[derive(Deserialize)]
struct ClusterRow {
    id: Uuid,
    name: String,
    spec: Value,
    version: i64,
    cordoned: bool,
}

impl ClusterRow {
    fn read(self) -> Result<Cluster> {
        let at = Row::new("clusters", &self.name);
        Ok(Cluster {
            id: ClusterId(self.id),
            name: at.text("name", &self.name)?,
            spec: at.json("spec", self.spec)?,
            version: self.version,
            cordoned: self.cordoned,
        })
    }
}
