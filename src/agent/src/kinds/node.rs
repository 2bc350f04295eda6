//! Node.

use k8s_openapi::{ClusterResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use model::node::{NodeReady, Taint};
use serde::Deserialize;

use super::{
    Unreadable, Watched, kind,
    meta::{Labels, slim, version},
};
use crate::index::Kind;

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
