//! What is stored about one target group at one moment: all that a plan is made from but AWS's own words.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use crate::{
    BindingId, SecurityGroupId, TargetGroupArn, TargetKey,
    binding::Binding,
    cluster::Cluster,
    condition::Problem,
    drain::Drain,
    fact::{ObjectName, ServiceFacts},
    guard::Guards,
    ledger::{LedgerTarget, Removal},
    network::Opening,
    node::NodeFacts,
    pause::Pause,
    target_group::TargetGroup,
};

/// One target group, as it is stored.
#[derive(Clone, Debug)]
pub struct GroupSnapshot {
    /// The database's clock when the rest was read; every other time here is of it.
    pub now: Timestamp,
    pub arn: TargetGroupArn,
    /// The database went back in time, and no operator has released the shard yet.
    pub restored: bool,
    pub declared: Option<TargetGroup>,
    /// All bindings that refer to the group, deleted ones included until their targets are gone.
    pub bindings: Vec<BoundService>,
    pub ledger: Vec<LedgerTarget>,
    pub removals: Vec<Removal>,
    /// When an operator released the removal of a target.
    pub released: BTreeMap<TargetKey, Timestamp>,
    /// When targets of ours that had vanished were registered again, once per plan; none from before the last adoption.
    pub drifts: Vec<Timestamp>,
    /// Targets of pods that ended, which AWS may still let finish what they serve.
    pub drains: Vec<Drain>,
}

/// A binding, its cluster, and what the cluster stated about its service.
#[derive(Clone, Debug)]
pub struct BoundService {
    pub binding: Binding,
    /// Since when there is such a binding: the earlier of two has the better right.
    pub bound_since: Timestamp,
    pub cluster: Cluster,
    /// When the cluster's agent was last heard of.
    pub last_seen: Option<Timestamp>,
    /// The widest pause that covers the binding.
    pub paused: Option<Pause>,
    pub facts: ServiceFacts,
    /// Of the binding's cluster.
    pub nodes: Arc<NodeFacts>,
    /// What it was last computed to need open, and what became of that.
    pub openings: BTreeMap<SecurityGroupId, Opening>,
    /// Why what it needs open could not be computed, if it could not.
    pub unopened: Option<Problem>,
}

impl BoundService {
    /// The lesser has the better right to the group. Objects that came together rank by name, whatever order the cluster
    /// stated them in.
    pub fn seniority(&self) -> (Timestamp, &ObjectName, BindingId) {
        (self.bound_since, &self.binding.object, self.binding.id)
    }

    /// Whether the agent has not been heard of for so long that what it stated may be out of date.
    pub fn is_silent(&self, now: Timestamp, guards: &Guards) -> bool {
        self.last_seen
            .is_none_or(|seen| now.duration_since(seen) > guards.silent_after)
    }

    /// Until when new targets wait for rules that are being made.
    pub fn opening_until(&self, now: Timestamp, guards: &Guards) -> Option<Timestamp> {
        let pending = self.openings.values().filter(|opening| opening.pending() > 0);
        pending
            .filter_map(|opening| opening.changed_at.checked_add(guards.opening_wait).ok())
            .filter(|until| now < *until)
            .max()
    }
}
