//! Gather: all that is stored about one target group, at one moment.
//!
//! One statement, so that it is one moment and one round trip: it stands on the way from an endpoint to AWS.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use model::{
    ClusterId, SecurityGroupId, Shard, TargetGroupArn, TargetId, TargetKey,
    cluster::Cluster,
    condition::Problem,
    drain::Drain,
    fact::{PodRef, ServiceFacts},
    group::{BoundService, GroupSnapshot},
    ledger::Removal,
    node::NodeFacts,
    pause::Pause,
    plan::Hold,
    target_group::TargetGroup,
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Op, Result, Store,
    binding::BindingColumns,
    ledger::TargetRow,
    node::NodesRow,
    opening::OpeningRow,
    row::Row,
    service::{ServiceKey, ServiceRow},
};

/// For how long a released hold is told. The planner decides for how long it counts.
const RELEASES_TOLD_SECONDS: f64 = 24.0 * 60.0 * 60.0;

impl Store {
    /// All that is stored about a group, with the removals of the last `removals_within`.
    #[expect(
        clippy::too_many_lines,
        reason = "it is one statement, so that it is one moment"
    )]
    pub async fn group(
        &self,
        arn: &TargetGroupArn,
        removals_within: SignedDuration,
    ) -> Result<GroupSnapshot> {
        let query = sqlx::query_as!(
            GroupRow,
            r#"
            with bound as (
                select b.*, c.name as cluster_name,
                    c.spec || jsonb_build_object('serve', c.serve) as cluster_spec, c.version as cluster_version,
                    c.cordoned_at is not null as cordoned, c.seen_at, (
                        select json_build_object('by', p.paused_by, 'reason', p.reason, 'since', p.at) from pauses p
                        where num_nonnulls(p.shard, p.cluster_id, p.binding_id) = 0 or p.shard = $2
                            or p.cluster_id = b.cluster_id or p.binding_id = b.id
                        order by num_nonnulls(p.shard, p.cluster_id, p.binding_id), p.at limit 1
                    ) as paused
                from bindings b join clusters c on c.id = b.cluster_id
                where b.target_group_arn = $1
            ), wanted as (
                select distinct cluster_id, namespace, service from bound
            ), opens as (
                select distinct cluster_id, namespace, service from bound where spec -> 'networking' is not null
            ), kind as (
                select coalesce('instance' = any(
                    array_agg(spec ->> 'targetType')
                        || (select facts #>> '{value,targetType}' from observations where target_group_arn = $1)
                ), false) as instance from bound
            )
            select
                to_json(clock_timestamp()) as "now!",
                exists (select from shards where shard = $2 and restored_at is not null) as "restored!",
                (select json_build_object('name', name, 'spec', spec, 'version', version)
                    from target_groups where arn = $1) as declared,
                (select json_agg(json_build_object(
                    'id', id, 'cluster_id', cluster_id, 'namespace', namespace, 'name', name, 'origin', origin,
                    'generation', generation, 'spec', spec, 'problem', problem, 'deleted_at', deleted_at,
                    'hold_id', hold_id, 'relinquished', relinquished, 'version', version, 'standing', standing,
                    'service', service, 'cluster_name', cluster_name, 'cluster_spec', cluster_spec,
                    'cluster_version', cluster_version, 'cordoned', cordoned, 'seen_at', seen_at,
                    'created_at', created_at, 'paused', paused, 'unopened', unopened,
                    'openings', (
                        select json_object_agg(o.security_group_id, to_json(o)) from openings o
                        where o.binding_id = bound.id
                    )
                ) order by id) from bound) as bindings,
                -- Only a group of instances pays for all nodes of its clusters.
                (select json_agg(json_build_object(
                    'cluster_id', c.id, 'known', c.nodes_synced_at is not null and kind.instance,
                    'unsynced', c.unsynced ->> 'Node',
                    'nodes', (
                        select json_agg(json_build_object('body', n.body, 'confirmed_at', n.confirmed_at) order by n.name)
                        from nodes n where n.cluster_id = c.id and kind.instance
                    ),
                    -- A pod's interface is found by its node where its address is of a prefix.
                    'hosts_known', c.nodes_synced_at is not null and not kind.instance
                        and c.id in (select cluster_id from opens),
                    'hosts', (
                        select json_object_agg(n.name, n.instance_id) from nodes n
                        where n.cluster_id = c.id and not kind.instance and n.name in (
                            select endpoint ->> 'node'
                            from opens o
                            join endpoint_slices e on e.cluster_id = o.cluster_id and e.namespace = o.namespace
                                and e.service = o.service
                            cross join jsonb_array_elements(e.body -> 'endpoints') as endpoint
                            where o.cluster_id = c.id
                        )
                    ),
                    'unknown', (
                        select json_agg(n.name) from nodes n where n.cluster_id = c.id and n.ready = 'unknown'
                    ),
                    'down', (
                        select json_agg(n.name) from nodes n where n.cluster_id = c.id and n.ready = 'false'
                    ),
                    'departures', (
                        select json_agg(to_jsonb(d) order by d.name, d.uid)
                        from node_departures d where d.cluster_id = c.id and kind.instance
                    )
                )) from clusters c, kind where c.id in (select cluster_id from wanted)) as nodes,
                (select json_agg(json_build_object(
                    'cluster_id', s.cluster_id, 'namespace', s.namespace, 'service', s.name, 'known', s.known,
                    'body', s.body, 'slices_known', s.slices_known, 'confirmed_at', s.confirmed_at,
                    'pods_known', s.pods_known, 'shortest_grace', s.shortest_grace,
                    'pods', (
                        select json_agg(json_build_object('body', p.body, 'since', p.since) order by p.name) from pods p
                        where p.cluster_id = s.cluster_id and p.namespace = s.namespace and p.service = s.name
                    ),
                    'slices', (
                        select json_agg(e.body order by e.name) from endpoint_slices e
                        where e.cluster_id = s.cluster_id and e.namespace = s.namespace and e.service = s.name
                    ),
                    'departures', (
                        select json_agg(json_build_object(
                            'address', d.address, 'pod', d.pod, 'evidence', d.evidence, 'at', d.at
                        ) order by d.address, d.pod_uid)
                        from departures d
                        where d.cluster_id = s.cluster_id and d.namespace = s.namespace and d.service = s.name
                    )
                )) from services s
                join wanted w on w.cluster_id = s.cluster_id and w.namespace = s.namespace and w.service = s.name
                ) as services,
                (select json_agg(to_jsonb(l) order by target_id, port) from ledger_targets l
                    where target_group_arn = $1) as ledger,
                (select json_agg(json_build_object(
                    'target_id', target_id, 'port', port, 'at', at, 'ground', ground, 'live_before', live_before
                ) order by at) from ledger_removals
                    where target_group_arn = $1 and at > now() - make_interval(secs => $3)) as removals,
                (select json_agg(json_build_object('id', id, 'body', body, 'released_at', released_at)) from holds
                    where target_group_arn = $1 and released_at > now() - make_interval(secs => $4)) as releases,
                (select json_agg(at order by at) from ledger_drifts
                    where target_group_arn = $1
                        and at > coalesce((select max(adopted_at) from bound), '-infinity')) as drifts,
                (select json_agg(to_jsonb(d) order by target_id, port) from drains d
                    where target_group_arn = $1) as drains
            "#,
            arn.to_string(),
            arn.shard().to_string(),
            removals_within.as_secs_f64(),
            RELEASES_TOLD_SECONDS,
        );
        self.read(Op::Gather, query.fetch_one(&self.pool))
            .await?
            .read(arn)
    }

    /// Every group of a shard that there may be something to do for.
    pub async fn groups(&self, shard: &Shard) -> Result<Vec<TargetGroupArn>> {
        let query = sqlx::query_scalar!(
            r#"
            select arn as "arn!" from (
                select arn from target_groups where shard = $1
                union
                select target_group_arn from ledger_targets where shard = $1
                union
                select target_group_arn from bindings where shard = $1
                union
                select target_group_arn from drains where shard = $1
            ) known
            order by arn
            "#,
            shard.to_string(),
        );
        let arns = self.read(Op::Groups, query.fetch_all(&self.pool)).await?;
        arns.iter()
            .map(|arn| Row::new("bindings", arn).text("target_group_arn", arn))
            .collect()
    }
}

struct GroupRow {
    now: Value,
    restored: bool,
    declared: Option<Value>,
    bindings: Option<Value>,
    nodes: Option<Value>,
    services: Option<Value>,
    ledger: Option<Value>,
    removals: Option<Value>,
    releases: Option<Value>,
    drifts: Option<Value>,
    drains: Option<Value>,
}

impl GroupRow {
    fn read(self, arn: &TargetGroupArn) -> Result<GroupSnapshot> {
        let services: Vec<ServiceRow> = Row::new("services", arn).rows(self.services)?;
        let mut facts = BTreeMap::new();
        for service in services {
            let (key, value) = service.read()?;
            facts.insert(key, value);
        }
        let nodes = Row::new("nodes", arn)
            .rows::<NodesRow>(self.nodes)?
            .into_iter()
            .map(|row| (row.cluster_id, Arc::new(row.read())))
            .collect();
        let mut bindings = Vec::new();
        for bound in Row::new("bindings", arn).rows::<BoundRow>(self.bindings)? {
            bindings.push(bound.read(&facts, &nodes)?);
        }
        let mut released = BTreeMap::new();
        for release in Row::new("holds", arn).rows::<ReleaseRow>(self.releases)? {
            for key in release.body.removals {
                let at = released.entry(key).or_insert(release.released_at);
                *at = release.released_at.max(*at);
            }
        }
        let ledger: Vec<TargetRow> = Row::new("ledger_targets", arn).rows(self.ledger)?;
        let drains: Vec<DrainRow> = Row::new("drains", arn).rows(self.drains)?;
        let removals: Vec<RemovalRow> = Row::new("ledger_removals", arn).rows(self.removals)?;
        Ok(GroupSnapshot {
            now: Row::new("now", arn).json("now", self.now)?,
            arn: arn.clone(),
            restored: self.restored,
            declared: self
                .declared
                .map(|declared| {
                    Row::new("target_groups", arn)
                        .json::<DeclaredRow>("spec", declared)?
                        .read()
                })
                .transpose()?,
            bindings,
            ledger: ledger.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
            removals: removals.into_iter().map(RemovalRow::read).collect(),
            released,
            drifts: Row::new("ledger_drifts", arn).rows(self.drifts)?,
            drains: drains.into_iter().map(DrainRow::read).collect(),
        })
    }
}

#[derive(Deserialize)]
struct DeclaredRow {
    name: String,
    spec: Value,
    version: i64,
}

impl DeclaredRow {
    fn read(self) -> Result<TargetGroup> {
        let at = Row::new("target_groups", &self.name);
        Ok(TargetGroup {
            name: at.text("name", &self.name)?,
            spec: at.json("spec", self.spec)?,
            version: self.version,
        })
    }
}

#[derive(Deserialize)]
struct BoundRow {
    id: Uuid,
    cluster_id: Uuid,
    namespace: String,
    name: String,
    origin: String,
    generation: i64,
    spec: Option<Value>,
    problem: Option<Value>,
    deleted_at: Option<Timestamp>,
    hold_id: Option<Uuid>,
    relinquished: bool,
    version: i64,
    standing: String,
    service: Option<String>,
    cluster_name: String,
    cluster_spec: Value,
    cluster_version: i64,
    cordoned: bool,
    created_at: Timestamp,
    seen_at: Option<Timestamp>,
    paused: Option<Pause>,
    unopened: Option<Problem>,
    openings: Option<BTreeMap<SecurityGroupId, OpeningRow>>,
}

impl BoundRow {
    fn read(
        self,
        facts: &BTreeMap<ServiceKey, ServiceFacts>,
        nodes: &BTreeMap<Uuid, Arc<NodeFacts>>,
    ) -> Result<BoundService> {
        let at = Row::new("clusters", &self.cluster_name);
        let cluster = Cluster {
            id: ClusterId(self.cluster_id),
            name: at.text("name", &self.cluster_name)?,
            spec: at.json("spec", self.cluster_spec)?,
            cordoned: self.cordoned,
            version: self.cluster_version,
        };
        let key = (
            self.cluster_id,
            self.namespace.clone(),
            self.service.unwrap_or_default(),
        );
        let nodes = nodes.get(&self.cluster_id).cloned().unwrap_or_default();
        let binding = BindingColumns {
            id: self.id,
            cluster_id: self.cluster_id,
            namespace: self.namespace,
            name: self.name,
            origin: self.origin,
            generation: self.generation,
            spec: self.spec,
            problem: self.problem,
            deleted_at: self.deleted_at,
            hold_id: self.hold_id,
            relinquished: self.relinquished,
            version: self.version,
            standing: self.standing,
        };
        Ok(BoundService {
            binding: binding.try_into()?,
            bound_since: self.created_at,
            cluster,
            last_seen: self.seen_at,
            paused: self.paused,
            facts: facts.get(&key).cloned().unwrap_or_default(),
            nodes,
            unopened: self.unopened,
            openings: self
                .openings
                .unwrap_or_default()
                .into_iter()
                .map(|(group, row)| (group, row.into()))
                .collect(),
        })
    }
}

#[derive(Deserialize)]
struct RemovalRow {
    target_id: TargetId,
    port: u16,
    at: Timestamp,
    ground: model::ledger::Ground,
    live_before: u32,
}

impl RemovalRow {
    fn read(self) -> Removal {
        let Self {
            target_id,
            port,
            at,
            ground,
            live_before,
        } = self;
        Removal {
            key: TargetKey { id: target_id, port },
            at,
            ground,
            live_before,
        }
    }
}

#[derive(Deserialize)]
struct DrainRow {
    target_id: TargetId,
    port: u16,
    pod: PodRef,
    since: Timestamp,
}

impl DrainRow {
    fn read(self) -> Drain {
        let Self {
            target_id: id,
            port,
            pod,
            since,
        } = self;
        Drain {
            key: TargetKey { id, port },
            pod,
            since,
        }
    }
}

#[derive(Deserialize)]
struct ReleaseRow {
    body: Hold,
    released_at: Timestamp,
}
