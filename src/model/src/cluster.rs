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
    fn an_unknown_field_is_refused_by_name() {
        let spec = serde_json::json!({"account": "123456789012", "region": "us-east-1", "vpcId": "vpc-0a1b2c3d", "mode": "full", "moode": 1});
        let error = serde_json::from_value::<ClusterSpec>(spec).unwrap_err();
        assert!(error.to_string().contains("moode"), "{error}");
    }
}
