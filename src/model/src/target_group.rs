//! Target groups: what a portal declared and what AWS says of them.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Name, TargetGroupArn, target::TargetType};

/// Address family of an ip target group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpAddressType {
    #[default]
    Ipv4,
    Ipv6,
}

impl fmt::Display for IpAddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// A target group that somebody else made and that Elbow may put targets into: nothing else of it is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetGroupSpec {
    pub arn: TargetGroupArn,
    /// The clusters whose bindings may use it, from any namespace. Nobody else's may, but for `grants`.
    pub clusters: Vec<Name>,
    /// Further leave, for single namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

/// Leave for some namespaces of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    pub cluster: Name,
    pub namespaces: Vec<String>,
}

impl TargetGroupSpec {
    /// Whether bindings of the cluster's namespace may use the group.
    pub fn admits(&self, cluster: &Name, namespace: &str) -> bool {
        admits(&self.clusters, &self.grants, cluster, namespace)
    }

    /// Every cluster that may use the group, in part or in whole.
    pub fn admitted_clusters(&self) -> impl Iterator<Item = &Name> {
        self.clusters
            .iter()
            .chain(self.grants.iter().map(|grant| &grant.cluster))
    }

    /// Whether it is meant for more than one cluster.
    pub fn is_shared(&self) -> bool {
        let mut clusters = self.admitted_clusters();
        clusters
            .next()
            .is_some_and(|first| clusters.any(|other| other != first))
    }
}

/// Whether who is named here includes the cluster's namespace.
pub fn admits(clusters: &[Name], grants: &[Grant], cluster: &Name, namespace: &str) -> bool {
    let granted = |grant: &Grant| {
        grant.cluster == *cluster && grant.namespaces.iter().any(|granted| granted == namespace)
    };
    clusters.contains(cluster) || grants.iter().any(granted)
}

/// A declared target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    pub name: Name,
    pub spec: TargetGroupSpec,
    pub version: i64,
}

/// What DescribeTargetGroups and DescribeVpcs say about a group; fixed at its creation but for the VPC's CIDRs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetGroupFacts {
    pub target_type: TargetType,
    /// `HTTP`, `TCP`, …; absent for lambda groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    pub ip_address_type: IpAddressType,
    /// The VPC's CIDR blocks, IPv4 and IPv6. `None` = they could not be read, so nothing is known to be outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_cidrs: Option<Vec<IpNet>>,
    /// Whether a load balancer forwards to it at present.
    pub in_use: bool,
}
