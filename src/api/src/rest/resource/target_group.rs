//! Target groups.

use control::{DeclaredGroup, target_groups::GroupSpec, view::TargetGroupView};
use jiff::Timestamp;
use model::{
    Name, Observed, TargetGroupArn,
    managed::DefinitionSpec,
    target::{ObservedTarget, Target},
    target_group::{self as model_group, TargetGroupFacts},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    managed::{ManagedStatus, ManagedTargetGroup},
    word,
};
use crate::problem::{Kind, Problem};

/// A target group that bindings may put targets into.
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
    /// `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`; cannot change. With `managed`: a group that
    /// is there already and is taken over; absent: one is made.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false)]
    arn: Option<TargetGroupArn>,
    /// The clusters whose bindings may use it.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    clusters: Vec<Name>,
    /// Further leave, for single namespaces.
    #[serde(default)]
    #[schema(max_items = 1000)]
    grants: Vec<Grant>,
    /// Elbow makes the group, keeps it as it is declared here, and deletes it; absent: somebody else does.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    managed: Option<ManagedTargetGroup>,
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
    /// Absent: AWS has not named the group yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    arn: Option<TargetGroupArn>,
    /// How the group itself stands; absent: Elbow does not manage it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    managed: Option<ManagedStatus>,
    /// How many targets Elbow has registered in it. AWS shows them in `targets` once it is asked again.
    registered: u32,
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
    /// Everything in the group, ours and others', as AWS said last; absent: not yet known.
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
            group,
            facts,
            targets,
        } = view;
        let DeclaredGroup {
            name,
            arn,
            clusters,
            grants,
            version,
            registered,
            managed,
        } = group;
        let spec = TargetGroupSpec {
            // Which one was made is what became of the spec.
            arn: match &managed {
                Some(managed) => managed.adopts.clone(),
                None => arn.clone(),
            },
            clusters,
            grants: grants.into_iter().map(Into::into).collect(),
            managed: managed.as_ref().map(|managed| managed.spec.clone().into()),
        };
        Self {
            name,
            spec,
            status: TargetGroupStatus {
                arn,
                managed: managed.map(Into::into),
                registered,
                ..TargetGroupStatus::of(facts, targets)
            },
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
            arn: None,
            managed: None,
            registered: 0,
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

impl TryFrom<TargetGroupSpec> for GroupSpec {
    type Error = Problem;

    fn try_from(spec: TargetGroupSpec) -> Result<Self, Problem> {
        let TargetGroupSpec {
            arn,
            clusters,
            grants,
            managed,
        } = spec;
        let grants = grants.into_iter().map(Into::into).collect();
        match (managed, arn) {
            (Some(managed), arn) => Ok(Self::Managed(DefinitionSpec {
                managed: managed.try_into()?,
                arn,
                clusters,
                grants,
            })),
            (None, Some(arn)) => Ok(Self::External(model_group::TargetGroupSpec {
                arn,
                clusters,
                grants,
            })),
            (None, None) => {
                let detail = "say which target group it is, or say `spec.managed` to have one made";
                Err(Problem::new(Kind::Refused(control::Kind::Invalid), detail).at("spec.arn"))
            }
        }
    }
}
