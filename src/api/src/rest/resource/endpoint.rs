//! Endpoints: what a cluster stated about a Service.

use control::view::ServiceView;
use jiff::Timestamp;
use model::fact::{
    Departure as ModelDeparture, Endpoint as ModelEndpoint, EndpointSlice, ServiceFacts,
    ServicePort as ModelPort, SlicePort, Stated,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Pod, word};

/// A Service that bindings refer to, as its cluster stated it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ServiceEndpoints {
    namespace: String,
    service: String,
    /// `unknown` (not yet stated), `absent` (the cluster says that there is none) or `present`.
    state: &'static str,
    ports: Vec<ServicePort>,
    /// Whether a complete snapshot of the slices was stored; if not, `slices` says nothing.
    slices_known: bool,
    slices: Vec<Slice>,
    /// Endpoints that vanished while their targets are still ours.
    departures: Vec<Departure>,
    /// When the cluster last answered a relist with consistent reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    confirmed_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ServicePort {
    name: String,
    port: u16,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    node_port: Option<u16>,
}

/// An EndpointSlice.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Slice {
    name: String,
    /// `IPv4`, `IPv6` or `FQDN`.
    family: String,
    ports: Vec<NamedPort>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct NamedPort {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    port: Option<u16>,
    protocol: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Endpoint {
    addresses: Vec<String>,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    serving: Option<bool>,
    terminating: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pod: Option<Pod>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Departure {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pod: Option<Pod>,
    /// `none`, `notSelected`, `podGone` or `terminating`.
    evidence: String,
    at: Timestamp,
}

impl From<ServiceView> for ServiceEndpoints {
    fn from(view: ServiceView) -> Self {
        let ServiceView {
            service: object,
            facts,
        } = view;
        let ServiceFacts {
            service,
            slices,
            departures,
            confirmed_at,
            // They are told on the pods themselves.
            pods: _,
        } = facts;
        let (state, ports) = match service {
            Stated::Unknown => ("unknown", Vec::new()),
            Stated::Known(None) => ("absent", Vec::new()),
            Stated::Known(Some(service)) => ("present", service.ports),
        };
        let slices_known = slices.known().is_some();
        let slices = match slices {
            Stated::Unknown => Vec::new(),
            Stated::Known(slices) => slices,
        };
        Self {
            namespace: object.namespace,
            service: object.name,
            state,
            ports: ports.into_iter().map(Into::into).collect(),
            slices_known,
            slices: slices.into_iter().map(Into::into).collect(),
            departures: departures.into_iter().map(Into::into).collect(),
            confirmed_at,
        }
    }
}

impl From<ModelPort> for ServicePort {
    fn from(port: ModelPort) -> Self {
        let ModelPort {
            name,
            port,
            protocol,
            node_port,
        } = port;
        Self {
            name,
            port,
            protocol: word(&protocol),
            node_port,
        }
    }
}

impl From<EndpointSlice> for Slice {
    fn from(slice: EndpointSlice) -> Self {
        let EndpointSlice {
            object,
            version: _,
            service: _,
            family,
            ports,
            endpoints,
        } = slice;
        let port = |SlicePort { name, port, protocol }| NamedPort {
            name,
            port,
            protocol: word(&protocol),
        };
        Self {
            name: object.name,
            family: word(&family),
            ports: ports.into_iter().map(port).collect(),
            endpoints: endpoints.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ModelEndpoint> for Endpoint {
    fn from(endpoint: ModelEndpoint) -> Self {
        let (ready, terminating) = (endpoint.is_ready(), endpoint.is_terminating());
        let ModelEndpoint {
            addresses,
            ready: _,
            serving,
            terminating: _,
            node,
            zone,
            pod,
        } = endpoint;
        let addresses = addresses.iter().map(ToString::to_string).collect();
        Self {
            addresses,
            ready,
            serving,
            terminating,
            node,
            zone,
            pod: pod.map(Into::into),
        }
    }
}

impl From<ModelDeparture> for Departure {
    fn from(departure: ModelDeparture) -> Self {
        let ModelDeparture {
            address,
            pod,
            evidence,
            at,
        } = departure;
        Self {
            address: address.to_string(),
            pod: pod.map(Into::into),
            evidence: word(&evidence),
            at,
        }
    }
}
