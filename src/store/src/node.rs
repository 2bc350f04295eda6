//! Reading the nodes of a cluster, as far as a group needs them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::node::{Node, NodeDeparture, NodeFacts, NodeRef, StoredNode};
use serde::Deserialize;
use uuid::Uuid;

use crate::row::stated;

/// The nodes of one cluster, as Postgres gathers them. What is null is empty, but for `known`.
#[derive(Deserialize)]
pub(crate) struct NodesRow {
    pub(crate) cluster_id: Uuid,
    known: bool,
    hosts_known: bool,
    hosts: Option<BTreeMap<String, Option<String>>>,
    unsynced: Option<String>,
    nodes: Option<Vec<NodeRow>>,
    unknown: Option<Vec<String>>,
    down: Option<Vec<String>>,
    departures: Option<Vec<DepartureRow>>,
}

#[derive(Deserialize)]
struct NodeRow {
    body: Node,
    confirmed_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct DepartureRow {
    name: String,
    uid: Uuid,
    instance_id: String,
    gone: bool,
    at: Timestamp,
}

impl NodesRow {
    pub(crate) fn read(self) -> NodeFacts {
        let nodes = self.nodes.unwrap_or_default().into_iter().map(|row| StoredNode {
            node: row.body,
            confirmed_at: row.confirmed_at,
        });
        let departures = self.departures.unwrap_or_default().into_iter().map(|row| {
            let DepartureRow {
                name,
                uid,
                instance_id: instance,
                gone,
                at,
            } = row;
            NodeDeparture {
                node: NodeRef { name, uid },
                instance,
                gone,
                at,
            }
        });
        NodeFacts {
            nodes: stated(self.known, || nodes.collect()),
            hosts: stated(self.hosts_known, || self.hosts.unwrap_or_default()),
            unknown: self.unknown.unwrap_or_default().into_iter().collect(),
            down: self.down.unwrap_or_default().into_iter().collect(),
            departures: departures.collect(),
            unsynced: self.unsynced,
        }
    }
}
