//! A security group as it is stored: all that a plan of its rules is made from but AWS's own words, and what its writer
//! last left to do.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BindingId, ClusterId, SecurityGroupId, Shard,
    cluster::Cluster,
    fact::ObjectName,
    network::{BoundOpening, LedgerRule, Permission, SecurityGroupSnapshot, Standing},
    ownership,
    pause::{Pause, Scope},
    rule_plan::RulePlan,
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    ledger::RuleRow,
    pause,
    row::{self, Row, to_json},
};

/// A security group, for people: who needs what in it, which rules are ours, and what is left to do.
#[derive(Clone, Debug)]
pub struct SecurityGroupState {
    pub id: SecurityGroupId,
    pub shard: Shard,
    pub openings: Vec<AskedOpening>,
    pub rules: Vec<LedgerRule>,
    /// As of the last pass; `None`: there was none yet.
    pub outlook: Option<RulePlan>,
}

/// What a binding needs open in a security group, and what became of that.
#[derive(Clone, Debug, Deserialize)]
pub struct AskedOpening {
    pub binding: Uuid,
    pub cluster: String,
    pub namespace: String,
    pub name: String,
    pub permissions: BTreeSet<Permission>,
    pub standing: Option<Standing>,
}

struct StateRow {
    id: String,
    shard: String,
    openings: Option<Value>,
    rules: Option<Value>,
    outlook: Option<Value>,
}

impl TryFrom<StateRow> for SecurityGroupState {
    type Error = Error;

    fn try_from(row: StateRow) -> Result<Self> {
        let at = Row::new("security_groups", &row.id);
        let id: SecurityGroupId = at.text("id", &row.id)?;
        let rules: Vec<RuleRow> = Row::new("ledger_rules", &id).rows(row.rules)?;
        Ok(Self {
            shard: at.text("shard", &row.shard)?,
            openings: Row::new("openings", &id).rows(row.openings)?,
            rules: rules.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            outlook: row.outlook.map(|body| at.json("outlook", body)).transpose()?,
            id,
        })
    }
}

impl Store {
    /// Security groups in which anything of ours is or is to be, by id; `after` = the last id of the page before.
    pub async fn security_group_states(
        &self,
        after: Option<&SecurityGroupId>,
        limit: u32,
    ) -> Result<Vec<SecurityGroupState>> {
        self.read_states(None, after, limit).await
    }

    pub async fn security_group_state(&self, id: &SecurityGroupId) -> Result<Option<SecurityGroupState>> {
        Ok(self.read_states(Some(id), None, 1).await?.pop())
    }

    async fn read_states(
        &self,
        id: Option<&SecurityGroupId>,
        after: Option<&SecurityGroupId>,
        limit: u32,
    ) -> Result<Vec<SecurityGroupState>> {
        let query = sqlx::query_as!(
            StateRow,
            r#"
            with known as (
                select shard, security_group_id as id from openings
                union select shard, security_group_id from ledger_rules
            ), page as (
                select * from known
                where ($1::text is null or id = $1) and ($2::text is null or id > $2) order by id limit $3
            )
            select page.id as "id!", page.shard as "shard!",
                (select json_agg(json_build_object('binding', b.id, 'cluster', c.name, 'namespace', b.namespace,
                        'name', b.name, 'permissions', o.permissions, 'standing', o.standing)
                        order by c.name, b.namespace, b.name)
                    from openings o join bindings b on b.id = o.binding_id join clusters c on c.id = b.cluster_id
                    where o.security_group_id = page.id) as openings,
                (select json_agg(to_jsonb(l) order by l.permission)
                    from ledger_rules l where l.security_group_id = page.id) as rules,
                (select body from rule_outlooks o where o.security_group_id = page.id) as outlook
            from page order by page.id
            "#,
            id.map(SecurityGroupId::as_str),
            after.map(SecurityGroupId::as_str),
            row::limit(limit),
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
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
                select o.binding_id, b.namespace, b.name, b.cluster_id, b.standing, o.permissions,
                    b.deleted_at is not null and b.hold_id is null as deleted, b.relinquished
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
                (select json_agg(json_build_object('shard', p.shard, 'cluster', p.cluster_id, 'binding', p.binding_id,
                        'pause', json_build_object('by', p.paused_by, 'reason', p.reason, 'since', p.at))
                        order by num_nonnulls(p.shard, p.cluster_id, p.binding_id), p.at)
                    from pauses p
                    where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = $1
                        or p.cluster_id in (select id from concerned)
                        or p.binding_id in (select binding_id from asked union select unnest(bindings) from ours)
                ) as pauses,
                (select json_agg(to_jsonb(ours) order by permission) from ours) as ledger
            "#,
            shard.to_string(),
            group.as_str(),
        );
        let row = self.read(Op::Gather, query.fetch_one(&self.pool)).await?;
        let openings: Vec<AskedRow> = Row::new("openings", group).rows(row.openings)?;
        let pauses: Vec<PauseRow> = Row::new("pauses", group).rows(row.pauses)?;
        let mut clusters = BTreeMap::new();
        for cluster in Row::new("clusters", group).rows::<ClusterRow>(row.clusters)? {
            let cluster = cluster.read()?;
            clusters.insert(cluster.id, cluster);
        }
        let ledger: Vec<RuleRow> = Row::new("ledger_rules", group).rows(row.ledger)?;
        Ok(SecurityGroupSnapshot {
            now: Row::new("now", group).json("now", row.now)?,
            group: group.clone(),
            restored: row.restored,
            installation: row.installation,
            openings: openings.into_iter().map(AskedRow::read).collect::<Result<_>>()?,
            pauses: pauses
                .into_iter()
                .map(|row| row.read(group))
                .collect::<Result<_>>()?,
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

    /// Stores what the last pass over a security group left to do and holds back; `None`: nobody is interested any more.
    pub async fn write_outlook(
        &self,
        fence: &Fence,
        group: &SecurityGroupId,
        plan: Option<&RulePlan>,
    ) -> Result<()> {
        let body = plan.map(to_json);
        transaction!(self, Op::WriteOutlook, |tx| {
            lease::check(tx, fence).await?;
            let Some(body) = &body else {
                sqlx::query!(
                    "delete from rule_outlooks where security_group_id = $1",
                    group.as_str()
                )
                .execute(&mut *tx)
                .await?;
                return Ok(());
            };
            sqlx::query!(
                r#"
                insert into rule_outlooks as old (security_group_id, shard, body) values ($1, $2, $3)
                on conflict (security_group_id) do update set shard = $2, body = $3, changed_at = now()
                where (old.shard, old.body) is distinct from ($2, $3)
                "#,
                group.as_str(),
                fence.shard.to_string(),
                body,
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}

#[derive(Deserialize)]
struct AskedRow {
    binding_id: Uuid,
    namespace: String,
    name: String,
    cluster_id: Uuid,
    standing: String,
    deleted: bool,
    relinquished: bool,
    permissions: BTreeSet<Permission>,
}

impl AskedRow {
    fn read(self) -> Result<BoundOpening> {
        let Self {
            binding_id,
            namespace,
            name,
            cluster_id,
            standing,
            deleted,
            relinquished,
            permissions,
        } = self;
        let standing: ownership::Standing = Row::new("bindings", &binding_id).word("standing", &standing)?;
        Ok(BoundOpening {
            binding: BindingId(binding_id),
            object: ObjectName::new(namespace, name),
            cluster: ClusterId(cluster_id),
            standing,
            relinquished: deleted && (relinquished || !standing.acts()),
            permissions,
        })
    }
}

#[derive(Deserialize)]
struct PauseRow {
    shard: Option<String>,
    cluster: Option<Uuid>,
    binding: Option<Uuid>,
    pause: Pause,
}

impl PauseRow {
    fn read(self, group: &SecurityGroupId) -> Result<(Scope, Pause)> {
        let at = Row::new("pauses", group);
        Ok((
            pause::scope(&at, self.shard, self.cluster, self.binding)?,
            self.pause,
        ))
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
