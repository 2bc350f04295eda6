//! Target groups that Elbow manages.

use std::collections::{BTreeMap, BTreeSet};

use control::{JournaledPlan, ManagedState};
use jiff::Timestamp;
use model::{
    AccountId, Name, Observed, PlanId, Region,
    cluster::VpcId,
    condition::{Readiness, Reason, Truth},
    managed::{
        Attributes as ModelAttributes, Difference, DriftPolicy, Ending, GroupHold, GroupPlan as ModelPlan,
        GroupStep, HealthCheck as ModelCheck, ManagedSpec, Protocol, ProtocolVersion, Setting, Settings,
    },
    target::TargetType,
    target_group::IpAddressType,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{binding::Condition, word};
use crate::problem::Problem;

/// What a target group of Elbow's is to be. What is left out is AWS's default when the group is made, and not touched
/// afterwards.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct ManagedTargetGroup {
    /// The AWS account, twelve digits; cannot change.
    #[schema(value_type = String, pattern = "^[0-9]{12}$", example = "123456789012")]
    account: AccountId,
    /// The AWS region; cannot change.
    #[schema(value_type = String, pattern = "^[a-z]+(-[a-z]+)+-[0-9]+$", example = "eu-central-1")]
    region: Region,
    /// Cannot change.
    #[schema(value_type = String, pattern = "^vpc-[0-9a-fA-F]+$")]
    vpc_id: VpcId,
    /// Its name in AWS; cannot change.
    #[schema(pattern = "^[0-9A-Za-z]([0-9A-Za-z-]{0,30}[0-9A-Za-z])?$")]
    name: String,
    /// `ip` or `instance`; cannot change.
    #[schema(value_type = String, pattern = "^(ip|instance)$")]
    target_type: TargetType,
    /// `HTTP`, `HTTPS`, `TCP`, `TLS`, `UDP`, `TCP_UDP`, `QUIC` or `TCP_QUIC`; cannot change.
    #[schema(value_type = String, pattern = "^(HTTPS?|TCP|TLS|UDP|TCP_UDP|QUIC|TCP_QUIC)$")]
    protocol: Protocol,
    /// Of HTTP and HTTPS: `HTTP1`, `HTTP2` or `GRPC`; cannot change.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false, pattern = "^(HTTP1|HTTP2|GRPC)$")]
    protocol_version: Option<ProtocolVersion>,
    /// The port of targets that are registered without one. Elbow registers each with its own. Cannot change.
    #[schema(minimum = 1)]
    port: u16,
    /// `ipv4` or `ipv6`; cannot change.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^ipv[46]$", default = "ipv4")]
    ip_address_type: IpAddressType,
    #[serde(default)]
    health_check: HealthCheck,
    #[serde(default)]
    attributes: Attributes,
    /// Beside those of Elbow, which begin with `elbow/`.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// What is done about a setting that somebody changes in AWS: `report` or `repair`.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^(report|repair)$", default = "report")]
    drift: DriftPolicy,
    /// While it is on, the group is not deleted in AWS, whoever asks.
    #[serde(default = "protected")]
    #[schema(default = true)]
    deletion_protection: bool,
}

fn protected() -> bool {
    true
}

/// How AWS finds out whether a target is healthy.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct HealthCheck {
    /// `HTTP`, `HTTPS`, or, for groups of network load balancers, `TCP`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false, pattern = "^(HTTPS?|TCP)$")]
    protocol: Option<Protocol>,
    /// A number, or `traffic-port`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    port: Option<String>,
    /// Of checks by HTTP. For gRPC `/package.service/method`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, pattern = "^/")]
    path: Option<String>,
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 5, maximum = 300)]
    interval_seconds: Option<u16>,
    /// Less than `intervalSeconds`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 2, maximum = 120)]
    timeout_seconds: Option<u16>,
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 2, maximum = 10)]
    healthy_threshold: Option<u16>,
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 2, maximum = 10)]
    unhealthy_threshold: Option<u16>,
    /// The codes of a healthy answer: `200`, `200,202` or `200-299`; of gRPC `0` to `99`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    matcher: Option<String>,
}

/// The attributes that have a name of their own here, and the rest as AWS names them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct Attributes {
    /// `deregistration_delay.timeout_seconds`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, maximum = 3600)]
    deregistration_delay_seconds: Option<u32>,
    /// `slow_start.duration_seconds`: 0 for none, or 30–900.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, maximum = 900)]
    slow_start_seconds: Option<u32>,
    /// `load_balancing.algorithm.type`: `round_robin`, `least_outstanding_requests` or `weighted_random`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    algorithm: Option<String>,
    /// `stickiness.enabled`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    stickiness: Option<bool>,
    /// `stickiness.type`: `lb_cookie`, `app_cookie`; `source_ip` for network load balancers.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    stickiness_type: Option<String>,
    /// `stickiness.lb_cookie.duration_seconds`.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 1, maximum = 604_800)]
    stickiness_cookie_seconds: Option<u32>,
    /// `preserve_client_ip.enabled`, of network load balancers.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    preserve_client_ip: Option<bool>,
    /// `proxy_protocol_v2.enabled`, of network load balancers.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    proxy_protocol_v2: Option<bool>,
    /// Others, as AWS names them.
    #[serde(default)]
    other: BTreeMap<String, String>,
}

/// How a managed target group stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ManagedStatus {
    /// `creating`, `adopting`, `present`, `deleting` or `releasing`; absent: nothing in AWS is Elbow's yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    state: Option<String>,
    /// It is on its way out, and what becomes of it in AWS: `delete`, `keep`, or `release` (it stays declared as somebody
    /// else's).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ending: Option<String>,
    ready: Condition,
    /// What is done next, in this order.
    steps: Vec<ManagedStep>,
    holds: Vec<ManagedHold>,
    /// What somebody changed in AWS.
    drift: Vec<Drift>,
    /// What AWS has: `healthCheck.FIELD`, `attributes.KEY`, `tags.KEY`; empty: not yet known.
    settings: BTreeMap<String, String>,
}

/// One thing to do with the group itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ManagedStep {
    /// `create`, `adopt`, `modify`, `setAttributes`, `tag`, `untag`, `delete` and `release` call AWS; `confirm`, `note` and
    /// `forget` change what is Elbow's.
    action: &'static str,
    /// What is set.
    settings: BTreeMap<String, String>,
    /// What is taken away.
    removed: Vec<String>,
}

/// A step that waits, and for what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ManagedHold {
    reason: String,
    /// What lifts it.
    release: &'static str,
    step: ManagedStep,
}

/// A setting that AWS has otherwise than it is declared.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Drift {
    setting: String,
    declared: String,
    /// Absent: AWS does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    observed: Option<String>,
}

/// What was to happen to a managed target group itself, and why the rest waited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct GroupPlan {
    #[schema(value_type = String)]
    target_group: Name,
    /// In the order in which they are applied.
    steps: Vec<ManagedStep>,
    holds: Vec<ManagedHold>,
    drift: Vec<Drift>,
}

/// A plan of a managed target group that was made, with what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct JournaledGroupPlan {
    #[schema(value_type = uuid::Uuid)]
    id: PlanId,
    at: Timestamp,
    /// The epoch of the replica that made it.
    epoch: u64,
    plan: GroupPlan,
    /// What became of its steps, with AWS's request ids; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    outcome: Option<serde_json::Value>,
}

impl From<JournaledPlan<ModelPlan>> for JournaledGroupPlan {
    fn from(journaled: JournaledPlan<ModelPlan>) -> Self {
        let JournaledPlan {
            id,
            at,
            epoch,
            plan,
            outcome,
        } = journaled;
        Self {
            id,
            at,
            epoch,
            plan: plan.into(),
            outcome,
        }
    }
}

impl From<ModelPlan> for GroupPlan {
    fn from(plan: ModelPlan) -> Self {
        // The version, observations and the clock are how the loop goes on.
        let ModelPlan {
            name,
            version: _,
            steps,
            observe: _,
            wake_at: _,
            status,
        } = plan;
        Self {
            target_group: name,
            steps: steps.into_iter().map(Into::into).collect(),
            holds: status.holds.into_iter().map(Into::into).collect(),
            drift: status.drift.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<ManagedTargetGroup> for ManagedSpec {
    type Error = Problem;

    fn try_from(group: ManagedTargetGroup) -> Result<Self, Problem> {
        let ManagedTargetGroup {
            account,
            region,
            vpc_id,
            name,
            target_type,
            protocol,
            protocol_version,
            port,
            ip_address_type,
            health_check,
            attributes,
            tags,
            drift,
            deletion_protection,
        } = group;
        let settings = Settings {
            account,
            region,
            vpc_id,
            name,
            target_type,
            protocol,
            protocol_version,
            port,
            ip_address_type,
            health_check: health_check.into(),
            attributes: attributes.into(),
            tags,
            drift,
            deletion_protection,
        };
        Self::try_from(settings).map_err(Problem::of_spec)
    }
}

impl From<ManagedSpec> for ManagedTargetGroup {
    fn from(spec: ManagedSpec) -> Self {
        let Settings {
            account,
            region,
            vpc_id,
            name,
            target_type,
            protocol,
            protocol_version,
            port,
            ip_address_type,
            health_check,
            attributes,
            tags,
            drift,
            deletion_protection,
        } = spec.into();
        Self {
            account,
            region,
            vpc_id,
            name,
            target_type,
            protocol,
            protocol_version,
            port,
            ip_address_type,
            health_check: health_check.into(),
            attributes: attributes.into(),
            tags,
            drift,
            deletion_protection,
        }
    }
}

/// The same fields, both ways.
macro_rules! same_fields {
    ($rest:ident, $model:ident, { $($field:ident),* $(,)? }) => {
        impl From<$rest> for $model {
            fn from(it: $rest) -> Self {
                let $rest { $($field),* } = it;
                Self { $($field),* }
            }
        }

        impl From<$model> for $rest {
            fn from(it: $model) -> Self {
                let $model { $($field),* } = it;
                Self { $($field),* }
            }
        }
    };
}

same_fields!(HealthCheck, ModelCheck, {
    protocol, port, path, interval_seconds, timeout_seconds, healthy_threshold, unhealthy_threshold, matcher,
});
same_fields!(Attributes, ModelAttributes, {
    deregistration_delay_seconds, slow_start_seconds, algorithm, stickiness, stickiness_type, stickiness_cookie_seconds,
    preserve_client_ip, proxy_protocol_v2, other,
});

impl From<ManagedState> for ManagedStatus {
    fn from(state: ManagedState) -> Self {
        let ManagedState {
            spec: _,
            adopts: _,
            ending,
            state,
            status,
            observed,
        } = state;
        let (ready, steps, holds, drift) = match status {
            Some(status) => (status.ready, status.steps, status.holds, status.drift),
            None => (unseen(ending), Vec::new(), Vec::new(), Vec::new()),
        };
        let settings = match observed {
            Observed::Present { value, .. } => texts(value.settings),
            Observed::Unknown | Observed::Absent { .. } => BTreeMap::new(),
        };
        Self {
            state: state.map(|state| word(&state)),
            ending: ending.map(|ending| word(&ending)),
            ready: ready.into(),
            steps: steps.into_iter().map(Into::into).collect(),
            holds: holds.into_iter().map(Into::into).collect(),
            drift: drift.into_iter().map(Into::into).collect(),
            settings,
        }
    }
}

/// Its writer has not looked at it yet.
fn unseen(ending: Option<Ending>) -> Readiness {
    Readiness {
        status: Truth::Unknown,
        reason: if ending.is_some() {
            Reason::Progressing
        } else {
            Reason::AwaitingAws
        },
        message: "the target group has not been looked at yet".to_owned(),
    }
}

fn texts(settings: BTreeMap<Setting, String>) -> BTreeMap<String, String> {
    let text = |(setting, value): (Setting, String)| (setting.to_string(), value);
    settings.into_iter().map(text).collect()
}

impl From<GroupStep> for ManagedStep {
    fn from(step: GroupStep) -> Self {
        let action = step.action();
        let (settings, removed) = match step {
            GroupStep::Create { settings }
            | GroupStep::Adopt { arn: _, settings }
            | GroupStep::Modify { arn: _, settings }
            | GroupStep::SetAttributes { arn: _, settings }
            | GroupStep::Tag { arn: _, settings } => (settings, BTreeSet::new()),
            GroupStep::Untag { arn: _, keys } | GroupStep::Release { arn: _, keys } => {
                (BTreeMap::new(), keys)
            }
            GroupStep::Note { settings, dropped } => (settings, dropped),
            GroupStep::Confirm { arn: _ } | GroupStep::Delete { arn: _ } | GroupStep::Forget => {
                (BTreeMap::new(), BTreeSet::new())
            }
        };
        Self {
            action,
            settings: texts(settings),
            removed: removed.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<GroupHold> for ManagedHold {
    fn from(hold: GroupHold) -> Self {
        let GroupHold { reason, step } = hold;
        Self {
            reason: reason.to_string(),
            release: reason.release(),
            step: step.into(),
        }
    }
}

impl From<Difference> for Drift {
    fn from(difference: Difference) -> Self {
        let Difference {
            setting,
            declared,
            observed,
        } = difference;
        Self {
            setting: setting.to_string(),
            declared,
            observed,
        }
    }
}
