//! Nodes as their cluster states them. Which of them are targets is decided by `planner`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fact::{ObjectVersion, Stated};

/// A node of one name and UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRef {
    pub name: String,
    pub uid: Uuid,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    pub version: ObjectVersion,
    /// `spec.providerID`; the cloud's controller sets it some time after the node joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub taints: Vec<Taint>,
    pub ready: NodeReady,
    #[serde(default)]
    pub unschedulable: bool,
}

impl Node {
    pub fn node_ref(&self) -> NodeRef {
        NodeRef {
            name: self.name.clone(),
            uid: self.version.uid,
        }
    }

    /// The EC2 instance that it runs on: the end of `aws:///ZONE/i-…`. Hybrid and Fargate nodes have none.
    pub fn instance_id(&self) -> Option<&str> {
        let path = self.provider_id.as_deref()?.strip_prefix("aws://")?;
        let (_, id) = path.rsplit_once('/')?;
        let hex = id.strip_prefix("i-")?;
        let valid = matches!(hex.len(), 8 | 17) && hex.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then_some(id)
    }

    /// Its availability zone (Kubernetes, "Well-Known Labels").
    pub fn zone(&self) -> Option<&str> {
        self.labels.get("topology.kubernetes.io/zone").map(String::as_str)
    }
}

/// Which nodes a binding means: all that fulfil every requirement (Kubernetes, "Labels and Selectors").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector(pub Vec<Requirement>);

impl NodeSelector {
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

/// What a selector demands of one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    pub key: String,
    #[serde(flatten)]
    pub operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operator", content = "values")]
pub enum Operator {
    In(Vec<String>),
    /// Also met by a node without the label.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Requirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A taint; its value and its time are nobody's concern here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    pub key: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// The status of a node's condition `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeReady {
    True,
    False,
    /// The kubelet was not heard of for a while, which says nothing about the pods.
    Unknown,
    /// The node has just joined.
    Absent,
}

/// A node that its cluster had and has no longer, while no other node stands for its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDeparture {
    pub node: NodeRef,
    pub instance: String,
    /// A live read did not find it, or found another UID.
    pub gone: bool,
    /// When the server stored it.
    pub at: Timestamp,
}

/// A node as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNode {
    pub node: Node,
    /// When a live read of the node last showed just this.
    pub confirmed_at: Option<Timestamp>,
}

/// What is stored about a cluster's nodes, as far as one target group needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Once a complete list of them was stored: all of them, for a group of type `instance`; for others none.
    pub nodes: Stated<Vec<StoredNode>>,
    /// The instances of the nodes that endpoints name, by node, where addresses need openings; once a complete list of
    /// nodes was stored. `None`: it is no instance. A node that is missing here has not been stated.
    pub hosts: Stated<BTreeMap<String, Option<String>>>,
    /// Those whose Ready is Unknown, by name.
    pub unknown: BTreeSet<String>,
    /// Those whose Ready is False, by name.
    pub down: BTreeSet<String>,
    /// Of the nodes of a group of type `instance`.
    pub departures: Vec<NodeDeparture>,
    /// Why the agent cannot see nodes, if it said so.
    pub unsynced: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider_id: Option<&str>) -> Node {
        Node {
            name: "n".into(),
            version: ObjectVersion {
                uid: Uuid::from_u128(1),
                resource_version: 1,
            },
            provider_id: provider_id.map(Into::into),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            ready: NodeReady::True,
            unschedulable: false,
        }
    }

    #[test]
    fn a_selector_selects_what_fulfils_every_requirement() {
        let labels = BTreeMap::from([("pool".to_owned(), "web".to_owned())]);
        let selects = |key: &str, operator| {
            let requirement = Requirement {
                key: key.into(),
                operator,
            };
            NodeSelector(vec![requirement]).selects(&labels)
        };
        assert!(selects("pool", Operator::In(vec!["web".into()])));
        assert!(!selects("pool", Operator::In(vec!["db".into()])));
        assert!(!selects("zone", Operator::In(vec!["a".into()])));
        assert!(!selects("pool", Operator::NotIn(vec!["web".into()])));
        assert!(selects("zone", Operator::NotIn(vec!["a".into()])));
        assert!(selects("pool", Operator::Exists));
        assert!(!selects("pool", Operator::DoesNotExist));
        assert!(selects("zone", Operator::DoesNotExist));
        assert!(NodeSelector::default().selects(&labels));
    }

    #[test]
    fn an_instance_id_is_the_end_of_an_aws_provider_id_and_of_no_other() {
        for (provider_id, instance) in [
            (
                "aws:///us-east-1a/i-0123456789abcdef0",
                Some("i-0123456789abcdef0"),
            ),
            ("aws:///cn-north-1b/i-01234567", Some("i-01234567")),
            ("eks-hybrid:///eu-west-1/cluster/mi-0123456789abcdef0", None),
            ("aws:///us-east-1a/fargate-ip-10-0-0-1", None),
            ("aws:///us-east-1a/i-", None),
            ("gce://project/zone/i-0123456789abcdef0", None),
            ("i-0123456789abcdef0", None),
            ("", None),
        ] {
            assert_eq!(node(Some(provider_id)).instance_id(), instance, "{provider_id}");
        }
        assert_eq!(node(None).instance_id(), None);
    }
}
