//! Who may reach the targets, in EC2's terms: what bindings need open in which security group, what a group's rules are,
//! and which of them are ours.
//!
//! AWS tells the rules of a security group apart by protocol, ports and peer, and never has two that are alike. A rule's
//! description says nothing about whose it is, so the ledger keeps AWS's id of each rule of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    BindingId, ClusterId, TargetId,
    binding::Peer,
    cluster::{Cluster, VpcId},
    condition::Problem,
    fact::{ObjectName, Protocol},
    ownership,
    parse::{Invalid, text_type},
    pause::{Pause, Scope},
};

macro_rules! aws_ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text.strip_prefix($prefix) {
                    Some(hex) if (8..=32).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                        Ok(Self(text.to_owned()))
                    }
                    _ => Err(Invalid::new($kind, text, $expected)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        text_type!($name);
    )*};
}

aws_ids! {
    /// `sg-…`.
    SecurityGroupId, "sg-", "security group id", "`sg-` and 8 to 32 hexadecimal digits";
    /// `sgr-…`: what AWS calls one rule. Never used again, so a rule that is made anew has another.
    SecurityGroupRuleId, "sgr-", "security group rule id", "`sgr-` and 8 to 32 hexadecimal digits";
}

/// Ports `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct PortRange {
    from: u16,
    to: u16,
}

#[derive(Serialize, Deserialize)]
struct Ends {
    from: u16,
    to: u16,
}

impl PortRange {
    /// Every port of a protocol.
    pub const ALL: Self = Self {
        from: 0,
        to: u16::MAX,
    };

    pub fn single(port: u16) -> Self {
        Self { from: port, to: port }
    }

    /// `None` if `from` lies behind `to`.
    pub fn new(from: u16, to: u16) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    pub fn from(self) -> u16 {
        self.from
    }

    pub fn to(self) -> u16 {
        self.to
    }

    pub fn covers(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }
}

impl TryFrom<Ends> for PortRange {
    type Error = Invalid;

    fn try_from(Ends { from, to }: Ends) -> Result<Self, Invalid> {
        let given = || format!("{from}-{to}");
        Self::new(from, to)
            .ok_or_else(|| Invalid::new("port range", &given(), "a first port that is not behind the last"))
    }
}

impl From<PortRange> for Ends {
    fn from(PortRange { from, to }: PortRange) -> Self {
        Self { from, to }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{}-{}", self.from, self.to)
        }
    }
}

/// What one ingress rule lets in, and all that AWS tells rules of one group apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    pub protocol: Protocol,
    pub peer: Peer,
    pub ports: PortRange,
}

impl Permission {
    /// Whether everything that `other` lets in is let in by this.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_alongside(other) && self.ports.covers(other.ports)
    }

    /// Whether the two differ in nothing but their ports.
    pub fn is_alongside(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.peer == other.peer
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            peer,
            ports,
        } = self;
        if *ports == PortRange::ALL {
            write!(f, "all {protocol} from {peer}")
        } else {
            write!(f, "{protocol} {ports} from {peer}")
        }
    }
}

/// The tag of every rule that Elbow makes; its value is the installation's id.
pub const INSTALLATION_TAG: &str = "elbow/installation";

/// What a binding needs open, by security group.
pub type Openings = BTreeMap<SecurityGroupId, BTreeSet<Permission>>;

/// The last computed openings of one binding in one security group, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub permissions: BTreeSet<Permission>,
    /// When `permissions` changed last.
    pub changed_at: Timestamp,
    /// `None`: the group's writer has not yet looked at these permissions.
    pub standing: Option<Standing>,
}

impl Opening {
    /// Permissions that are neither open nor refused.
    pub fn pending(&self) -> usize {
        match &self.standing {
            None => self.permissions.len(),
            Some(standing) if standing.problem.is_some() => 0,
            Some(standing) => self.permissions.difference(&standing.open).count(),
        }
    }
}

/// What the writer of a security group says about the openings of one binding. Equal rules give an equal standing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Permissions of the binding that AWS has.
    pub open: BTreeSet<Permission>,
    /// Equal rules of somebody else that serve the binding. They are watched, and never revoked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub borrowed: BTreeSet<SecurityGroupRuleId>,
    /// Rules of ours that serve the binding and let in more ports than it asks for: the group's limit forced them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub widened: BTreeSet<Permission>,
    /// Why the rest is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// An ingress rule as DescribeSecurityGroupRules has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRule {
    pub id: SecurityGroupRuleId,
    /// `None`: of a kind that Elbow never makes (another protocol, a prefix list).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<Permission>,
    /// The installation of Elbow that made it, as its tag says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<Uuid>,
}

/// Where a rule of ours is in its life; as [`LedgerState`](crate::ledger::LedgerState) for targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleState {
    /// AuthorizeSecurityGroupIngress was or will be sent; the outcome is not known.
    Authorizing,
    /// AWS made it, and its id is known.
    Authorized,
    /// RevokeSecurityGroupIngress was or will be sent; the outcome is not known.
    Revoking,
    /// AWS acknowledged the end. Kept until AWS is seen without it.
    Revoked,
}

/// One rule of ours in one security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRule {
    pub permission: Permission,
    /// `None` until AWS has named it. What has no id is never revoked.
    pub rule: Option<SecurityGroupRuleId>,
    pub state: RuleState,
    /// The clusters whose bindings it serves, or served last: their modes say whether it may go.
    pub clusters: BTreeSet<ClusterId>,
    /// The bindings that it serves, or served last; `None`: written by a server that did not say.
    pub bindings: Option<BTreeSet<BindingId>>,
    /// When `state` was written last.
    pub changed_at: Timestamp,
    /// When a call about it was last given up without an answer.
    pub ambiguous_at: Option<Timestamp>,
}

/// What is stored about one security group at one moment: all that a rule plan is made from but AWS's own words.
#[derive(Clone, Debug)]
pub struct SecurityGroupSnapshot {
    /// The database's clock when the rest was read; every other time here is of it.
    pub now: Timestamp,
    pub group: SecurityGroupId,
    /// The database went back in time, and no operator has released the shard yet.
    pub restored: bool,
    /// This installation of Elbow, as the tag on its rules says.
    pub installation: Uuid,
    pub openings: Vec<BoundOpening>,
    /// The pauses that concern the group, its openings or whom its rules serve, the widest first.
    pub pauses: Vec<(Scope, Pause)>,
    /// The clusters of the openings and of the ledger, but those that left and keep what they had.
    pub clusters: BTreeMap<ClusterId, Cluster>,
    pub ledger: Vec<LedgerRule>,
}

/// What one binding needs open in the security group at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundOpening {
    pub binding: BindingId,
    pub object: ObjectName,
    pub cluster: ClusterId,
    /// Who acts on the binding.
    pub standing: ownership::Standing,
    /// The binding is on its way out, and nobody has a say about what it has: its rules stay in AWS.
    pub relinquished: bool,
    pub permissions: BTreeSet<Permission>,
}

/// Whose network interface is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub vpc: VpcId,
    /// An address of the interface, or an instance, whose primary interface is meant.
    pub target: TargetId,
    /// The instance that the address is on, if the cluster says so: AWS finds no interface by an address of a prefix.
    pub host: Option<String>,
}

/// The security groups of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub id: String,
    pub groups: Vec<SecurityGroup>,
}

/// A security group as an interface has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    pub id: SecurityGroupId,
    pub tags: BTreeMap<String, String>,
}

/// What AWS says about network interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Only what AWS answered: `None` = there is no such interface. What is missing here is unknown.
    pub found: BTreeMap<Place, Option<Interface>>,
    /// Why something is missing.
    pub problem: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(from: u16, to: u16, peer: &str) -> Permission {
        Permission {
            protocol: Protocol::Tcp,
            peer: Peer::SecurityGroup(peer.parse().unwrap()),
            ports: PortRange::new(from, to).unwrap(),
        }
    }

    #[test]
    fn ids_are_what_aws_gives_out() {
        assert!("sg-0123456789abcdef0".parse::<SecurityGroupId>().is_ok());
        assert!("sgr-01234567".parse::<SecurityGroupRuleId>().is_ok());
        for bad in ["", "sg-", "sg-1", "sg-0123456g", "sgr-01234567", "0123456789"] {
            assert!(bad.parse::<SecurityGroupId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_cannot_be_made() {
        assert_eq!(PortRange::new(2, 1), None);
        let error = serde_json::from_str::<PortRange>(r#"{"from":2,"to":1}"#).unwrap_err();
        assert!(error.to_string().contains("2-1"), "{error}");
    }

    #[test]
    fn a_permission_covers_what_has_the_same_peer_and_no_more_ports() {
        let wide = permission(80, 90, "sg-0123456789abcdef0");
        assert!(wide.covers(&permission(80, 80, "sg-0123456789abcdef0")));
        assert!(!wide.covers(&permission(80, 91, "sg-0123456789abcdef0")));
        assert!(!wide.covers(&permission(80, 80, "sg-0123456789abcdef1")));
        assert_eq!(wide.to_string(), "TCP 80-90 from sg-0123456789abcdef0");
    }

    #[test]
    fn what_nobody_looked_at_is_pending_and_what_is_refused_is_not() {
        let wanted = permission(80, 80, "sg-0123456789abcdef0");
        let mut opening = Opening {
            permissions: BTreeSet::from([wanted.clone()]),
            changed_at: Timestamp::UNIX_EPOCH,
            standing: None,
        };
        assert_eq!(opening.pending(), 1);
        opening.standing = Some(Standing::default());
        assert_eq!(opening.pending(), 1);
        opening.standing = Some(Standing {
            problem: Some(Problem::new(crate::condition::Reason::QuotaExceeded, "full")),
            ..Standing::default()
        });
        assert_eq!(opening.pending(), 0);
        opening.standing = Some(Standing {
            open: BTreeSet::from([wanted]),
            ..Standing::default()
        });
        assert_eq!(opening.pending(), 0);
    }
}
