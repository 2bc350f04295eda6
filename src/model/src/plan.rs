//! Plans: ordered steps, holds and an explanation. A value: stored, shown, golden-tested, used as dry run.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    BindingId, ClusterId, TargetGroupArn, TargetKey,
    condition::BindingStatus,
    fact::{ObjectName, PodRef},
    ledger::Ground,
    node::NodeRef,
    target::Target,
};

/// What is to happen to one target group, and why the rest waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct Plan {
    pub target_group: TargetGroupArn,
    /// In the order in which they must be applied. Empty: there is no work.
    pub steps: Vec<Step>,
    pub holds: Vec<Hold>,
    /// Hold-downs that begin (`Some`) or end (`None`); bookkeeping in the ledger, no AWS call.
    pub marks: BTreeMap<MarkKey, Option<Timestamp>>,
    /// Consistent reads that would release a hold.
    pub relists: Vec<RelistRequest>,
    /// Whether AWS must be asked about the group before more can be said.
    pub observe: Option<Observe>,
    /// When time alone may change the plan.
    pub wake_at: Option<Timestamp>,
    pub statuses: BTreeMap<BindingId, BindingStatus>,
}

impl Plan {
    /// Whether something stays only until AWS finds other targets healthy.
    pub fn awaits_health(&self) -> bool {
        self.holds
            .iter()
            .any(|hold| hold.reason == HoldReason::AwaitingHealth)
    }
}

/// A target's key as a map key that JSON can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkKey(pub TargetKey);

impl Serialize for MarkKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}|{}", self.0.id, self.0.port))
    }
}

impl<'de> Deserialize<'de> for MarkKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let (id, port) = text
            .rsplit_once('|')
            .ok_or_else(|| D::Error::custom("expected `id|port`"))?;
        Ok(Self(TargetKey {
            id: id.parse().map_err(D::Error::custom)?,
            port: port.parse().map_err(D::Error::custom)?,
        }))
    }
}

/// Why AWS must be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Observe {
    /// Never asked since this writer began, or the last answer is of no use.
    First,
    /// To see a removal through.
    Verify,
}

/// One thing to do. Each becomes ledger rows, at most one kind of AWS call, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
pub enum Step {
    /// Present and wanted before we ever wrote: ours from now on. Ledger only.
    Claim {
        targets: Vec<Addition>,
    },
    Register {
        targets: Vec<Addition>,
    },
    Deregister {
        targets: Vec<Subtraction>,
    },
    /// Deregistered, and AWS was seen without it: the ledger lets it go. Ledger only.
    Forget {
        targets: Vec<TargetKey>,
    },
    /// A binding that let go of a target which others keep. Ledger only.
    Unbind {
        targets: Vec<Addition>,
    },
}

impl Step {
    /// Whether applying it calls AWS.
    pub fn writes_aws(&self) -> bool {
        matches!(self, Self::Register { .. } | Self::Deregister { .. })
    }

    /// How many targets it is about.
    pub fn targets(&self) -> usize {
        match self {
            Self::Claim { targets } | Self::Register { targets } | Self::Unbind { targets } => targets.len(),
            Self::Deregister { targets } => targets.len(),
            Self::Forget { targets } => targets.len(),
        }
    }
}

/// A target to register or claim, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addition {
    pub target: Target,
    pub bindings: Vec<BindingId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRef>,
    pub why: Why,
}

/// Why a target is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// A ready endpoint of a binding.
    Wanted,
    /// An earlier call has no known outcome.
    Unresolved,
    /// It was ours, and AWS was seen without it.
    Drifted,
    /// It was there before us.
    AlreadyPresent,
    /// The bindings that want it changed.
    Shared,
}

/// A target to deregister, and what justifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subtraction {
    #[serde(flatten)]
    pub target: Target,
    pub ground: Ground,
}

/// Work that waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    pub reason: HoldReason,
    /// The bindings that it concerns.
    pub bindings: Vec<BindingId>,
    /// Targets that would be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<TargetKey>,
    /// Targets that would be registered or claimed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additions: Vec<TargetKey>,
    /// When time alone lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Which guard keeps a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HoldReason {
    /// An absence without proof must last.
    HoldDown,
    /// The window has removed what it may.
    GuardWindow,
    /// The last target goes only when its absence is confirmed.
    LastTarget,
    /// What replaces it is not healthy yet.
    AwaitingHealth,
    /// Not ready alone does not take a group below its floor.
    NotReadyFloor,
    /// The cluster's agent is silent.
    ClusterSilent,
    /// Too many clusters fell silent at once.
    FleetFreeze,
    /// The cluster is cordoned.
    ClusterCordoned,
    /// Too many bindings of the cluster were deleted at once.
    MassUnbinding,
    /// The cluster's mode is `add-only`.
    ModeAddOnly,
    /// The cluster's mode is `observe`.
    ModeObserve,
    /// The AWS Load Balancer Controller acts on the object.
    ManagedByLBC,
    /// Somebody else writes to the same targets.
    Contested,
    /// An operator has paused writing.
    Paused,
    /// The database was restored from a backup: nothing is removed until an operator says so.
    Restored,
    /// AWS has not yet been seen.
    NotObserved,
    /// A former writer's call may still arrive.
    Fencing,
    /// The ports that the binding asks for are being opened.
    OpeningPending,
    /// The cluster whose bindings a rule served is not registered any more.
    ClusterUnknown,
    /// A listener or rule of a load balancer forwards to the group.
    InUse,
    /// Bindings use the group, or targets are in it.
    NotEmpty,
}

impl HoldReason {
    pub const ALL: [Self; 21] = [
        Self::HoldDown,
        Self::GuardWindow,
        Self::LastTarget,
        Self::AwaitingHealth,
        Self::NotReadyFloor,
        Self::ClusterSilent,
        Self::FleetFreeze,
        Self::ClusterCordoned,
        Self::MassUnbinding,
        Self::ModeAddOnly,
        Self::ModeObserve,
        Self::ManagedByLBC,
        Self::Contested,
        Self::Paused,
        Self::Restored,
        Self::NotObserved,
        Self::Fencing,
        Self::OpeningPending,
        Self::ClusterUnknown,
        Self::InUse,
        Self::NotEmpty,
    ];

    /// What lifts it, for the person who reads it.
    pub fn release(self) -> &'static str {
        match self {
            Self::HoldDown => "time: the absence must last for the hold-down; the endpoint's return ends it",
            Self::GuardWindow => "the cluster's answer to a relist, time, or an operator's release",
            Self::LastTarget => {
                "the cluster's answer to a relist, proof of the pod's end, or an operator's release"
            }
            Self::AwaitingHealth => {
                "health checks that pass on the targets that are wanted, proof of the pod's end, or an operator's release"
            }
            Self::NotReadyFloor => {
                "endpoints that become ready, proof of a pod's end, or an operator's release"
            }
            Self::ClusterSilent => "the agent's return, or an operator's release",
            Self::FleetFreeze => {
                "the agents' return, cordoning the clusters that are gone, or an operator's release of the fleet or of \
                 this hold"
            }
            Self::ClusterCordoned => "uncordoning the cluster",
            Self::MassUnbinding => "the bindings' return, or an operator's release",
            Self::ModeAddOnly => "setting the cluster's mode to `full`",
            Self::ModeObserve => "setting the cluster's mode to `add-only` or `full`",
            Self::ManagedByLBC => "`elbow adopt`, once the AWS Load Balancer Controller is gone",
            Self::Contested => {
                "the other writer's end and `elbow adopt`, or an operator's release of these targets"
            }
            Self::Paused => "an operator's `elbow resume`",
            Self::Restored => {
                "an operator's release of the shard, once what AWS has was compared with what is stored"
            }
            Self::NotObserved => "an answer of AWS to a read of the target group or security group",
            Self::Fencing => "time: the former writer's deadline and one call's timeout",
            Self::OpeningPending => "the security group's rules, a refusal of AWS's to make them, or time",
            Self::ClusterUnknown => "registering the cluster again, or revoking the rule by hand",
            Self::InUse => "taking the group out of the load balancer's listeners and rules",
            Self::NotEmpty => {
                "the end of its bindings and of their targets; what somebody else registered, they have to deregister"
            }
        }
    }

    /// Whether it is listed with those that an operator must decide about.
    pub fn is_listed(self) -> bool {
        self.is_releasable() || self == Self::Restored
    }

    /// Whether an operator may release it by itself.
    pub fn is_releasable(self) -> bool {
        matches!(
            self,
            Self::GuardWindow
                | Self::LastTarget
                | Self::AwaitingHealth
                | Self::NotReadyFloor
                | Self::ClusterSilent
                | Self::FleetFreeze
                | Self::MassUnbinding
                | Self::Contested
        )
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A consistent read that the cluster is asked for: the Service, all its slices, and these pods and nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelistRequest {
    pub cluster: ClusterId,
    pub service: ObjectName,
    pub pods: Vec<PodRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeRef>,
}
