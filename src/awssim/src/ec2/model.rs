//! What EC2 keeps.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) type Tags = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub(crate) struct Vpc {
    pub(crate) id: String,
    /// The first one is the primary one.
    pub(crate) cidrs: Vec<IpNet>,
    pub(crate) is_default: bool,
    pub(crate) tags: Tags,
}

impl Vpc {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.cidrs.iter().any(|cidr| cidr.contains(&address))
    }

    pub(crate) fn primary(&self) -> IpNet {
        *self.cidrs.first().expect("a VPC has a primary CIDR")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) cidr: IpNet,
    pub(crate) zone: String,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) vpc: String,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) tags: Tags,
}

/// One rule of a security group under its `sgr-` id. AWS tells two rules apart by what they match, never by their
/// description.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) egress: bool,
    pub(crate) matches: RuleMatch,
    pub(crate) description: Option<String>,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RuleMatch {
    pub(crate) protocol: String,
    /// `None` for all protocols (-1).
    pub(crate) ports: Option<(i32, i32)>,
    pub(crate) peer: Peer,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    V4(String),
    V6(String),
    PrefixList(String),
    Group { id: String, owner: String },
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    Pending,
    #[default]
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) subnet: String,
    pub(crate) zone: String,
    pub(crate) address: IpAddr,
    pub(crate) security_groups: Vec<String>,
    pub(crate) image: String,
    pub(crate) kind: String,
    pub(crate) state: InstanceState,
    pub(crate) launched: Timestamp,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct NetworkInterface {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) subnet: String,
    pub(crate) zone: String,
    /// The first one is the primary one.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) prefixes: Vec<IpNet>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) instance: Option<String>,
    pub(crate) description: String,
    pub(crate) tags: Tags,
}

/// A MAC address that follows from an id.
pub(crate) fn mac(id: &str) -> String {
    let digits: Vec<char> = id.chars().filter(char::is_ascii_hexdigit).collect();
    let tail = digits.len().saturating_sub(10);
    let pairs: Vec<String> = digits[tail..]
        .chunks(2)
        .map(|pair| pair.iter().collect())
        .collect();
    format!("02:{}", pairs.join(":"))
}

/// Parses text, or answers what EC2 says of a value that does not parse.
pub(super) fn parse<T: FromStr>(key: &str, text: &str) -> Result<T, crate::error::AwsError> {
    text.parse()
        .map_err(|_| crate::error::AwsError::malformed(key, text))
}
