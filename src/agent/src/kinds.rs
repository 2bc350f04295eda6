//! The watched kinds, decoded slim: what is not read is skipped by the parser and never becomes a value.

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr};

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Resource;
use model::{
    condition::Truth,
    fact::{AddressFamily, ObjectName, ObjectVersion, PodRef, Protocol, ServicePort, SlicePort},
    node::{NodeReady, Taint},
    ownership::Marks,
    pod::{self, GateState},
    stream::Source,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::index::{Kind, Object};

/// The label that names the Service of a slice (Kubernetes API, EndpointSlice).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An object that the API server should not have accepted.
#[derive(Debug, thiserror::Error)]
#[error("the object's {field} cannot be used: {given:?}")]
pub struct Unreadable {
    field: &'static str,
    given: String,
}

/// A kind that the agent watches.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
    type Fact: Object;
    const KIND: Kind;

    /// What tells the object apart from others of its kind.
    fn key(meta: &ObjectMeta) -> <Self::Fact as Object>::Key;

    /// In the model's terms.
    fn fact(self) -> Result<Self::Fact, Unreadable>;
}

macro_rules! kind {
    ($type:ident, $group:literal, $version:literal, $plural:literal, $scope:ty) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($type).into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// What is read of `metadata`; managedFields alone are most of a small object.
#[derive(Default, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    bound(deserialize = "L: Default + Deserialize<'de>")
)]
struct Meta<L> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    labels: L,
}

type Labels = BTreeMap<String, String>;

/// All that is read of the labels where not all are.
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

/// Nothing is read of the labels.
#[derive(Default, Deserialize)]
struct Unlabelled {}

impl From<Unlabelled> for Labels {
    fn from(Unlabelled {}: Unlabelled) -> Self {
        Self::new()
    }
}

fn slim<'de, L, D>(deserializer: D) -> Result<ObjectMeta, D::Error>
where
    L: Default + Deserialize<'de> + Into<Labels>,
    D: Deserializer<'de>,
{
    let Meta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels,
    } = Meta::<L>::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels: Some(labels.into()),
        ..ObjectMeta::default()
    })
}

/// As [`slim`], with what tells who acts on the object.
fn marked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[expect(
        clippy::zero_sized_map_values,
        reason = "a map is what is read; its values are skipped"
    )]
    struct Marked {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        deletion_timestamp: Option<Time>,
        labels: BTreeMap<String, String>,
        finalizers: Vec<String>,
        // One of them often holds the whole object once more.
        annotations: BTreeMap<String, IgnoredAny>,
    }
    let Marked {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        mut labels,
        finalizers,
        annotations,
    } = Marked::deserialize(deserializer)?;
    labels.retain(|name, _| Marks::is_label(name));
    let annotations = annotations
        .into_keys()
        .filter(|name| Marks::is_annotation(name))
        .map(|name| (name, String::new()));
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels: Some(labels),
        finalizers: Some(finalizers),
        annotations: Some(annotations.collect()),
        ..ObjectMeta::default()
    })
}

/// Which state of which object it is.
pub fn version(meta: &ObjectMeta) -> Result<ObjectVersion, Unreadable> {
    let uid = meta.uid.as_deref().unwrap_or_default();
    let resource_version = meta.resource_version.as_deref().unwrap_or_default();
    Ok(ObjectVersion {
        uid: uid.parse().map_err(|_| Unreadable {
            field: "metadata.uid",
            given: uid.to_owned(),
        })?,
        resource_version: resource_version.parse().map_err(|_| Unreadable {
            field: "metadata.resourceVersion",
            given: resource_version.to_owned(),
        })?,
    })
}

fn object_name(meta: &ObjectMeta) -> ObjectName {
    ObjectName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn port(number: i64, field: &'static str) -> Result<u16, Unreadable> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Unreadable {
            field,
            given: number.to_string(),
        }),
    }
}

/// Absent means TCP (Kubernetes API, ServicePort and EndpointPort).
fn protocol(text: Option<&str>) -> Result<Protocol, Unreadable> {
    match text {
        None | Some("TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Unreadable {
            field: "protocol",
            given: other.to_owned(),
        }),
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct TargetGroupBinding {
    #[serde(deserialize_with = "marked")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

kind!(
    TargetGroupBinding,
    "elbv2.k8s.aws",
    "v1beta1",
    "targetgroupbindings",
    NamespaceResourceScope
);

impl Watched for TargetGroupBinding {
    type Fact = Source;
    const KIND: Kind = Kind::TargetGroupBinding;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Source, Unreadable> {
        let Self { metadata, spec } = self;
        let (object, version) = (object_name(&metadata), version(&metadata)?);
        let spec = match spec {
            Value::Null => Value::Object(serde_json::Map::new()),
            spec @ Value::Object(_) => spec,
            other => {
                return Err(Unreadable {
                    field: "spec",
                    given: other.to_string(),
                });
            }
        };
        // A kind without a schema has no generation; its spec is compared all the same.
        let generation = metadata.generation.unwrap_or(1);
        let marks = Marks {
            labels: metadata.labels.unwrap_or_default(),
            finalizers: metadata.finalizers.into_iter().flatten().collect(),
            annotations: metadata
                .annotations
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .collect(),
        };
        Ok(Source {
            object,
            version,
            generation,
            spec,
            deleting: metadata.deletion_timestamp.is_some(),
            marks: Some(marks),
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    #[serde(deserialize_with = "slim::<ServiceLabel, _>")]
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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortEntry {
    name: Option<String>,
    port: Option<i64>,
    protocol: Option<String>,
    node_port: Option<i64>,
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

#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    #[serde(deserialize_with = "slim::<Labels, _>")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    taints: Option<Vec<TaintEntry>>,
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TaintEntry {
    key: String,
    effect: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    conditions: Option<Vec<Condition>>,
}

/// Its heartbeat is not read: a node that only lives on is no news.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

kind!(Node, "", "v1", "nodes", ClusterResourceScope);

impl Watched for Node {
    type Fact = model::node::Node;
    const KIND: Kind = Kind::Node;

    fn key(meta: &ObjectMeta) -> String {
        meta.name.clone().unwrap_or_default()
    }

    fn fact(self) -> Result<Self::Fact, Unreadable> {
        let Self {
            metadata,
            spec:
                NodeSpec {
                    provider_id,
                    taints,
                    unschedulable,
                },
            status: NodeStatus { conditions },
        } = self;
        let taints = taints
            .unwrap_or_default()
            .into_iter()
            .map(|TaintEntry { key, effect }| Taint { key, effect });
        Ok(model::node::Node {
            name: Self::key(&metadata),
            version: version(&metadata)?,
            provider_id: provider_id.filter(|id| !id.is_empty()),
            taints: taints.collect(),
            ready: ready(&conditions.unwrap_or_default())?,
            unschedulable,
            labels: metadata.labels.unwrap_or_default(),
        })
    }
}

fn ready(conditions: &[Condition]) -> Result<NodeReady, Unreadable> {
    let Some(ready) = conditions.iter().find(|condition| condition.r#type == "Ready") else {
        return Ok(NodeReady::Absent);
    };
    match ready.status.as_str() {
        "True" => Ok(NodeReady::True),
        "False" => Ok(NodeReady::False),
        "Unknown" => Ok(NodeReady::Unknown),
        other => Err(Unreadable {
            field: "status.conditions[type=Ready].status",
            given: other.to_owned(),
        }),
    }
}

/// What is kept of a condition's message. AWS's own are far shorter.
const MESSAGE_BYTES: usize = 1024;
/// What the API server gives a pod that does not say.
const GRACE_SECONDS: i64 = 30;

/// A pod, as far as its readiness gates go.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    #[serde(deserialize_with = "slim::<Unlabelled, _>")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    readiness_gates: Option<Vec<ReadinessGate>>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadinessGate {
    condition_type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    conditions: Option<Vec<PodCondition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

kind!(Pod, "", "v1", "pods", NamespaceResourceScope);

impl Watched for Pod {
    type Fact = model::pod::Pod;
    const KIND: Kind = Kind::Pod;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Self::Fact, Unreadable> {
        let Self {
            metadata,
            spec:
                PodSpec {
                    readiness_gates,
                    termination_grace_period_seconds,
                },
            status: PodStatus { conditions },
        } = self;
        let conditions = conditions.unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|condition| condition.r#type == kind);
        let gates = readiness_gates.unwrap_or_default().into_iter();
        let gates = gates.filter_map(|ReadinessGate { condition_type }| {
            let binding = pod::gate_of(&condition_type)?;
            Some((binding.to_owned(), condition(&condition_type).map(gate_state)))
        });
        let grace = termination_grace_period_seconds.unwrap_or(GRACE_SECONDS);
        Ok(Self::Fact {
            object: object_name(&metadata),
            version: version(&metadata)?,
            gates: gates.collect(),
            containers_ready: condition("ContainersReady")
                .is_some_and(|condition| condition.status == "True"),
            terminating: metadata.deletion_timestamp.is_some(),
            // A negative one means 1 (Kubernetes API, PodSpec).
            grace_seconds: u32::try_from(grace).unwrap_or(1),
        })
    }
}

fn gate_state(condition: &PodCondition) -> GateState {
    let PodCondition {
        r#type: _,
        status,
        reason,
        message,
    } = condition;
    // Postgres holds no NUL.
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default().replace('\0', "\u{fffd}");
        text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
    };
    GateState {
        status: match status.as_str() {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        },
        reason: text(reason),
        message: text(message),
    }
}
