//! What a managed target group is to be, as CreateTargetGroup, ModifyTargetGroup and ModifyTargetGroupAttributes take it
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html>).
//!
//! What cannot change in AWS is the group's [`Identity`]; what can is a flat map of [`Setting`]s, so that one diff covers
//! health checks, attributes and tags. A setting that is left out is not touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, Protocol, ProtocolVersion, Setting, check};
use crate::{
    AccountId, Region, Shard,
    cluster::VpcId,
    condition::{Problem, Reason},
    target::TargetType,
    target_group::IpAddressType,
};

/// Says whose a group is; its value is the installation's id.
pub use crate::network::INSTALLATION_TAG;
/// Says which declaration a group is of; its value is the declaration's name.
pub const TARGET_GROUP_TAG: &str = "elbow/target-group";
/// What is done about a setting that somebody changed in AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftPolicy {
    /// It is told, and stays: a setting that somebody turned by hand in a bad night is not turned back behind their back.
    #[default]
    Report,
    /// It is told, and set as declared.
    Repair,
}

/// How AWS finds out whether a target is healthy. For targets of these types the check cannot be switched off, so there
/// is no such field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthCheck {
    /// `HTTP`, `HTTPS`, or, for groups of network load balancers, `TCP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// A number, or `traffic-port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Of checks by HTTP. For gRPC `/package.service/method`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_threshold: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_threshold: Option<u16>,
    /// The codes of a healthy answer: `200`, `200,202` or `200-299`; of gRPC `0` to `99`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matcher: Option<String>,
}

/// The attributes that are known here by name, and the rest as AWS names them
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Attributes {
    /// `deregistration_delay.timeout_seconds`, 0–3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deregistration_delay_seconds: Option<u32>,
    /// `slow_start.duration_seconds`: 0 for none, or 30–900.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start_seconds: Option<u32>,
    /// `load_balancing.algorithm.type`: `round_robin`, `least_outstanding_requests` or `weighted_random`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// `stickiness.enabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<bool>,
    /// `stickiness.type`: `lb_cookie`, `app_cookie`; `source_ip` for network load balancers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness_type: Option<String>,
    /// `stickiness.lb_cookie.duration_seconds`, 1–604800.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness_cookie_seconds: Option<u32>,
    /// `preserve_client_ip.enabled`, of network load balancers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preserve_client_ip: Option<bool>,
    /// `proxy_protocol_v2.enabled`, of network load balancers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol_v2: Option<bool>,
    /// Others, as AWS names them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
}

impl Attributes {
    /// As AWS names them, with the field that states each.
    pub(super) fn named(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        let Self {
            deregistration_delay_seconds,
            slow_start_seconds,
            algorithm,
            stickiness,
            stickiness_type,
            stickiness_cookie_seconds,
            preserve_client_ip,
            proxy_protocol_v2,
            other: _,
        } = self;
        vec![
            (
                "deregistrationDelaySeconds",
                "deregistration_delay.timeout_seconds",
                deregistration_delay_seconds.as_ref().map(ToString::to_string),
            ),
            (
                "slowStartSeconds",
                "slow_start.duration_seconds",
                slow_start_seconds.as_ref().map(ToString::to_string),
            ),
            ("algorithm", "load_balancing.algorithm.type", algorithm.clone()),
            (
                "stickiness",
                "stickiness.enabled",
                stickiness.as_ref().map(ToString::to_string),
            ),
            ("stickinessType", "stickiness.type", stickiness_type.clone()),
            (
                "stickinessCookieSeconds",
                "stickiness.lb_cookie.duration_seconds",
                stickiness_cookie_seconds.as_ref().map(ToString::to_string),
            ),
            (
                "preserveClientIp",
                "preserve_client_ip.enabled",
                preserve_client_ip.as_ref().map(ToString::to_string),
            ),
            (
                "proxyProtocolV2",
                "proxy_protocol_v2.enabled",
                proxy_protocol_v2.as_ref().map(ToString::to_string),
            ),
        ]
    }
}

/// A managed group as it is written. [`ManagedSpec`] is one that is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    pub account: AccountId,
    pub region: Region,
    pub vpc_id: VpcId,
    /// Its name in AWS.
    pub name: String,
    pub target_type: TargetType,
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<ProtocolVersion>,
    /// The port of targets that are registered without one. Elbow registers each with its own.
    pub port: u16,
    #[serde(default)]
    pub ip_address_type: IpAddressType,
    #[serde(default)]
    pub health_check: HealthCheck,
    #[serde(default)]
    pub attributes: Attributes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub drift: DriftPolicy,
    /// While it is on, the group is not deleted, whoever asks. On by default.
    #[serde(default = "protected")]
    pub deletion_protection: bool,
}

fn protected() -> bool {
    true
}

/// What a managed group is to be. A constructed one is what AWS would take, as far as its documents say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct ManagedSpec(Settings);

impl std::ops::Deref for ManagedSpec {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl From<ManagedSpec> for Settings {
    fn from(spec: ManagedSpec) -> Self {
        spec.0
    }
}

impl TryFrom<Settings> for ManagedSpec {
    type Error = Problem;

    /// The first thing that is wrong: the field below `spec.managed`, and the way out.
    fn try_from(settings: Settings) -> Result<Self, Problem> {
        check::check(&settings)?;
        Ok(Self(settings))
    }
}

/// What AWS fixes when it makes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub target_type: TargetType,
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    pub port: u16,
    pub vpc_id: String,
    pub ip_address_type: IpAddressType,
}

impl Identity {
    /// Field by field, for comparisons and messages.
    pub fn fields(&self) -> [(&'static str, String); 6] {
        let Self {
            target_type,
            protocol,
            protocol_version,
            port,
            vpc_id,
            ip_address_type,
        } = self;
        [
            ("targetType", target_type.to_string()),
            ("protocol", protocol.clone()),
            ("protocolVersion", protocol_version.clone().unwrap_or_default()),
            ("port", port.to_string()),
            ("vpcId", vpc_id.clone()),
            ("ipAddressType", ip_address_type.to_string()),
        ]
    }
}

impl ManagedSpec {
    /// The account and region, whose writer makes it.
    pub fn shard(&self) -> Shard {
        Shard::new(self.account.clone(), self.region.clone())
    }

    pub fn identity(&self) -> Identity {
        let http1 = self.protocol.is_http().then_some(ProtocolVersion::Http1);
        let version = self.protocol_version.or(http1);
        Identity {
            target_type: self.target_type,
            protocol: self.protocol.to_string(),
            protocol_version: version.map(|version| version.as_str().to_owned()),
            port: self.port,
            vpc_id: self.vpc_id.to_string(),
            ip_address_type: self.ip_address_type,
        }
    }

    /// Everything that it states and that can change.
    pub fn stated(&self) -> BTreeMap<Setting, String> {
        let HealthCheck {
            protocol,
            port,
            path,
            interval_seconds,
            timeout_seconds,
            healthy_threshold,
            unhealthy_threshold,
            matcher,
        } = &self.health_check;
        let number = |number: &Option<u16>| number.as_ref().map(ToString::to_string);
        let check = [
            (Check::Protocol, protocol.map(|protocol| protocol.to_string())),
            (Check::Port, port.clone()),
            (Check::Path, path.clone()),
            (Check::IntervalSeconds, number(interval_seconds)),
            (Check::TimeoutSeconds, number(timeout_seconds)),
            (Check::HealthyThreshold, number(healthy_threshold)),
            (Check::UnhealthyThreshold, number(unhealthy_threshold)),
            (Check::Matcher, matcher.clone()),
        ]
        .into_iter()
        .filter_map(|(check, value)| Some((Setting::HealthCheck(check), value?)));
        let named = self
            .attributes
            .named()
            .into_iter()
            .filter_map(|(_, key, value)| Some((Setting::Attribute(key.to_owned()), value?)));
        let other = self.attributes.other.iter();
        let other = other.map(|(key, value)| (Setting::Attribute(key.clone()), value.clone()));
        let tags = self.tags.iter();
        let tags = tags.map(|(key, value)| (Setting::Tag(key.clone()), value.clone()));
        check.chain(named).chain(other).chain(tags).collect()
    }

    /// Why it cannot become `other`, if it cannot.
    pub fn refuses(&self, other: &Self) -> Option<Problem> {
        let place = |spec: &Self| {
            [
                ("account", spec.account.to_string()),
                ("region", spec.region.to_string()),
                ("name", spec.name.clone()),
            ]
        };
        let (before, after) = (self.identity().fields(), other.identity().fields());
        let before = place(self).into_iter().chain(before);
        let (field, value) = before
            .zip(place(other).into_iter().chain(after))
            .find_map(|((field, before), (_, after))| (before != after).then_some((field, before)))?;
        Some(Problem::at(
            Reason::ImmutableField,
            format!("spec.managed.{field}"),
            format!(
                "it is `{value}`, and AWS cannot change it: declare a new target group by another name, move the bindings \
                 to it, and then delete this one"
            ),
        ))
    }
}
