//! Service.

use std::collections::BTreeMap;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use model::fact::{ObjectName, ServicePort};
use serde::Deserialize;

use super::{
    Unreadable, Watched, kind,
    meta::{Unlabelled, object_name, slim, version},
    port::{PortEntry, port, protocol},
};
use crate::index::Kind;

#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    #[serde(deserialize_with = "slim::<Unlabelled, _>")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    r#type: Option<String>,
    ports: Option<Vec<PortEntry>>,
    selector: Option<BTreeMap<String, String>>,
}

kind!(Service, "", "v1", "services", NamespaceResourceScope);

impl Watched for Service {
    type Fact = model::fact::Service;
    const KIND: Kind = Kind::Service;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Self::Fact, Unreadable> {
        let Self {
            metadata,
            spec:
                ServiceSpec {
                    r#type,
                    ports,
                    selector,
                },
        } = self;
        let (object, version) = (object_name(&metadata), version(&metadata)?);
        let ports = ports.unwrap_or_default().into_iter().map(|entry| {
            let PortEntry {
                name,
                port: number,
                protocol: kind,
                node_port,
            } = entry;
            Ok(ServicePort {
                name: name.unwrap_or_default(),
                port: port(number.unwrap_or(0), "spec.ports.port")?,
                protocol: protocol(kind.as_deref())?,
                // 0 is how a Service says that none is given.
                node_port: node_port
                    .filter(|port| *port != 0)
                    .map(|p| port(p, "spec.ports.nodePort"))
                    .transpose()?,
            })
        });
        Ok(model::fact::Service {
            object,
            version,
            service_type: r#type.unwrap_or_else(|| "ClusterIP".to_owned()),
            ports: ports.collect::<Result<_, Unreadable>>()?,
            selector: selector.unwrap_or_default(),
        })
    }
}
