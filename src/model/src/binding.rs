//! Bindings: (cluster, namespace, service, port) → target group, whoever declared them.

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    BindingId, ClusterId, HoldId, SecurityGroupId, TargetGroupArn,
    account::AssumableRole,
    condition::Problem,
    fact::{ObjectName, Protocol},
    node::NodeSelector,
    ownership::Standing,
    parse::{Invalid, text_type},
    target::TargetType,
    target_group::IpAddressType,
};

/// A port of a Service by number or by name, as `int-or-string` in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortRef {
    Number(u16),
    Name(String),
}

impl FromStr for PortRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                "service port",
                text,
                "a port number 1-65535 or the name of a port of the Service",
            )
        };
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return match text.parse() {
                Ok(0) | Err(_) => Err(invalid()),
                Ok(number) => Ok(Self::Number(number)),
            };
        }
        let valid = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

text_type!(PortRef);

/// Who may reach the targets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    Cidr(IpNet),
    SecurityGroup(SecurityGroupId),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(block) => block.fmt(f),
            Self::SecurityGroup(group) => group.fmt(f),
        }
    }
}

/// A port that peers may reach; `None` = all ports of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenPort {
    pub protocol: Protocol,
    pub port: Option<PortRef>,
}

/// One rule of `spec.networking.ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    pub from: Vec<Peer>,
    pub ports: Vec<OpenPort>,
}

/// What a binding asks for, validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingSpec {
    pub target_group: TargetGroupArn,
    /// The Service, in the binding's namespace.
    pub service: String,
    pub port: PortRef,
    /// As declared; AWS says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_type: Option<TargetType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address_type: Option<IpAddressType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// As declared; AWS says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networking: Vec<IngressRule>,
    /// Which nodes are targets of an instance group. `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<NodeSelector>,
    /// It agrees to share the group with other bindings of its cluster (`multiClusterTargetGroup`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The role that it names for a group of another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<AssumableRole>,
    /// What of the text is ignored, a sentence each: told with the binding's condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Who declared a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// A TargetGroupBinding object in the cluster.
    Object,
    /// REST or gRPC.
    Api,
}

/// Where a binding is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Lifecycle {
    Active,
    /// Deleted on purpose: its targets go at once. The row lives until they have gone.
    Deleted {
        at: Timestamp,
    },
    /// Its cluster left and keeps its targets: they stay in AWS and are ours no more.
    Relinquished {
        at: Timestamp,
    },
    /// Deleted together with too many others: one hold keeps them all until it is released or they return.
    DeletionHeld {
        at: Timestamp,
        hold: HoldId,
    },
}

/// A binding with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub id: BindingId,
    pub cluster: ClusterId,
    pub object: ObjectName,
    pub origin: Origin,
    /// `metadata.generation` of the object; the API's version for one declared there.
    pub generation: i64,
    pub lifecycle: Lifecycle,
    pub standing: Standing,
    /// The last valid spec. A binding whose present text is in error keeps what it had.
    pub spec: Option<BindingSpec>,
    /// What is wrong with the present text. Such a binding adds nothing and removes nothing.
    pub problem: Option<Problem>,
    pub version: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_or_a_name() {
        assert_eq!("80".parse(), Ok(PortRef::Number(80)));
        assert_eq!("http".parse(), Ok(PortRef::Name("http".into())));
        for bad in ["", "0", "65536", "HTTP", "a b"] {
            assert!(bad.parse::<PortRef>().is_err(), "{bad:?}");
        }
    }
}
