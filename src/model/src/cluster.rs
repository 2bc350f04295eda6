//! Registered clusters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, ClusterId, Name, Region, Shard,
    account::AssumableRole,
    ownership::Serve,
    parse::{Invalid, text_type},
};

/// What Elbow may do in AWS on behalf of a cluster. Must be chosen; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Plan only: no AWS write, ever.
    Observe,
    /// Register, never remove.
    AddOnly,
    Full,
}

impl FromStr for Mode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "observe" => Ok(Self::Observe),
            "add-only" => Ok(Self::AddOnly),
            "full" => Ok(Self::Full),
            _ => Err(Invalid::new("mode", text, "`observe`, `add-only` or `full`")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::AddOnly => "add-only",
            Self::Full => "full",
        })
    }
}

text_type!(Mode);

/// What becomes of the targets of a cluster that leaves. Must be chosen while there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// They stay in AWS and are ours no more.
    Keep,
    /// They are deregistered.
    Drain,
}

impl FromStr for Leaving {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "keep" => Ok(Self::Keep),
            "drain" => Ok(Self::Drain),
            _ => Err(Invalid::new("choice for targets", text, "`keep` or `drain`")),
        }
    }
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Drain => "drain",
        })
    }
}

text_type!(Leaving);

/// What a portal says about a cluster when it registers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    pub account: AccountId,
    pub region: Region,
    /// The VPC that the cluster's pods live in.
    pub vpc_id: VpcId,
    pub mode: Mode,
    /// Which of its TargetGroupBindings Elbow serves.
    #[serde(default)]
    pub serve: Serve,
    /// Whether its objects may bind target groups of its own account, region and VPC that nobody declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bind_undeclared: bool,
    /// The roles that its objects may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<AssumableRole>,
    /// The cluster's name in AWS, for tags. The name under which it is registered, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_name: Option<AwsName>,
}

impl ClusterSpec {
    pub fn shard(&self) -> Shard {
        Shard::new(self.account.clone(), self.region.clone())
    }
}

/// A registered cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: ClusterId,
    pub name: Name,
    pub spec: ClusterSpec,
    /// Set aside by an operator: it adds nothing new, and its silence does not count for the fleet.
    pub cordoned: bool,
    pub version: i64,
}

impl Cluster {
    /// The tag by which AWS resources say that they are the cluster's: `kubernetes.io/cluster/NAME`.
    pub fn aws_tag(&self) -> String {
        let name = self
            .spec
            .aws_name
            .as_ref()
            .map_or_else(|| self.name.to_string(), ToString::to_string);
        format!("kubernetes.io/cluster/{name}")
    }
}

/// What AWS calls a cluster: 1 to 100 letters, digits, `-` and `_`, as EKS names are
/// (<https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsName(String);

impl FromStr for AwsName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let valid = (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "cluster name in AWS",
                text,
                "1 to 100 letters, digits, `-` and `_`, a letter or digit first",
            ))
        }
    }
}

impl fmt::Display for AwsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(AwsName);

/// `vpc-` and 8, 17 or 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VpcId(String);

impl VpcId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VpcId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix("vpc-") {
            Some(hex) if matches!(hex.len(), 8 | 17 | 32) && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Invalid::new(
                "VPC id",
                text,
                "`vpc-` and 8, 17 or 32 hexadecimal digits",
            )),
        }
    }
}

impl fmt::Display for VpcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(VpcId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_a_mode_is_refused() {
        let spec =
            serde_json::json!({"account": "123456789012", "region": "us-east-1", "vpcId": "vpc-0a1b2c3d"});
        let error = serde_json::from_value::<ClusterSpec>(spec).unwrap_err();
        assert!(error.to_string().contains("mode"), "{error}");
    }

    #[test]
    fn the_tag_has_the_name_in_aws_or_the_cluster_s_own() {
        let cluster = |aws_name: Option<&str>| {
            let mut spec = serde_json::json!({"account": "123456789012", "region": "us-east-1", "vpcId": "vpc-0a1b2c3d", "mode": "full"});
            if let Some(name) = aws_name {
                spec["awsName"] = name.into();
            }
            Cluster {
                id: ClusterId(uuid::Uuid::nil()),
                name: "alpha".parse().unwrap(),
                spec: serde_json::from_value(spec).unwrap(),
                cordoned: false,
                version: 1,
            }
        };
        assert_eq!(cluster(None).aws_tag(), "kubernetes.io/cluster/alpha");
        assert_eq!(cluster(Some("Prod_1")).aws_tag(), "kubernetes.io/cluster/Prod_1");
        for bad in ["", "-a", "a b", "a/b"] {
            assert!(bad.parse::<AwsName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let spec = serde_json::json!({"account": "123456789012", "region": "us-east-1", "vpcId": "vpc-0a1b2c3d", "mode": "full", "moode": 1});
        let error = serde_json::from_value::<ClusterSpec>(spec).unwrap_err();
        assert!(error.to_string().contains("moode"), "{error}");
    }
}
