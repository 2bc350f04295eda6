//! EndpointSlice.

use std::net::IpAddr;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use model::fact::{AddressFamily, ObjectName, PodRef, SlicePort};
use serde::Deserialize;

use super::{
    Unreadable, Watched, kind,
    meta::{Labels, object_name, slim, version},
    port::{PortEntry, port, protocol},
};
use crate::index::Kind;

/// The label that names the Service of a slice (Kubernetes API, EndpointSlice).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// All that is read of the labels.
#[derive(Default, Deserialize)]
struct ServiceLabel {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

impl From<ServiceLabel> for Labels {
    fn from(label: ServiceLabel) -> Self {
        let service = label.service.map(|service| (SERVICE_NAME.to_owned(), service));
        service.into_iter().collect()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    #[serde(deserialize_with = "slim::<ServiceLabel, _>")]
    metadata: ObjectMeta,
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<PortEntry>>,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    node_name: Option<String>,
    zone: Option<String>,
    target_ref: Option<Reference>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

kind!(
    EndpointSlice,
    "discovery.k8s.io",
    "v1",
    "endpointslices",
    NamespaceResourceScope
);

impl Watched for EndpointSlice {
    type Fact = model::fact::EndpointSlice;
    const KIND: Kind = Kind::EndpointSlice;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Self::Fact, Unreadable> {
        let Self {
            metadata,
            address_type,
            ports,
            endpoints,
        } = self;
        let (object, version) = (object_name(&metadata), version(&metadata)?);
        let family = match address_type.as_str() {
            "IPv4" => AddressFamily::Ipv4,
            "IPv6" => AddressFamily::Ipv6,
            "FQDN" => AddressFamily::Fqdn,
            _ => {
                return Err(Unreadable {
                    field: "addressType",
                    given: address_type,
                });
            }
        };
        let ports = ports.unwrap_or_default().into_iter().map(|entry| {
            let PortEntry {
                name,
                port: number,
                protocol: kind,
                node_port: _,
            } = entry;
            Ok(SlicePort {
                name: name.unwrap_or_default(),
                port: number.map(|number| port(number, "ports.port")).transpose()?,
                protocol: protocol(kind.as_deref())?,
            })
        });
        let endpoints = match family {
            // Names are no targets of an ip group.
            AddressFamily::Fqdn => Vec::new(),
            AddressFamily::Ipv4 | AddressFamily::Ipv6 => endpoints
                .unwrap_or_default()
                .into_iter()
                .map(|entry| endpoint(entry, &object.namespace))
                .collect::<Result<_, _>>()?,
        };
        // A slice without the label belongs to no Service.
        let service = metadata
            .labels
            .and_then(|mut labels| labels.remove(SERVICE_NAME))
            .unwrap_or_default();
        Ok(model::fact::EndpointSlice {
            object,
            version,
            service,
            family,
            ports: ports.collect::<Result<_, Unreadable>>()?,
            endpoints,
        })
    }
}

fn endpoint(entry: Endpoint, namespace: &str) -> Result<model::fact::Endpoint, Unreadable> {
    let Endpoint {
        addresses,
        conditions,
        node_name,
        zone,
        target_ref,
    } = entry;
    let Conditions {
        ready,
        serving,
        terminating,
    } = conditions.unwrap_or_default();
    let addresses: Vec<IpAddr> = addresses
        .unwrap_or_default()
        .iter()
        .map(|text| {
            text.parse().map_err(|_| Unreadable {
                field: "endpoints.addresses",
                given: text.clone(),
            })
        })
        .collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(Unreadable {
            field: "endpoints.addresses",
            given: String::new(),
        });
    }
    Ok(model::fact::Endpoint {
        addresses,
        ready,
        serving,
        terminating,
        node: node_name,
        zone,
        pod: target_ref.and_then(|reference| pod(reference, namespace)),
    })
}

fn pod(reference: Reference, slice_namespace: &str) -> Option<PodRef> {
    let Reference {
        kind,
        namespace,
        name,
        uid,
    } = reference;
    if kind.as_deref() != Some("Pod") {
        return None;
    }
    let namespace = namespace.unwrap_or_else(|| slice_namespace.to_owned());
    Some(PodRef {
        namespace,
        name: name?,
        uid: uid?.parse().ok()?,
    })
}
