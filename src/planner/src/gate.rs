//! What the readiness gates of pods are to say: what AWS says of their targets, both ways.
//!
//! A gate is opened (True) where nobody may wait for us: the binding was deleted, only plans, or has no health to wait
//! for. It is shut (False) on the evidence of an answer of AWS that counts against what we wrote; without one it stays
//! what it is. Gates of objects that somebody else acts on are theirs.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    TargetKey,
    binding::Lifecycle,
    cluster::Mode,
    condition::Truth,
    fact::{PodRef, Stated},
    group::BoundService,
    ledger::{LedgerState, LedgerTarget},
    pod::{Gate, GateState, StoredPod},
    target::{HealthState, ObservedTarget, TargetType},
};

use crate::{
    input::Input,
    observe::{Settled, Sight},
    wanted::{self, Statement, Wish},
};

/// AWS's word for a target that it is about to check (DescribeTargetHealth, `TargetHealthReasonEnum`).
const REGISTRATION_IN_PROGRESS: &str = "Elb.RegistrationInProgress";

/// What is to become of the gates of a group's bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Those that do not say what they are to say.
    pub to_write: Vec<Gate>,
    /// Whether a pod that could serve waits for AWS to find it healthy.
    pub waiting: bool,
}

/// Decides what each gate is to say.
pub fn gates(input: &Input) -> Gates {
    let mut gates = Gates::default();
    let sight = Sight::of(input);
    for bound in &input.bindings {
        let Stated::Known(pods) = &bound.facts.pods.gated else {
            continue;
        };
        let name = &bound.binding.object.name;
        let mut pods = pods
            .iter()
            .filter(|stored| !stored.pod.terminating && stored.pod.gates.contains_key(name))
            .peekable();
        if pods.peek().is_none() {
            continue;
        }
        match stance(input, bound) {
            Stance::Leave => {}
            Stance::Open(state) => {
                for stored in pods {
                    gates.say(bound, stored, Some(state.clone()));
                }
            }
            Stance::Follow(statement) => {
                let keys = keys_by_pod(&statement);
                let judge = Judge {
                    input,
                    sight: &sight,
                    ledger: input.ledger.iter().map(|row| (row.key(), row)).collect(),
                };
                for stored in pods {
                    let Some(keys) = keys.get(&stored.pod.pod_ref()) else {
                        // No endpoint of the port is the pod's (yet).
                        continue;
                    };
                    let present = stored.pod.gates.get(name).and_then(Option::as_ref);
                    let wanted = judge.judge(stored, keys, present);
                    let is_open = |state: &GateState| state.status == Truth::True;
                    gates.waiting |=
                        stored.pod.containers_ready && !wanted.as_ref().or(present).is_some_and(is_open);
                    gates.say(bound, stored, wanted);
                }
            }
        }
    }
    gates
}

impl Gates {
    fn say(&mut self, bound: &BoundService, stored: &StoredPod, wanted: Option<GateState>) {
        let name = &bound.binding.object.name;
        let present = stored.pod.gates.get(name).and_then(Option::as_ref);
        if let Some(state) = wanted.filter(|state| present != Some(state)) {
            self.to_write.push(Gate {
                cluster: bound.cluster.id,
                binding: bound.binding.id,
                name: name.clone(),
                pod: stored.pod.pod_ref(),
                state,
            });
        }
    }
}

/// Whether an endpoint that is not ready is so for want of its gates alone: it must be registered to become ready. By the
/// rule of the AWS Load Balancer Controller, its node decides with it.
pub(crate) struct Deadlock<'a> {
    ready_but_for_gates: BTreeSet<PodRef>,
    bound: &'a BoundService,
}

impl<'a> Deadlock<'a> {
    pub(crate) fn of(bound: &'a BoundService) -> Self {
        let name = &bound.binding.object.name;
        let gated = bound.facts.pods.gated.known().into_iter().flatten();
        let ready_but_for_gates = gated
            .filter(|stored| {
                let pod = &stored.pod;
                pod.containers_ready && !pod.terminating && pod.gates.contains_key(name)
            })
            .map(|stored| stored.pod.pod_ref());
        Self {
            ready_but_for_gates: ready_but_for_gates.collect(),
            bound,
        }
    }

    /// Whether the pod of an endpoint on `node` waits for its gates alone.
    pub(crate) fn holds(&self, pod: Option<&PodRef>, node: Option<&String>) -> bool {
        pod.is_some_and(|pod| self.ready_but_for_gates.contains(pod))
            && !node.is_some_and(|node| self.bound.nodes.down.contains(node))
    }
}

/// What a binding has to say about its gates at all.
enum Stance {
    /// Nothing: they are not ours, or nothing is known.
    Leave,
    /// Nobody waits.
    Open(GateState),
    /// What AWS says.
    Follow(Statement),
}

fn stance(input: &Input, bound: &BoundService) -> Stance {
    let binding = &bound.binding;
    if !binding.standing.acts() {
        return Stance::Leave;
    }
    match binding.lifecycle {
        Lifecycle::Active => {}
        Lifecycle::Deleted { .. } | Lifecycle::Relinquished { .. } | Lifecycle::DeletionHeld { .. } => {
            let message = "the TargetGroupBinding was deleted: nobody waits for the target group";
            return open("BindingDeleted", message);
        }
    }
    if bound.cluster.spec.mode == Mode::Observe {
        let message =
            "the cluster's mode in Elbow is `observe`: nothing is registered, so nobody waits for it";
        return open("ObserveOnly", message);
    }
    if input
        .facts
        .present()
        .is_some_and(|facts| facts.target_type == TargetType::Instance)
    {
        let message = "the targets are nodes: AWS checks no pod of its own";
        return open("TargetTypeInstance", message);
    }
    match wanted::wish(input, bound) {
        // What a silent cluster said last says nothing about its pods now.
        Wish::Stated(statement)
            if statement.problem.is_none() && !bound.is_silent(input.now, &input.guards) =>
        {
            Stance::Follow(statement)
        }
        _ => Stance::Leave,
    }
}

fn open(reason: &str, message: &str) -> Stance {
    Stance::Open(GateState {
        status: Truth::True,
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

fn keys_by_pod(statement: &Statement) -> BTreeMap<&PodRef, Vec<&TargetKey>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    let Statement {
        wanted,
        not_ready,
        terminating: _,
        problem: _,
    } = statement;
    for (key, pod) in wanted.iter().chain(not_ready) {
        if let Some(pod) = pod {
            keys.entry(pod).or_default().push(key);
        }
    }
    keys
}

struct Judge<'a> {
    input: &'a Input,
    sight: &'a Sight<'a>,
    ledger: BTreeMap<&'a TargetKey, &'a LedgerTarget>,
}

impl Judge<'_> {
    /// What the gate is to say: True when each of the pod's targets is good. `None`: what it says.
    fn judge(
        &self,
        stored: &StoredPod,
        keys: &[&TargetKey],
        present: Option<&GateState>,
    ) -> Option<GateState> {
        let mut states = Vec::new();
        for key in keys {
            match self.of_target(stored, key, present) {
                Some(state) if state.status == Truth::True => states.push(state),
                other => return other,
            }
        }
        states.into_iter().next()
    }

    fn of_target(
        &self,
        stored: &StoredPod,
        key: &TargetKey,
        present: Option<&GateState>,
    ) -> Option<GateState> {
        let not_yet = || {
            say(
                Truth::False,
                REGISTRATION_IN_PROGRESS,
                "the target is not yet registered",
            )
        };
        if !self.counts(stored, key) {
            // A pod that never had a word of us gets one; there is nothing to take back.
            return present.is_none().then(not_yet);
        }
        match self.sight.target(key) {
            Some(observed) => of_health(observed),
            None => Some(not_yet()),
        }
    }

    /// Whether AWS's last answer is about this pod's target, as we last wrote it.
    fn counts(&self, stored: &StoredPod, key: &TargetKey) -> bool {
        let Some(at) = self.sight.at.filter(|at| *at > stored.since) else {
            return false;
        };
        let Some(row) = self.ledger.get(key) else {
            return true;
        };
        let own = row
            .pod
            .as_ref()
            .is_none_or(|pod| pod.uid == stored.pod.version.uid);
        let settled = Settled::of(row, &self.input.guards);
        // Its absence may be an answer from before; what is listed is there.
        let settled = self.sight.target(key).is_some() || at > settled.contradiction;
        own && row.state == LedgerState::Registered && at > row.changed_at && settled
    }
}

/// What AWS's word for a target means for a pod. `None`: it says nothing.
fn of_health(observed: &ObservedTarget) -> Option<GateState> {
    let status = match (observed.serves(), &observed.state) {
        (Some(true), _) => Truth::True,
        (Some(false), _) | (None, HealthState::Initial) => Truth::False,
        (None, _) => return None,
    };
    let ObservedTarget {
        target: _,
        state,
        reason,
        description,
    } = observed;
    // AWS gives a reason for every state but one.
    let reason = reason.clone().unwrap_or_else(|| format!("{state:?}"));
    Some(say(status, &reason, description.as_deref().unwrap_or_default()))
}

fn say(status: Truth, reason: &str, message: &str) -> GateState {
    GateState {
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
