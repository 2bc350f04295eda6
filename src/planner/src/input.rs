//! What a plan is made from. Everything that a plan depends on stands here; there is no other way in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    ClusterId, Name, Observed, Shard, TargetGroupArn, TargetKey,
    binding::Binding,
    cluster::{Mode, VpcId},
    condition::Problem,
    fact::ServiceFacts,
    guard::Guards,
    ledger::{LedgerTarget, Removal},
    target::ObservedTarget,
    target_group::{TargetGroup, TargetGroupFacts},
};

/// All that is known about one target group at one moment.
#[derive(Clone, Debug)]
pub struct Input {
    /// The database's clock when the rest was read; every time below is of the same clock.
    pub now: Timestamp,
    pub guards: Guards,
    /// The database went back in time and no operator has said yet that removing is safe.
    pub restored: bool,
    /// Until then a call of the writer before us may still arrive in AWS.
    pub fenced_until: Option<Timestamp>,
    pub arn: TargetGroupArn,
    pub declared: Option<TargetGroup>,
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
    /// Bindings that refer to the group, deleted ones included while the ledger names them.
    pub bindings: Vec<BindingInput>,
    pub ledger: Vec<LedgerTarget>,
    /// Removals of the last two windows.
    pub removals: Vec<Removal>,
    /// When an operator released the removal of a target.
    pub released: BTreeMap<TargetKey, Timestamp>,
    /// What AWS last refused about this group, if it was the last thing it said.
    pub failure: Option<Problem>,
}

/// A binding with what its cluster has stated.
#[derive(Clone, Debug)]
pub struct BindingInput {
    pub binding: Binding,
    pub cluster: ClusterView,
    pub facts: ServiceFacts,
}

/// What planning needs to know about a cluster.
#[derive(Clone, Debug)]
pub struct ClusterView {
    pub id: ClusterId,
    pub name: Name,
    pub mode: Mode,
    pub shard: Shard,
    pub vpc_id: VpcId,
    /// When its agent was last heard of.
    pub last_seen: Option<Timestamp>,
}

impl ClusterView {
    /// Whether the agent has not been heard of for so long that what it stated may be out of date.
    pub fn is_silent(&self, now: Timestamp, guards: &Guards) -> bool {
        self.last_seen
            .is_none_or(|seen| now.duration_since(seen) > guards.silent_after)
    }
}
