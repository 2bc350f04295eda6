//! Pods with readiness gates: whether AWS sends to a pod, as a condition of the pod (Kubernetes, "Pod readiness").
//!
//! A pod names its gates when it is made; it is not Ready before each has a condition with status True. What a gate is to
//! say is decided by `planner`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    BindingId, ClusterId,
    condition::Truth,
    fact::{ObjectName, ObjectVersion, PodRef, Stated},
};

/// The type of a gate's condition is this, followed by the name of the pod's TargetGroupBinding.
const PREFIX: &str = "target-health.elbv2.k8s.aws/";
/// The longest name that may follow (Kubernetes, "Labels and Selectors": qualified names).
pub const GATE_NAME_BYTES: usize = 63;

/// The type of the condition that is the gate of a binding.
pub fn condition_type(binding: &str) -> String {
    format!("{PREFIX}{binding}")
}

/// The binding whose gate is the condition of this type. `None`: it is no gate of ours.
pub fn gate_of(condition_type: &str) -> Option<&str> {
    condition_type
        .strip_prefix(PREFIX)
        .filter(|name| !name.is_empty())
}

/// What a gate's condition says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    pub status: Truth,
    /// AWS's reason code, or a word of ours.
    pub reason: String,
    pub message: String,
}

/// A pod that a bound Service selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub object: ObjectName,
    pub version: ObjectVersion,
    /// By the name of the binding. `None`: the pod has no such condition yet.
    pub gates: BTreeMap<String, Option<GateState>>,
    /// The condition `ContainersReady`: all that is missing for Ready is its gates, or its node.
    pub containers_ready: bool,
    pub terminating: bool,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: u32,
}

impl Pod {
    pub fn pod_ref(&self) -> PodRef {
        let ObjectName { namespace, name } = self.object.clone();
        PodRef {
            namespace,
            name,
            uid: self.version.uid,
        }
    }
}

/// A pod as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPod {
    pub pod: Pod,
    /// When it was first stored: what AWS said before may be about another pod of the same address.
    pub since: Timestamp,
}

/// What is stored about the pods that a Service selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Those with a gate of ours, once a complete list of them was stored.
    pub gated: Stated<Vec<StoredPod>>,
    /// The shortest termination grace of all of them, in seconds, with a gate or without.
    pub shortest_grace: Option<u32>,
}

/// What a gate of a pod is to say, and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub cluster: ClusterId,
    pub binding: BindingId,
    /// The binding's name, by which the pod names the gate.
    pub name: String,
    pub pod: PodRef,
    pub state: GateState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_named_by_its_binding() {
        assert_eq!(gate_of(&condition_type("web")), Some("web"));
        for other in ["target-health.elbv2.k8s.aws/", "example.com/web", "web"] {
            assert_eq!(gate_of(other), None, "{other}");
        }
    }
}
