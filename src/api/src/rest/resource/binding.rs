//! Bindings.

use control::{
    bindings::{ApiSpec, GroupRef},
    view::{AdoptionView, BindingView},
};
use model::{
    BindingId, Name, TargetGroupArn,
    binding::{Binding as ModelBinding, Lifecycle, Origin, PortRef},
    condition::{BindingStatus as ModelStatus, Problem, Readiness, Reason, Truth},
    ownership::Standing,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Metadata, cluster::Webhook, plan::Plan, word};
use crate::problem::Kind;

/// A Service's endpoints → a target group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Binding {
    #[schema(value_type = uuid::Uuid)]
    id: BindingId,
    #[schema(value_type = String)]
    cluster: Name,
    namespace: String,
    name: String,
    /// `object` (a TargetGroupBinding in the cluster) or `api`.
    origin: String,
    metadata: Metadata,
    /// What was declared; of an object, the last valid spec. Absent: there has never been one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    spec: Option<BindingSpec>,
    status: BindingStatus,
    pub(in crate::rest) version: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct BindingSpec {
    /// The ARN of a declared target group that admits the cluster; cannot change. Absent: `targetGroup` says which.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false)]
    target_group_arn: Option<TargetGroupArn>,
    /// In its place: the name by which the target group is declared. It may be one that AWS has not made yet.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false)]
    target_group: Option<Name>,
    /// The Service, in the binding's namespace.
    service: String,
    /// A port of the Service, by number or by name, as text.
    #[schema(value_type = String)]
    port: PortRef,
}

/// What became of a binding.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct BindingStatus {
    /// `active`, `deleted` (its targets are going) or `deletionHeld`.
    lifecycle: &'static str,
    /// Who acts on it: `served`, `notServed`, `unstated` (the agent does not say), `managedByLbc`, `adopting` or `contested`.
    standing: String,
    ready: Condition,
    /// The target group; absent: it is not known, or not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    target_group_arn: Option<TargetGroupArn>,
    /// The generation of the object, or the version of the API's binding, that `ready` speaks of; 0: none yet.
    observed_generation: i64,
    /// Targets that the binding wants.
    desired: u32,
    /// Wanted targets that are registered.
    registered: u32,
    /// Registered targets that a hold keeps although they are not wanted.
    held: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Condition {
    /// `True`, `False` or `Unknown`.
    status: String,
    /// A stable word, e.g. `Reconciled`.
    reason: String,
    message: String,
}

/// A binding to declare or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutBinding {
    pub(in crate::rest) spec: BindingSpec,
}

/// What taking a binding over comes to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Adoption {
    /// As it is now; in the answer to a dry run, as it was.
    binding: Binding,
    /// What is done to the target group then, on what is known: where AWS has what is wanted, targets are claimed and none
    /// is registered or removed.
    plan: Plan,
    /// Webhooks that make the agent's writes into the object fail if nobody answers them.
    webhooks: Vec<Webhook>,
}

impl From<AdoptionView> for Adoption {
    fn from(view: AdoptionView) -> Self {
        let AdoptionView {
            binding,
            plan,
            webhooks,
        } = view;
        Self {
            binding: binding.into(),
            plan: plan.into(),
            webhooks: webhooks.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<BindingView> for Binding {
    fn from(view: BindingView) -> Self {
        let BindingView {
            cluster,
            binding,
            declared,
            created_at,
            status,
        } = view;
        let ModelBinding {
            id,
            cluster: _,
            object,
            origin,
            generation: _,
            lifecycle,
            standing,
            spec,
            problem,
            version,
        } = binding;
        let target_group_arn = spec.as_ref().map(|spec| spec.target_group.clone());
        let spec = match declared {
            Some(declared) => Some(declared.into()),
            None => spec.map(|spec| BindingSpec {
                target_group_arn: Some(spec.target_group),
                target_group: None,
                service: spec.service,
                port: spec.port,
            }),
        };
        Self {
            id,
            cluster,
            namespace: object.namespace,
            name: object.name,
            origin: word(&origin),
            metadata: Metadata { created_at },
            spec,
            status: BindingStatus {
                target_group_arn,
                ..BindingStatus::of(lifecycle, standing, status, problem)
            },
            version,
        }
    }
}

impl BindingStatus {
    fn of(
        lifecycle: Lifecycle,
        standing: Standing,
        status: Option<ModelStatus>,
        problem: Option<Problem>,
    ) -> Self {
        let lifecycle = match lifecycle {
            Lifecycle::Active => "active",
            Lifecycle::Deleted { .. } => "deleted",
            Lifecycle::Relinquished { .. } => "relinquished",
            Lifecycle::DeletionHeld { .. } => "deletionHeld",
        };
        let ModelStatus {
            observed_generation,
            ready,
            desired,
            registered,
            held,
            target_type: _,
        } = status.unwrap_or_else(|| not_yet(problem));
        Self {
            lifecycle,
            standing: word(&standing),
            ready: ready.into(),
            target_group_arn: None,
            observed_generation,
            desired,
            registered,
            held,
        }
    }
}

impl From<Readiness> for Condition {
    fn from(ready: Readiness) -> Self {
        let Readiness {
            status,
            reason,
            message,
        } = ready;
        Self {
            status: word(&status),
            reason: reason.to_string(),
            message,
        }
    }
}

/// What is told of a binding: its last status, or that it has none yet.
pub(super) fn ready(status: Option<ModelStatus>, problem: Option<Problem>) -> Readiness {
    status.unwrap_or_else(|| not_yet(problem)).ready
}

/// The status of a binding that no plan has looked at.
fn not_yet(problem: Option<Problem>) -> ModelStatus {
    let ready = match problem {
        Some(problem) => Readiness {
            status: Truth::False,
            reason: problem.reason,
            message: problem.to_string(),
        },
        None => Readiness {
            status: Truth::Unknown,
            reason: Reason::Progressing,
            message: "no plan has been made for it yet".to_owned(),
        },
    };
    ModelStatus {
        observed_generation: 0,
        ready,
        desired: 0,
        registered: 0,
        held: 0,
        target_type: None,
    }
}

impl TryFrom<BindingSpec> for ApiSpec {
    type Error = crate::problem::Problem;

    fn try_from(spec: BindingSpec) -> Result<Self, Self::Error> {
        let BindingSpec {
            target_group_arn,
            target_group,
            service,
            port,
        } = spec;
        let target_group = match (target_group_arn, target_group) {
            (Some(arn), None) => GroupRef::Arn(arn),
            (None, Some(name)) => GroupRef::Name(name),
            (Some(_), Some(_)) | (None, None) => {
                let kind = Kind::Refused(control::Kind::Invalid);
                let detail =
                    "say which target group by its ARN, or by its name as `targetGroup`, and not both";
                return Err(Self::Error::new(kind, detail).at("spec.targetGroupArn"));
            }
        };
        Ok(Self {
            target_group,
            service,
            port,
        })
    }
}

impl From<ApiSpec> for BindingSpec {
    fn from(spec: ApiSpec) -> Self {
        let ApiSpec {
            target_group,
            service,
            port,
        } = spec;
        let (target_group_arn, target_group) = match target_group {
            GroupRef::Arn(arn) => (Some(arn), None),
            GroupRef::Name(name) => (None, Some(name)),
        };
        Self {
            target_group_arn,
            target_group,
            service,
            port,
        }
    }
}

/// Which of two bindings of one name is meant.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) enum OriginParam {
    Object,
    Api,
}

impl From<OriginParam> for Origin {
    fn from(origin: OriginParam) -> Self {
        match origin {
            OriginParam::Object => Self::Object,
            OriginParam::Api => Self::Api,
        }
    }
}
