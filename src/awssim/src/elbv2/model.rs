//! What ELBv2 keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::ScriptedHealth;

pub(crate) type Tags = BTreeMap<String, String>;

/// What the targets of a group are. Lambda groups are not simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    #[default]
    Instance,
    Ip,
    Alb,
}

impl TargetType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Ip => "ip",
            Self::Alb => "alb",
        }
    }
}

impl FromStr for TargetType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "instance" => Ok(Self::Instance),
            "ip" => Ok(Self::Ip),
            "alb" => Ok(Self::Alb),
            _ => Err(()),
        }
    }
}

/// A protocol of a listener, a target group or a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    Http,
    Https,
    Tcp,
    Tls,
    Udp,
    TcpUdp,
    Geneve,
    Quic,
    TcpQuic,
}

impl Protocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
            Self::Geneve => "GENEVE",
            Self::Quic => "QUIC",
            Self::TcpQuic => "TCP_QUIC",
        }
    }

    /// Spoken by application load balancers.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Needs a certificate on a listener.
    pub(crate) fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Http | Self::Https => Kind::Application,
            Self::Geneve => Kind::Gateway,
            Self::Tcp | Self::Tls | Self::Udp | Self::TcpUdp | Self::Quic | Self::TcpQuic => Kind::Network,
        }
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Http,
            Self::Https,
            Self::Tcp,
            Self::Tls,
            Self::Udp,
            Self::TcpUdp,
            Self::Geneve,
            Self::Quic,
            Self::TcpQuic,
        ]
        .into_iter()
        .find(|protocol| protocol.as_str() == text)
        .ok_or(())
    }
}

/// A kind of load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Application,
    Network,
    Gateway,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Network => "network",
            Self::Gateway => "gateway",
        }
    }

    /// As it appears in ARNs.
    pub(crate) fn in_arn(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Network => "net",
            Self::Gateway => "gwy",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Application, Self::Network, Self::Gateway]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) protocol: Protocol,
    pub(crate) port: String,
    pub(crate) path: Option<String>,
    pub(crate) matcher: Option<Matcher>,
    pub(crate) interval: u32,
    pub(crate) timeout: u32,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Matcher {
    Http(String),
    Grpc(String),
}

/// The settings by which a repeated CreateTargetGroup is told from a conflicting one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetGroupSpec {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) protocol_version: Option<String>,
    pub(crate) port: u16,
    pub(crate) vpc: String,
    pub(crate) target_type: TargetType,
    pub(crate) ip_address_type: String,
    pub(crate) health_check: HealthCheck,
}

#[derive(Debug, Clone)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    pub(crate) spec: TargetGroupSpec,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: Tags,
    pub(crate) targets: BTreeMap<TargetKey, Target>,
    /// The load balancers whose listeners forward here.
    pub(crate) load_balancers: BTreeSet<String>,
    /// Since when at least one does.
    pub(crate) in_use_since: Option<Timestamp>,
}

/// A target is its id and its port: one address on two ports is two targets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetKey {
    pub(crate) id: String,
    pub(crate) port: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) zone: Option<String>,
    pub(crate) registered: Timestamp,
    pub(crate) deregistered: Option<Timestamp>,
    pub(crate) scripted: Option<ScriptedHealth>,
}

/// The settings by which a repeated CreateLoadBalancer is told from a conflicting one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadBalancerSpec {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) internal: bool,
    pub(crate) subnets: BTreeSet<String>,
    pub(crate) security_groups: BTreeSet<String>,
    pub(crate) ip_address_type: String,
}

#[derive(Debug, Clone)]
pub(crate) struct LoadBalancer {
    pub(crate) arn: String,
    pub(crate) spec: LoadBalancerSpec,
    pub(crate) vpc: String,
    pub(crate) dns_name: String,
    pub(crate) created: Timestamp,
    /// The groups that its listeners forward to.
    pub(crate) target_groups: BTreeSet<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerSpec {
    pub(crate) load_balancer: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) certificate: Option<String>,
    pub(crate) ssl_policy: Option<String>,
    pub(crate) alpn_policy: Vec<String>,
    pub(crate) actions: Vec<Action>,
}

#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) arn: String,
    pub(crate) spec: ListenerSpec,
    pub(crate) tags: Tags,
}

/// What a listener does with a request that no rule takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Forward {
        target_groups: Vec<WeightedGroup>,
        /// Seconds.
        stickiness: Option<u32>,
    },
    FixedResponse {
        status: String,
        content_type: Option<String>,
        body: Option<String>,
    },
    /// Field name → value, as AWS spells them.
    Redirect(BTreeMap<String, String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WeightedGroup {
    pub(crate) arn: String,
    pub(crate) weight: u16,
}

impl Listener {
    pub(crate) fn target_groups(&self) -> impl Iterator<Item = &str> {
        self.spec.actions.iter().flat_map(Action::target_groups)
    }
}

impl Action {
    pub(crate) fn target_groups(&self) -> impl Iterator<Item = &str> {
        let groups = match self {
            Self::Forward { target_groups, .. } => target_groups.as_slice(),
            Self::FixedResponse { .. } | Self::Redirect(_) => &[],
        };
        groups.iter().map(|group| group.arn.as_str())
    }
}
