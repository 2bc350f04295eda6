//! Reading what is stated about a Service: itself, its slices, its pods, and the endpoints that vanished.

use std::net::IpAddr;

use jiff::Timestamp;
use model::{
    ClusterId,
    fact::{Departure, EndpointSlice, ObjectName, PodRef, Service, ServiceFacts},
    pod::{Pod, PodFacts, StoredPod},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store, ingest,
    row::{Row, stated},
};

impl Store {
    /// What is stored about one service; `None`: no binding refers to it.
    pub async fn service_facts(
        &self,
        cluster: ClusterId,
        service: &ObjectName,
    ) -> Result<Option<ServiceFacts>> {
        let query = sqlx::query_scalar!(
            r#"
            select json_build_object(
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
            ) as "service!"
            from services s where s.cluster_id = $1 and s.namespace = $2 and s.name = $3
            "#,
            cluster.0,
            service.namespace,
            service.name,
        );
        let row = self.read(Op::Query, query.fetch_optional(&self.pool)).await?;
        row.map(|row| {
            Ok(Row::new("services", service)
                .json::<ServiceRow>("body", row)?
                .read()?
                .1)
        })
        .transpose()
    }
}

/// Cluster, namespace, name.
pub(crate) type ServiceKey = (Uuid, String, String);

/// A service with all that is stated about it, as Postgres gathers it.
#[derive(Deserialize)]
pub(crate) struct ServiceRow {
    cluster_id: Uuid,
    namespace: String,
    service: String,
    known: bool,
    body: Option<Service>,
    slices_known: bool,
    confirmed_at: Option<Timestamp>,
    slices: Option<Vec<EndpointSlice>>,
    departures: Option<Vec<DepartureRow>>,
    pods_known: bool,
    shortest_grace: Option<u32>,
    pods: Option<Vec<PodRow>>,
}

#[derive(Deserialize)]
struct PodRow {
    body: Pod,
    since: Timestamp,
}

#[derive(Deserialize)]
struct DepartureRow {
    address: IpAddr,
    pod: Option<PodRef>,
    evidence: i16,
    at: Timestamp,
}

impl ServiceRow {
    pub(crate) fn read(self) -> Result<(ServiceKey, ServiceFacts)> {
        let departures = self.departures.unwrap_or_default().into_iter().map(|row| {
            let DepartureRow {
                address,
                pod,
                evidence,
                at,
            } = row;
            let strength = ingest::of_strength(evidence);
            let evidence = strength
                .ok_or_else(|| Row::new("departures", &address).inconsistent("evidence", &evidence))?;
            Ok::<_, Error>(Departure {
                address,
                pod,
                evidence,
                at,
            })
        });
        let pods = self.pods.unwrap_or_default().into_iter();
        let pods = pods.map(|PodRow { body: pod, since }| StoredPod { pod, since });
        let facts = ServiceFacts {
            service: stated(self.known, || self.body),
            slices: stated(self.slices_known, || self.slices.unwrap_or_default()),
            departures: departures.collect::<Result<_>>()?,
            confirmed_at: self.confirmed_at,
            pods: PodFacts {
                gated: stated(self.pods_known, || pods.collect()),
                shortest_grace: self.shortest_grace,
            },
        };
        Ok(((self.cluster_id, self.namespace, self.service), facts))
    }
}
