//! What the service has to say to a cluster: which services it wants to know about, what is to be read again, and what is
//! to be written back.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    BindingId, ClusterId,
    condition::BindingStatus,
    fact::{ObjectName, PodRef},
    node::NodeRef,
    plan::RelistRequest,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Op, Result, Store,
    database::transaction,
    row::{Row, limit},
    wake,
};

/// A service that bindings refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    pub service: ObjectName,
    /// Another token than before for the same service: its facts were forgotten in between, and an agent that has been
    /// subscribed to it all the time must be asked to state them again.
    pub token: i64,
}

/// What a cluster is asked to state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    pub services: Vec<Subscription>,
    /// The token of the nodes, as that of a service. `None`: they are not wanted, for there is no binding.
    pub nodes: Option<i64>,
}

/// A consistent read that a plan waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relist {
    pub id: u64,
    pub service: ObjectName,
    pub pods: Vec<PodRef>,
    pub nodes: Vec<NodeRef>,
    pub requested_at: Timestamp,
}

/// A status to write into its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBack {
    /// Rises; the next question is for what is above the highest seen.
    pub version: i64,
    pub binding: BindingId,
    pub object: ObjectName,
    pub uid: Uuid,
    pub status: BindingStatus,
    /// LBC's marks are to be removed from the object.
    pub take_over: bool,
}

/// Differs from an earlier one of the same cluster whenever there may be something new to say to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingMark {
    /// `None`: the cluster was deleted.
    epoch: Option<i64>,
    statuses: i64,
    /// Tokens only rise, so that no change of the set leaves both their number and the highest.
    services: (i64, i64),
    /// The newest relist.
    relist: i64,
}

impl Store {
    /// The marks of these clusters in one read, for whoever polls for many sessions.
    pub async fn outgoing_marks(&self, clusters: &[ClusterId]) -> Result<HashMap<ClusterId, OutgoingMark>> {
        let ids: Vec<_> = clusters.iter().map(|cluster| cluster.0).collect();
        let query = sqlx::query!(
            r#"
            select asked.id as "id!", c.epoch as "epoch?", coalesce(v.version, 0) as "statuses!", s.count as "services!",
                s.newest as "newest_service!", r.newest as "relist!"
            from unnest($1::uuid[]) as asked (id)
            left join clusters c on c.id = asked.id
            left join status_versions v on v.cluster_id = asked.id
            cross join lateral (
                select count(*) as count, coalesce(max(token), 0) as newest from services where cluster_id = asked.id
            ) s
            cross join lateral (
                select coalesce(max(id), 0) as newest from relists where cluster_id = asked.id
            ) r
            "#,
            &ids,
        );
        let rows = self.read(Op::Outgoing, query.fetch_all(&self.pool)).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let mark = OutgoingMark {
                    epoch: row.epoch,
                    statuses: row.statuses,
                    services: (row.services, row.newest_service),
                    relist: row.relist,
                };
                (ClusterId(row.id), mark)
            })
            .collect())
    }

    /// The services of all bindings, of those that are still letting go of their targets as well.
    pub async fn subscriptions(&self, cluster: ClusterId) -> Result<Subscriptions> {
        let query = sqlx::query!(
            r#"
            select s.namespace, s.name, s.token, c.nodes_token
            from services s join clusters c on c.id = s.cluster_id
            where s.cluster_id = $1 order by s.namespace, s.name
            "#,
            cluster.0,
        );
        let rows = self.read(Op::Outgoing, query.fetch_all(&self.pool)).await?;
        let nodes = rows.first().map(|row| row.nodes_token);
        let services = rows.into_iter().map(|row| Subscription {
            service: ObjectName::new(row.namespace, row.name),
            token: row.token,
        });
        Ok(Subscriptions {
            services: services.collect(),
            nodes,
        })
    }

    /// The reads that were asked for and not yet answered.
    pub async fn relists(&self, cluster: ClusterId) -> Result<Vec<Relist>> {
        let query = sqlx::query!(
            r#"
            select id, namespace, service, pods, nodes, requested_at as "requested_at: SqlTimestamp"
            from relists where cluster_id = $1 order by id
            "#,
            cluster.0,
        );
        let rows = self.read(Op::Outgoing, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("relists", &row.id);
                Ok(Relist {
                    id: at.number("id", row.id)?,
                    service: ObjectName::new(row.namespace, row.service),
                    pods: at.json("pods", row.pods)?,
                    nodes: at.json("nodes", row.nodes)?,
                    requested_at: row.requested_at.to_jiff(),
                })
            })
            .collect()
    }

    /// Statuses of objects above a version, lowest first.
    pub async fn write_backs(
        &self,
        cluster: ClusterId,
        after_version: i64,
        rows: u32,
    ) -> Result<Vec<WriteBack>> {
        let query = sqlx::query!(
            r#"
            select s.version, s.binding_id, s.body, b.namespace, b.name, b.object_uid as "object_uid!",
                b.standing = 'adopting' as "take_over!"
            from statuses s join bindings b on b.id = s.binding_id
            where s.cluster_id = $1 and s.version > $2 and b.origin = 'object' and b.deleted_at is null
            order by s.version limit $3
            "#,
            cluster.0,
            after_version,
            limit(rows),
        );
        let rows = self.read(Op::Outgoing, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                Ok(WriteBack {
                    version: row.version,
                    binding: BindingId(row.binding_id),
                    object: ObjectName::new(row.namespace, row.name),
                    uid: row.object_uid,
                    take_over: row.take_over,
                    status: Row::new("statuses", &row.binding_id).json("body", row.body)?,
                })
            })
            .collect()
    }

    /// Asks clusters for consistent reads. A request that is pending already stays; one for more pods or nodes takes its place
    /// with a new id, so that an answer to the smaller question does not pass for one to the larger.
    pub async fn request_relists(&self, requests: &[RelistRequest]) -> Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = requests
            .iter()
            .map(|request| {
                let RelistRequest {
                    cluster,
                    service,
                    pods,
                    nodes,
                } = request;
                json!({
                    "cluster": cluster,
                    "namespace": service.namespace,
                    "service": service.name,
                    "pods": pods,
                    "nodes": nodes,
                })
            })
            .collect();
        transaction!(self, Op::RequestRelists, |tx| {
            let clusters = sqlx::query_scalar!(
                r#"
                with asked as (
                    insert into relists as r (cluster_id, namespace, service, pods, nodes)
                    select cluster, namespace, service, pods, nodes
                    from (
                        select distinct on (cluster, namespace, service) *
                        from jsonb_to_recordset($1) as new (
                            cluster uuid, namespace text, service text, pods jsonb, nodes jsonb
                        )
                        order by cluster, namespace, service
                    ) new
                    where exists (
                        select from services s
                        where s.cluster_id = new.cluster and s.namespace = new.namespace and s.name = new.service
                    )
                    and not exists (
                        select from relists r
                        where r.cluster_id = new.cluster and r.namespace = new.namespace and r.service = new.service
                            and r.pods @> new.pods and r.nodes @> new.nodes
                    )
                    on conflict (cluster_id, namespace, service) do update
                    set id = excluded.id, requested_at = now(),
                        pods = (
                            select coalesce(jsonb_agg(distinct pod), '[]')
                            from jsonb_array_elements(r.pods || excluded.pods) as pod
                        ),
                        nodes = (
                            select coalesce(jsonb_agg(distinct node), '[]')
                            from jsonb_array_elements(r.nodes || excluded.nodes) as node
                        )
                    where not (r.pods @> excluded.pods and r.nodes @> excluded.nodes)
                    returning cluster_id
                )
                select distinct cluster_id as "cluster_id!" from asked
                "#,
                Value::from(rows.clone()),
            )
            .fetch_all(&mut *tx)
            .await?;
            for cluster in clusters {
                wake::cluster(tx, ClusterId(cluster)).await?;
            }
            Ok(())
        })
        .await
    }
}
