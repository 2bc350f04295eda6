//! What an agent states over its stream. A reset is complete; a patch is relative to the reset of the same scope and epoch.
//!
//! Applying every update of a stream in order gives what the agent's index holds (the fold law).

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Name,
    fact::{EndpointSlice, Evidence, ObjectName, ObjectVersion, PodRef, Service},
    node::{Node, NodeRef},
    ownership::{Marks, Surroundings},
    pod::Pod,
};

/// The first statement of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub cluster: Name,
    /// Tells replicas of the agent apart.
    pub instance: String,
    pub protocol: u32,
    pub version: String,
    /// The highest epoch that this agent was ever given; 0 = none.
    pub last_epoch: u64,
    /// UID of the namespace kube-system.
    pub cluster_uid: String,
}

/// A TargetGroupBinding as its cluster has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub object: ObjectName,
    pub version: ObjectVersion,
    pub generation: i64,
    /// `spec`, unjudged: `translate` says what is wrong with it.
    pub spec: serde_json::Value,
    /// It has a deletion timestamp; a finalizer of somebody else keeps it.
    pub deleting: bool,
    /// `None`: the agent is older than this question.
    pub marks: Option<Marks>,
}

/// Explicit: this object, of this UID, was deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tombstone {
    pub object: ObjectName,
    pub uid: Uuid,
}

/// How a set changed. `D` names what was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T, D = Tombstone> {
    /// The complete set, from a consistent list.
    Reset(Vec<T>),
    Patch {
        upserted: Vec<T>,
        deleted: Vec<D>,
    },
}

impl<T, D> Change<T, D> {
    /// What is there now, by this change.
    pub fn stated(&self) -> &[T] {
        let (Self::Reset(stated) | Self::Patch { upserted: stated, .. }) = self;
        stated
    }
}

/// An endpoint that left the union of its Service's slices, with what the agent could prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vanished {
    pub address: IpAddr,
    pub pod: Option<PodRef>,
    pub evidence: Evidence,
}

/// What a live read of a pod showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReading {
    pub pod: PodRef,
    pub evidence: Evidence,
}

/// What a live read of a node showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReading {
    pub node: NodeRef,
    /// What has its name now. `None`, or another UID: the node is gone.
    pub found: Option<Node>,
}

impl NodeReading {
    /// Whether it proves the end of the node.
    pub fn is_gone(&self) -> bool {
        self.found
            .as_ref()
            .is_none_or(|found| found.version.uid != self.node.uid)
    }
}

/// The answer to a relist: consistent reads alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    pub relist_id: u64,
    pub object: ObjectName,
    /// `None`: the API server said that the Service does not exist.
    pub service: Option<Service>,
    pub slices: Vec<EndpointSlice>,
    pub pods: Vec<PodReading>,
    pub nodes: Vec<NodeReading>,
}

/// One statement with a revision. It is acknowledged when it is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    Sources(Change<Source>),
    /// The complete sets of these namespaces; of others nothing is said.
    SourcesOf {
        namespaces: BTreeSet<String>,
        sources: Vec<Source>,
    },
    /// `None`: the API server said that it does not exist.
    Service {
        object: ObjectName,
        state: Option<Service>,
    },
    Slices {
        service: ObjectName,
        change: Change<EndpointSlice>,
    },
    Departures {
        service: ObjectName,
        vanished: Vec<Vanished>,
    },
    Nodes(Change<Node, NodeRef>),
    /// Nodes that were deleted, and whose end a live read proved.
    NodesGone(Vec<NodeRef>),
    Confirm(Confirm),
    /// Those with a gate of ours among the pods that the Service selects.
    Pods {
        service: ObjectName,
        change: Change<Pod>,
        /// The shortest termination grace of all that it selects, in seconds; `None`: there is no pod.
        shortest_grace: Option<u32>,
    },
}

/// Where a statement comes from. It is measured, and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How long the oldest event that it tells of had waited in the agent when it was sent.
    pub waited: Duration,
    /// The trace that goes on here, as a W3C `traceparent`.
    pub trace: Option<String>,
}

/// Anything an agent says after its Hello.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every statement is an update, and they are moved, not stored"
)]
pub enum Statement {
    Update {
        revision: u64,
        update: Update,
    },
    WriteBackResult {
        id: u64,
        error: Option<String>,
    },
    Heartbeat {
        /// `None`: it has not changed since this stream said it last, or was never looked at.
        surroundings: Option<Surroundings>,
    },
    /// The agent can no longer see a kind; what it stated of it stays as it is.
    Unsynced {
        kind: String,
        /// Where; `None`: anywhere.
        namespace: Option<String>,
        reason: String,
    },
}
