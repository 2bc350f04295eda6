//! Target groups.

use control::view::TargetGroupView;
use jiff::Timestamp;
use model::{
    Name, Observed, TargetGroupArn,
    target::{ObservedTarget, Target},
    target_group::{self as model_group, TargetGroupFacts},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::word;

/// A target group that somebody else made and that bindings may put targets into.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct TargetGroup {
    #[schema(value_type = String)]
    name: Name,
    spec: TargetGroupSpec,
    status: TargetGroupStatus,
    pub(in crate::rest) version: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct TargetGroupSpec {
    /// `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`; cannot change.
    #[schema(value_type = String)]
    arn: TargetGroupArn,
    /// The clusters whose bindings may use it.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    clusters: Vec<Name>,
    /// Further leave, for single namespaces.
    #[serde(default)]
    #[schema(max_items = 1000)]
    grants: Vec<Grant>,
}

/// Leave for some namespaces of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct Grant {
    #[schema(value_type = String)]
    cluster: Name,
    #[schema(min_items = 1, max_items = 1000)]
    namespaces: Vec<String>,
}

impl From<model_group::Grant> for Grant {
    fn from(grant: model_group::Grant) -> Self {
        let model_group::Grant { cluster, namespaces } = grant;
        Self { cluster, namespaces }
    }
}

impl From<Grant> for model_group::Grant {
    fn from(grant: Grant) -> Self {
        let Grant { cluster, namespaces } = grant;
        Self { cluster, namespaces }
    }
}

/// What AWS said last.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct TargetGroupStatus {
    /// `unknown` (not yet asked), `absent` or `present`.
    observed: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    observed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    target_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    vpc_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ip_address_type: Option<String>,
    /// Whether a load balancer forwards to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    in_use: Option<bool>,
    /// Everything in the group, ours and others'; absent: not yet known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    targets: Option<Vec<TargetHealth>>,
}

/// A target as AWS sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct TargetHealth {
    id: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    zone: Option<String>,
    /// `initial`, `healthy`, `unhealthy`, `unused`, `draining`, `unavailable`, …
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
}

/// A target group to declare or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutTargetGroup {
    pub(in crate::rest) spec: TargetGroupSpec,
}

impl From<TargetGroupView> for TargetGroup {
    fn from(view: TargetGroupView) -> Self {
        let TargetGroupView {
            target_group,
            facts,
            targets,
        } = view;
        let model_group::TargetGroup { name, spec, version } = target_group;
        let status = TargetGroupStatus::of(facts, targets);
        Self {
            name,
            spec: spec.into(),
            status,
            version,
        }
    }
}

impl TargetGroupStatus {
    fn of(facts: Observed<TargetGroupFacts>, targets: Observed<Vec<ObservedTarget>>) -> Self {
        let observed = match facts {
            Observed::Unknown => "unknown",
            Observed::Absent { .. } => "absent",
            Observed::Present { .. } => "present",
        };
        let observed_at = targets.at().or(facts.at());
        let targets = match targets {
            Observed::Present { value, .. } => Some(value.into_iter().map(Into::into).collect()),
            Observed::Unknown | Observed::Absent { .. } => None,
        };
        let facts = match facts {
            Observed::Present { value, .. } => Some(value),
            Observed::Unknown | Observed::Absent { .. } => None,
        };
        let unknown = Self {
            observed,
            observed_at,
            target_type: None,
            protocol: None,
            port: None,
            vpc_id: None,
            ip_address_type: None,
            in_use: None,
            targets,
        };
        let Some(facts) = facts else { return unknown };
        let TargetGroupFacts {
            target_type,
            protocol,
            port,
            vpc,
            ip_address_type,
            vpc_cidrs: _,
            in_use,
        } = facts;
        Self {
            target_type: Some(target_type.to_string()),
            protocol,
            port,
            vpc_id: vpc,
            ip_address_type: Some(ip_address_type.to_string()),
            in_use: Some(in_use),
            ..unknown
        }
    }
}

impl From<ObservedTarget> for TargetHealth {
    fn from(observed: ObservedTarget) -> Self {
        let ObservedTarget {
            target: Target { key, zone },
            state,
            reason,
            description,
        } = observed;
        let model::TargetKey { id, port } = key;
        let zone = zone.map(|zone| zone.to_string());
        Self {
            id: id.to_string(),
            port,
            zone,
            state: word(&state),
            reason,
            description,
        }
    }
}

impl From<model_group::TargetGroupSpec> for TargetGroupSpec {
    fn from(spec: model_group::TargetGroupSpec) -> Self {
        let model_group::TargetGroupSpec {
            arn,
            clusters,
            grants,
        } = spec;
        Self {
            arn,
            clusters,
            grants: grants.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<TargetGroupSpec> for model_group::TargetGroupSpec {
    fn from(spec: TargetGroupSpec) -> Self {
        let TargetGroupSpec {
            arn,
            clusters,
            grants,
        } = spec;
        Self {
            arn,
            clusters,
            grants: grants.into_iter().map(Into::into).collect(),
        }
    }
}
