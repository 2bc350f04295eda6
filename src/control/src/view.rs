//! What the use cases answer: resources with what became of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    BindingId, HoldId, Name, Observed, Shard, TargetGroupArn,
    binding::Binding,
    cluster::{Cluster, Leaving},
    condition::{BindingStatus, Problem},
    fact::{ObjectName, ServiceFacts},
    ownership::{Surroundings, Webhook},
    plan::{Hold, Plan},
    target::ObservedTarget,
    target_group::TargetGroupFacts,
};
use store::{DeclaredGroup, ManagedState};

use crate::bindings::ApiSpec;

#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    pub cluster: Cluster,
    /// `None`: it is only what a dry run says would be.
    pub created_at: Option<Timestamp>,
    /// It is on its way out, and what becomes of its targets.
    pub leaving: Option<Leaving>,
    /// Since when it is set aside.
    pub cordoned_at: Option<Timestamp>,
    pub agent: AgentView,
}

/// What is known of a cluster's agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentView {
    /// How many streams the cluster has begun: the epoch of the newest.
    pub epoch: u64,
    pub instance: Option<String>,
    pub seen_at: Option<Timestamp>,
    /// It was heard of, but not of late: what it stated may be out of date, and nothing unproven is removed for it.
    pub stale: bool,
    /// When a complete list of its source objects was last stored.
    pub synced_at: Option<Timestamp>,
    /// Kinds that the agent says it cannot see, with the reason.
    pub unsynced: BTreeMap<String, String>,
    /// What the agent sees of the AWS Load Balancer Controller.
    pub surroundings: Surroundings,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetGroupView {
    pub group: DeclaredGroup,
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BindingView {
    pub cluster: Name,
    pub binding: Binding,
    /// What was declared; `None`: it is an object's.
    pub declared: Option<ApiSpec>,
    /// `None`: it is only what a dry run says would be.
    pub created_at: Option<Timestamp>,
    /// `None`: not yet looked at.
    pub status: Option<BindingStatus>,
}

/// What taking a binding over comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct AdoptionView {
    /// As it is now, or was if it was a dry run.
    pub binding: BindingView,
    /// What would be done to the target group once it is taken over, on what is stored.
    pub plan: Plan,
    /// Webhooks that may keep the agent from writing into the object.
    pub webhooks: Vec<Webhook>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    pub service: ObjectName,
    pub facts: ServiceFacts,
}

/// What would be, if objects were there.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    pub objects: Vec<PreviewedObject>,
    /// One per target group that they are of.
    pub plans: Vec<Plan>,
    /// How the target group itself stands, if it was asked for and is managed.
    pub managed: Option<ManagedState>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PreviewedObject {
    pub object: ObjectName,
    /// By which the plans name it; the binding's own, if there is one already.
    pub id: BindingId,
    /// What is wrong with its text.
    pub problem: Option<Problem>,
    pub status: Option<BindingStatus>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HoldView {
    pub id: HoldId,
    pub shard: Shard,
    pub target_group: Option<TargetGroupArn>,
    pub cluster: Option<Name>,
    pub hold: Hold,
    pub since: Timestamp,
    pub released_at: Option<Timestamp>,
    pub released_by: Option<String>,
    pub ended_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ShardView {
    pub shard: Shard,
    /// The replica that writes to AWS for it.
    pub holder: Option<String>,
    pub epoch: u64,
    pub deadline: Option<Timestamp>,
    /// Since when removals wait because the database went back in time.
    pub restored_at: Option<Timestamp>,
}

/// All clusters together.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetView {
    /// Those that count: not cordoned, not leaving, and heard of at all.
    pub clusters: usize,
    pub silent: usize,
    /// Nothing is removed without proof, since too many fell silent at once.
    pub frozen: bool,
    /// When an operator last gave up on those that were silent by then.
    pub released_at: Option<Timestamp>,
}
