//! The ledger: the record of everything that we registered. Only what it lists may be removed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    BindingId, TargetKey,
    fact::{Evidence, PodRef},
    target::Target,
};

/// Where a target of ours is in its life. Each `…ing` state is an intent that was made durable before the AWS call; it
/// stays when the answer is ambiguous or the process dies, and the next plan issues the (idempotent) call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LedgerState {
    /// RegisterTargets was or will be sent; the outcome is not known.
    Registering,
    /// AWS acknowledged the registration, or it was there when we first looked and a binding wanted it (claimed).
    Registered,
    /// DeregisterTargets was or will be sent; the outcome is not known.
    Deregistering,
    /// AWS acknowledged the removal. Kept until AWS is seen without the target, since a call that was given up may still
    /// be applied late.
    Deregistered,
}

/// One target of ours in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerTarget {
    pub target: Target,
    pub state: LedgerState,
    /// Present when we first looked: registered by somebody else, wanted by a binding, ours from then on.
    pub claimed: bool,
    /// The bindings that it is registered for. It may be removed only when each of them has let it go.
    pub bindings: Vec<BindingId>,
    /// The pod whose endpoint it is, for proof of its end.
    pub pod: Option<PodRef>,
    /// When `state` was written last.
    pub changed_at: Timestamp,
    /// When a call about it was last given up without an answer.
    pub ambiguous_at: Option<Timestamp>,
    /// Since when no binding wants it: the start of the hold-down.
    pub unwanted_since: Option<Timestamp>,
}

impl LedgerTarget {
    pub fn key(&self) -> &TargetKey {
        &self.target.key
    }

    /// Whether AWS has it or may have it, for all we know.
    pub fn may_be_registered(&self) -> bool {
        !matches!(self.state, LedgerState::Deregistered)
    }
}

/// A removal of the recent past, for the sliding window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    pub key: TargetKey,
    pub at: Timestamp,
    pub ground: Ground,
    /// Targets of ours in the group just before the call.
    pub live_before: u32,
}

/// How a node is known to come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeEnd {
    /// An autoscaler's taint says that it is about to be taken away.
    Draining,
    /// A live read of the node said 404, or another UID.
    Gone,
}

/// What justifies a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ground {
    /// Within the guard's window, without proof.
    Unproven(Evidence),
    /// The endpoint is there and not ready.
    NotReady,
    /// A consistent list from the cluster confirmed the absence.
    Confirmed,
    /// An operator released the hold.
    Released,
    /// The binding was deleted on purpose.
    BindingDeleted,
    /// An endpoint of another cluster in the same VPC has the address now.
    Reassigned,
    /// The pod's end is proven.
    Proven(Evidence),
    /// The node's end is proven.
    NodeEnded(NodeEnd),
}

impl Ground {
    /// Whether the removal may go at once and to zero.
    pub fn is_positive(self) -> bool {
        matches!(
            self,
            Self::Released | Self::BindingDeleted | Self::Reassigned | Self::Proven(_) | Self::NodeEnded(_)
        )
    }
}
