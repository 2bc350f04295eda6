//! Targets: decisions about what a target group should send to. Endpoints are facts, targets are decisions.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::parse::{Invalid, text_type};

/// What a target group's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    Ip,
    Instance,
    Lambda,
    Alb,
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Instance => "instance",
            Self::Lambda => "lambda",
            Self::Alb => "alb",
        })
    }
}

impl FromStr for TargetType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "ip" => Ok(Self::Ip),
            "instance" => Ok(Self::Instance),
            "lambda" => Ok(Self::Lambda),
            "alb" => Ok(Self::Alb),
            _ => Err(Invalid::new(
                "target type",
                text,
                "`ip`, `instance`, `lambda` or `alb`",
            )),
        }
    }
}

/// The `Id` of a target as AWS takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetId {
    Ip(IpAddr),
    /// `i-…`; also whatever somebody else registered that is not an address.
    Named(String),
}

impl FromStr for TargetId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        if text.is_empty() || text.len() > 2048 || text.chars().any(char::is_whitespace) {
            return Err(Invalid::new(
                "target id",
                text,
                "an IP address, an instance id or an ARN",
            ));
        }
        Ok(Self::Named(text.to_owned()))
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

text_type!(TargetId);

/// What AWS tells targets of one group apart by: id and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetKey {
    pub id: TargetId,
    pub port: u16,
}

impl TargetKey {
    pub fn ip(address: IpAddr, port: u16) -> Self {
        Self {
            id: TargetId::Ip(address),
            port,
        }
    }
}

impl fmt::Display for TargetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            TargetId::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            id => write!(f, "{id}:{}", self.port),
        }
    }
}

/// The `AvailabilityZone` of a registration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Zone {
    /// `all`: required for an address outside the group's VPC.
    All,
    Named(String),
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Named(zone) => zone,
        })
    }
}

impl From<&str> for Zone {
    fn from(text: &str) -> Self {
        if text == "all" {
            Self::All
        } else {
            Self::Named(text.to_owned())
        }
    }
}

/// A registration to make: the key and, where AWS needs it, the zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    #[serde(flatten)]
    pub key: TargetKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
}

/// `TargetHealth.State` of DescribeTargetHealth
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthState {
    Initial,
    Healthy,
    Unhealthy,
    UnhealthyDraining,
    Unused,
    Draining,
    Unavailable,
    /// A state that AWS added later.
    Other(String),
}

/// One entry of DescribeTargetHealth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTarget {
    #[serde(flatten)]
    pub target: Target,
    pub state: HealthState,
    /// AWS's reason code, e.g. `Elb.RegistrationInProgress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// AWS's reason codes of targets that are good without a check.
const NOT_IN_USE: &str = "Target.NotInUse";
const HEALTH_CHECK_DISABLED: &str = "Target.HealthCheckDisabled";

impl ObservedTarget {
    /// Whether it can take traffic, as far as AWS says. Where no load balancer sends to the group, or nobody checks, there
    /// is nothing that could be waited for. `None`: it is not decided yet, or not known.
    pub fn serves(&self) -> Option<bool> {
        match (&self.state, self.reason.as_deref()) {
            (HealthState::Healthy, _)
            | (HealthState::Unused, Some(NOT_IN_USE))
            | (HealthState::Unavailable, Some(HEALTH_CHECK_DISABLED)) => Some(true),
            (
                HealthState::Unhealthy
                | HealthState::UnhealthyDraining
                | HealthState::Unused
                | HealthState::Draining,
                _,
            ) => Some(false),
            (HealthState::Initial | HealthState::Unavailable | HealthState::Other(_), _) => None,
        }
    }

    /// Whether AWS counts it as registered: a draining target was deregistered, and `Target.NotRegistered` says itself.
    pub fn is_registered(&self) -> bool {
        !matches!(self.state, HealthState::Draining)
            && !matches!(
                self.reason.as_deref(),
                Some("Target.NotRegistered" | "Target.DeregistrationInProgress")
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_like_a_socket_address() {
        assert_eq!(
            TargetKey::ip("10.0.0.1".parse().unwrap(), 80).to_string(),
            "10.0.0.1:80"
        );
        assert_eq!(
            TargetKey::ip("fd00::1".parse().unwrap(), 80).to_string(),
            "[fd00::1]:80"
        );
        assert_eq!(
            TargetKey {
                id: "i-0abc".parse().unwrap(),
                port: 30001
            }
            .to_string(),
            "i-0abc:30001"
        );
    }

    #[test]
    fn a_target_serves_where_aws_calls_it_healthy_or_checks_nothing() {
        let serves = |state, reason: Option<&str>| {
            let target = Target {
                key: TargetKey::ip("10.0.0.1".parse().unwrap(), 80),
                zone: None,
            };
            let observed = ObservedTarget {
                target,
                state,
                reason: reason.map(str::to_owned),
                description: None,
            };
            observed.serves()
        };
        assert_eq!(serves(HealthState::Healthy, None), Some(true));
        assert_eq!(serves(HealthState::Unused, Some("Target.NotInUse")), Some(true));
        assert_eq!(
            serves(HealthState::Unused, Some("Target.InvalidState")),
            Some(false)
        );
        assert_eq!(
            serves(HealthState::Unavailable, Some("Target.HealthCheckDisabled")),
            Some(true)
        );
        assert_eq!(serves(HealthState::Unavailable, Some("Elb.InternalError")), None);
        assert_eq!(
            serves(HealthState::Initial, Some("Elb.InitialHealthChecking")),
            None
        );
        assert_eq!(
            serves(HealthState::Unhealthy, Some("Target.Timeout")),
            Some(false)
        );
    }

    #[test]
    fn two_spellings_of_one_address_are_one_target() {
        let a: TargetId = "fd00::1".parse().unwrap();
        let b: TargetId = "fd00:0:0::0001".parse().unwrap();
        assert_eq!(a, b);
    }
}
