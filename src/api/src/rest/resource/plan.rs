//! Plans.

use control::view;
use jiff::Timestamp;
use model::{
    BindingId, Name, PlanId, TargetGroupArn, TargetKey as Key,
    plan::{Addition, Hold, Plan as ModelPlan, Step as ModelStep, Subtraction},
    target::Target,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Pod, TargetKey,
    binding::{Condition, ready},
    managed::ManagedStatus,
    word,
};

/// What is to happen to one target group, and why the rest waits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Plan {
    #[schema(value_type = String)]
    target_group_arn: TargetGroupArn,
    /// In the order in which they are applied; empty: there is no work.
    steps: Vec<Step>,
    holds: Vec<PlannedHold>,
    /// When time alone may change the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    wake_at: Option<Timestamp>,
}

/// One thing to do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Step {
    /// `register` and `deregister` call AWS; `claim`, `forget` and `unbind` change what is ours.
    action: &'static str,
    targets: Vec<PlannedTarget>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct PlannedTarget {
    id: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    zone: Option<String>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: Vec<BindingId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pod: Option<Pod>,
    /// Why it is registered, or what justifies its removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<String>,
}

/// Work that waits, and for what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct PlannedHold {
    reason: String,
    /// What lifts it.
    release: &'static str,
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: Vec<BindingId>,
    removals: Vec<TargetKey>,
    additions: Vec<TargetKey>,
    /// When time alone lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until: Option<Timestamp>,
}

/// A plan that was made, with what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct JournaledPlan {
    #[schema(value_type = uuid::Uuid)]
    id: PlanId,
    at: Timestamp,
    /// The epoch of the replica that made it.
    epoch: u64,
    plan: Plan,
    /// What became of its steps; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    outcome: Option<serde_json::Value>,
}

/// Whose plan is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PreviewPlan {
    /// The name of a declared target group.
    #[schema(value_type = String)]
    pub(in crate::rest) target_group: Name,
}

/// What would be done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Preview {
    /// The objects that were given, if any were.
    objects: Vec<PreviewedObject>,
    /// One per target group that AWS has named.
    plans: Vec<Plan>,
    /// What is left to do with the target group itself, as its writer saw it last; absent: Elbow does not manage it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    managed: Option<ManagedStatus>,
}

/// An object that was given, and what would become of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct PreviewedObject {
    namespace: String,
    name: String,
    /// By which the plans name it.
    #[schema(value_type = uuid::Uuid)]
    binding: BindingId,
    /// The field of it that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// What is wrong with it, or what would be told on it.
    ready: Condition,
}

impl From<view::Preview> for Preview {
    fn from(preview: view::Preview) -> Self {
        let view::Preview {
            objects,
            plans,
            managed,
        } = preview;
        Self {
            objects: objects.into_iter().map(Into::into).collect(),
            plans: plans.into_iter().map(Into::into).collect(),
            managed: managed.map(Into::into),
        }
    }
}

impl From<view::PreviewedObject> for PreviewedObject {
    fn from(previewed: view::PreviewedObject) -> Self {
        let view::PreviewedObject {
            object,
            id,
            problem,
            status,
        } = previewed;
        let field = problem.as_ref().and_then(|problem| problem.field.clone());
        Self {
            namespace: object.namespace,
            name: object.name,
            binding: id,
            field,
            ready: ready(status, problem).into(),
        }
    }
}

impl From<control::JournaledPlan> for JournaledPlan {
    fn from(journaled: control::JournaledPlan) -> Self {
        let control::JournaledPlan {
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

impl From<ModelPlan> for Plan {
    fn from(plan: ModelPlan) -> Self {
        // Marks, relists, observations and statuses are how the loop goes on; they are seen where they end up.
        let ModelPlan {
            target_group,
            steps,
            holds,
            marks: _,
            relists: _,
            observe: _,
            wake_at,
            statuses: _,
        } = plan;
        Self {
            target_group_arn: target_group,
            steps: steps.into_iter().map(Into::into).collect(),
            holds: holds.into_iter().map(Into::into).collect(),
            wake_at,
        }
    }
}

impl From<ModelStep> for Step {
    fn from(step: ModelStep) -> Self {
        let (action, targets) = match step {
            ModelStep::Claim { targets } => ("claim", additions(targets)),
            ModelStep::Register { targets } => ("register", additions(targets)),
            ModelStep::Unbind { targets } => ("unbind", additions(targets)),
            ModelStep::Deregister { targets } => {
                ("deregister", targets.into_iter().map(Into::into).collect())
            }
            ModelStep::Forget { targets } => ("forget", targets.into_iter().map(Into::into).collect()),
        };
        Self { action, targets }
    }
}

fn additions(targets: Vec<Addition>) -> Vec<PlannedTarget> {
    targets.into_iter().map(Into::into).collect()
}

impl From<Addition> for PlannedTarget {
    fn from(addition: Addition) -> Self {
        let Addition {
            target,
            bindings,
            pod,
            why,
        } = addition;
        Self {
            bindings,
            pod: pod.map(Into::into),
            why: Some(word(&why)),
            ..target.into()
        }
    }
}

impl From<Subtraction> for PlannedTarget {
    fn from(subtraction: Subtraction) -> Self {
        let Subtraction { target, ground } = subtraction;
        Self {
            why: Some(word(&ground)),
            ..target.into()
        }
    }
}

impl From<Target> for PlannedTarget {
    fn from(target: Target) -> Self {
        let Target { key, zone } = target;
        Self {
            zone: zone.map(|zone| zone.to_string()),
            ..key.into()
        }
    }
}

impl From<Key> for PlannedTarget {
    fn from(key: Key) -> Self {
        let Key { id, port } = key;
        Self {
            id: id.to_string(),
            port,
            zone: None,
            bindings: Vec::new(),
            pod: None,
            why: None,
        }
    }
}

impl From<Hold> for PlannedHold {
    fn from(hold: Hold) -> Self {
        let Hold {
            reason,
            bindings,
            removals,
            additions,
            until,
        } = hold;
        Self {
            reason: reason.to_string(),
            release: reason.release(),
            bindings,
            removals: removals.into_iter().map(Into::into).collect(),
            additions: additions.into_iter().map(Into::into).collect(),
            until,
        }
    }
}
