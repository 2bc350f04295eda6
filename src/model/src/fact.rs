//! Facts from clusters. They are stored as the cluster said them; what follows from them is decided by `planner`.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pod::PodFacts;

/// `namespace/name` of a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which object, and which state of it. An object older than the stored one of the same UID is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectVersion {
    pub uid: Uuid,
    pub resource_version: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
    #[serde(rename = "SCTP")]
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Empty for the only port of a Service.
    pub name: String,
    pub port: u16,
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
}

/// A Service that a binding refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    pub object: ObjectName,
    pub version: ObjectVersion,
    /// `ClusterIP`, `NodePort`, …
    pub service_type: String,
    pub ports: Vec<ServicePort>,
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
}

/// A port of an EndpointSlice. A slice without a port number serves no port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlicePort {
    pub name: String,
    pub port: Option<u16>,
    pub protocol: Protocol,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: Uuid,
}

/// An endpoint as its slice states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub addresses: Vec<IpAddr>,
    /// `conditions.ready`; absent means ready (Kubernetes API, EndpointConditions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
}

impl Endpoint {
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    pub fn is_terminating(&self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AddressFamily {
    #[serde(rename = "IPv4")]
    Ipv4,
    #[serde(rename = "IPv6")]
    Ipv6,
    /// Names are no targets of an ip group.
    #[serde(rename = "FQDN")]
    Fqdn,
}

/// One EndpointSlice. The endpoints of a Service are the union of its slices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// The namespace, and the slice's own name.
    pub object: ObjectName,
    pub version: ObjectVersion,
    /// The Service by the label `kubernetes.io/service-name`.
    pub service: String,
    pub family: AddressFamily,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
}

/// Why an endpoint that was there is no longer, as the agent could prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Evidence {
    /// Nothing is known.
    None,
    /// The pod is alive; the Service does not select it (or does not exist) any more.
    NotSelected,
    /// A live read of the pod said 404, or another UID.
    PodGone,
    /// The pod's deletion had been stated before the endpoint went.
    Terminating,
}

impl Evidence {
    /// Whether it proves the end of the pod. Only such a removal goes at once.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::PodGone | Self::Terminating)
    }
}

/// An endpoint that vanished from the union of a Service's slices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Departure {
    pub address: IpAddr,
    pub pod: Option<PodRef>,
    pub evidence: Evidence,
    /// When the server stored it.
    pub at: Timestamp,
}

/// What is stored about one Service that bindings refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// `Known(None)`: the cluster said that it does not exist.
    pub service: Stated<Option<Service>>,
    /// All slices, once a complete snapshot of them was stored.
    pub slices: Stated<Vec<EndpointSlice>>,
    pub departures: Vec<Departure>,
    pub pods: PodFacts,
    /// When the agent last answered a relist with consistent reads of the Service and all its slices.
    pub confirmed_at: Option<Timestamp>,
}

/// Whether the cluster has ever stated a thing. What is not stated is unknown, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stated<T> {
    #[default]
    Unknown,
    Known(T),
}

impl<T> Stated<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Unknown => None,
            Self::Known(value) => Some(value),
        }
    }
}
