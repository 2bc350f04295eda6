//! Readiness gates: what AWS says both ways, and never a word without evidence.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;
use model::{
    BindingId, ClusterId, HoldId, Observed, Target,
    binding::Lifecycle,
    cluster::Mode,
    condition::Truth,
    drain::{Drain, Drained},
    fact::{Evidence, ObjectName, ObjectVersion, Stated},
    ownership::Standing,
    plan::Step,
    pod::{self, GateState, PodFacts, StoredPod},
    target::{HealthState, ObservedTarget},
};
use planner::Gates;
use uuid::Uuid;

use crate::world::{Pod, World, key};

/// One binding `web`, and one pod that has its gate.
struct Story {
    world: World,
    cluster: ClusterId,
    binding: BindingId,
    pod: pod::Pod,
    since: jiff::Timestamp,
}

fn state(status: Truth, reason: &str) -> GateState {
    GateState {
        status,
        reason: reason.into(),
        message: String::new(),
    }
}

impl Story {
    /// The pod is ready but for its gate.
    fn new() -> Self {
        let mut world = World::new();
        let cluster = world.cluster("alpha", Mode::Full);
        let binding = world.bind(cluster, "web");
        world.wait(SignedDuration::from_secs(1));
        let endpoint = Pod {
            ready: false,
            ..Pod::new(1, 1)
        };
        world.state(binding, &[vec![endpoint.clone()]], Evidence::None);
        let reference = endpoint.reference();
        let pod = pod::Pod {
            object: ObjectName::new(reference.namespace, reference.name),
            version: ObjectVersion {
                uid: reference.uid,
                resource_version: 1,
            },
            gates: BTreeMap::from([("web".to_owned(), None)]),
            containers_ready: true,
            terminating: false,
            grace_seconds: 30,
        };
        let since = world.now;
        let mut story = Self {
            world,
            cluster,
            binding,
            pod,
            since,
        };
        story.restate();
        story
    }

    /// The same once AWS has the target, and a moment later.
    fn registered() -> Self {
        let mut story = Self::new();
        story.world.settle();
        assert_eq!(story.world.in_aws(), [key(1)].into());
        story.pass();
        story
    }

    /// Tells what the pod is now.
    fn restate(&mut self) {
        let stored = StoredPod {
            pod: self.pod.clone(),
            since: self.since,
        };
        self.world.binding(self.binding).facts.pods = PodFacts {
            gated: Stated::Known(vec![stored]),
            shortest_grace: None,
        };
    }

    /// Long enough for any answer to count.
    fn pass(&mut self) {
        self.world.wait(SignedDuration::from_secs(30));
    }

    fn gate(&mut self, present: Option<GateState>) {
        self.pod.gates.insert("web".to_owned(), present);
        self.restate();
    }

    /// AWS is asked, and says this of the target.
    fn aws_says(&mut self, state: HealthState, reason: Option<&str>) {
        let observed = ObservedTarget {
            target: Target {
                key: key(1),
                zone: None,
            },
            state,
            reason: reason.map(Into::into),
            description: None,
        };
        self.world.targets = Observed::Present {
            at: self.world.now,
            value: vec![observed],
        };
    }

    fn gates(&self) -> Gates {
        planner::gates(&self.world.input())
    }

    /// What is to be written, if anything.
    fn says(&self) -> Option<(Truth, String)> {
        let gates = self.gates();
        let gate = gates.to_write.first()?;
        assert_eq!((gate.name.as_str(), gate.pod.uid), ("web", Uuid::from_u128(1)));
        Some((gate.state.status, gate.state.reason.clone()))
    }

    fn registers(&self) -> bool {
        let plan = self.world.plan();
        plan.steps
            .iter()
            .any(|step| matches!(step, Step::Register { targets } if targets[0].target.key == key(1)))
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a gate says is compared with it, and it may say nothing"
)]
fn said(status: Truth, reason: &str) -> Option<(Truth, String)> {
    Some((status, reason.to_owned()))
}

#[test]
fn a_pod_that_waits_for_its_gate_alone_is_registered() {
    let mut story = Story::new();
    assert!(story.registers());
    story.pod.containers_ready = false;
    story.restate();
    assert!(!story.registers(), "it could not serve");
    story.pod.containers_ready = true;
    story.pod.gates = BTreeMap::from([("other".to_owned(), None)]);
    story.restate();
    assert!(!story.registers(), "it waits for somebody else");
}

#[test]
fn a_pod_on_a_node_that_is_not_ready_does_not_wait_for_its_gate_alone() {
    let mut story = Story::new();
    let bound = story.world.binding(story.binding);
    if let Stated::Known(slices) = &mut bound.facts.slices {
        slices[0].endpoints[0].node = Some("node-1".into());
    }
    Arc::make_mut(&mut bound.nodes).down.insert("node-1".into());
    assert!(!story.registers());
    Arc::make_mut(&mut story.world.binding(story.binding).nodes)
        .down
        .clear();
    assert!(story.registers());
}

#[test]
fn a_gate_says_what_aws_says_both_ways() {
    use HealthState::{Draining, Healthy, Initial, Other, Unavailable, Unhealthy, UnhealthyDraining, Unused};
    use Truth::{False, True};
    let table = [
        (Healthy, None, said(True, "Healthy")),
        (
            Initial,
            Some("Elb.RegistrationInProgress"),
            said(False, "Elb.RegistrationInProgress"),
        ),
        (
            Initial,
            Some("Elb.InitialHealthChecking"),
            said(False, "Elb.InitialHealthChecking"),
        ),
        (Unhealthy, Some("Target.Timeout"), said(False, "Target.Timeout")),
        (UnhealthyDraining, None, said(False, "UnhealthyDraining")),
        (
            Draining,
            Some("Target.DeregistrationInProgress"),
            said(False, "Target.DeregistrationInProgress"),
        ),
        // Nobody could wait for these.
        (Unused, Some("Target.NotInUse"), said(True, "Target.NotInUse")),
        (
            Unavailable,
            Some("Target.HealthCheckDisabled"),
            said(True, "Target.HealthCheckDisabled"),
        ),
        (
            Unused,
            Some("Target.InvalidState"),
            said(False, "Target.InvalidState"),
        ),
        // These say nothing.
        (Unavailable, Some("Elb.InternalError"), None),
        (Other("sleepy".into()), None, None),
    ];
    for (health, reason, expected) in table {
        let mut story = Story::registered();
        story.aws_says(health.clone(), reason);
        assert_eq!(story.says(), expected, "{health:?} {reason:?}");
        for present in [True, False] {
            story.gate(Some(state(present, "before")));
            assert_eq!(story.says(), expected, "{health:?} {reason:?} after {present:?}");
        }
    }
}

#[test]
fn what_a_gate_says_already_is_not_written() {
    let mut story = Story::registered();
    story.aws_says(HealthState::Healthy, None);
    story.gate(Some(state(Truth::True, "Healthy")));
    assert_eq!(story.gates(), Gates::default());
}

#[test]
fn a_pod_that_is_new_is_told_that_it_waits() {
    let story = Story::new();
    assert_eq!(story.says(), said(Truth::False, "Elb.RegistrationInProgress"));
    assert!(story.gates().waiting);
}

#[test]
fn a_pod_that_could_not_serve_does_not_make_aws_be_asked_more_often() {
    let mut story = Story::registered();
    story.aws_says(HealthState::Unhealthy, Some("Target.FailedHealthChecks"));
    assert!(story.gates().waiting);
    story.pod.containers_ready = false;
    story.restate();
    assert!(!story.gates().waiting);
    assert_eq!(story.says(), said(Truth::False, "Target.FailedHealthChecks"));
}

#[test]
fn an_answer_from_before_the_pod_does_not_open_its_gate() {
    let mut story = Story::registered();
    story.aws_says(HealthState::Healthy, None);
    // The address is another pod's since, which AWS has not yet been asked about.
    story.pass();
    story.since = story.world.now;
    story.restate();
    assert_eq!(story.says(), said(Truth::False, "Elb.RegistrationInProgress"));
    story.pass();
    story.aws_says(HealthState::Healthy, None);
    assert_eq!(story.says(), said(Truth::True, "Healthy"));
}

#[test]
fn an_answer_from_before_the_registration_says_nothing() {
    let mut story = Story::new();
    story.pass();
    story.aws_says(HealthState::Healthy, None);
    story.gate(Some(state(Truth::False, "before")));
    story.world.settle();
    let row = story.world.ledger.get_mut(&key(1)).unwrap();
    row.changed_at = story.world.now;
    assert_eq!(story.says(), None);
}

#[test]
fn no_gate_is_shut_without_an_answer_that_counts() {
    let open = || {
        let mut story = Story::registered();
        story.aws_says(HealthState::Healthy, None);
        story.gate(Some(state(Truth::True, "Healthy")));
        story
    };
    // A read that failed.
    let mut story = open();
    story.world.targets = Observed::Unknown;
    assert_eq!(story.says(), None);
    // A silent agent, whatever AWS says of an address that may be somebody else's by now.
    let mut story = open();
    story.world.down.insert(story.cluster);
    story.world.wait(SignedDuration::from_mins(5));
    story.aws_says(HealthState::Unhealthy, Some("Target.Timeout"));
    assert_eq!(story.says(), None);
    // An answer that may be older than the registration.
    let mut story = open();
    let row = story.world.ledger.get_mut(&key(1)).unwrap();
    row.changed_at = story.world.now;
    story.world.wait(SignedDuration::from_millis(1));
    story.world.targets = Observed::Present {
        at: story.world.now,
        value: Vec::new(),
    };
    assert_eq!(story.says(), None);
    // The same once AWS cannot mean what was before.
    story.pass();
    story.world.targets = Observed::Present {
        at: story.world.now,
        value: Vec::new(),
    };
    assert_eq!(story.says(), said(Truth::False, "Elb.RegistrationInProgress"));
}

#[test]
fn nobody_waits_for_what_elbow_does_not_register() {
    let now = Story::new().world.now;
    let hold = HoldId(Uuid::from_u128(7));
    for lifecycle in [
        Lifecycle::Deleted { at: now },
        Lifecycle::Relinquished { at: now },
        Lifecycle::DeletionHeld { at: now, hold },
    ] {
        let mut story = Story::registered();
        story.world.binding(story.binding).binding.lifecycle = lifecycle;
        assert_eq!(story.says(), said(Truth::True, "BindingDeleted"), "{lifecycle:?}");
    }
    let mut story = Story::new();
    story.world.set_mode(story.cluster, Mode::Observe);
    assert_eq!(story.says(), said(Truth::True, "ObserveOnly"));
    let mut story = Story::new();
    story.world.become_instances();
    assert_eq!(story.says(), said(Truth::True, "TargetTypeInstance"));
    assert!(!story.gates().waiting);
}

#[test]
fn gates_of_an_object_that_somebody_else_acts_on_are_theirs() {
    for standing in [
        Standing::ManagedByLBC,
        Standing::Adopting,
        Standing::NotServed,
        Standing::Unstated,
    ] {
        let mut story = Story::registered();
        story.aws_says(HealthState::Healthy, None);
        story.world.binding(story.binding).binding.standing = standing;
        assert_eq!(story.gates(), Gates::default(), "{standing:?}");
        let at = story.world.now;
        story.world.binding(story.binding).binding.lifecycle = Lifecycle::Deleted { at };
        assert_eq!(story.gates(), Gates::default(), "{standing:?}, deleted");
    }
}

#[test]
fn a_name_that_no_gate_can_have_is_refused() {
    let mut world = World::new();
    let cluster = world.cluster("alpha", Mode::Full);
    for (length, told) in [(63, false), (64, true)] {
        let name = "a".repeat(length);
        let id = world.bind(cluster, &name);
        let message = &world.plan().statuses[&id].ready.message;
        let refusal = "; readiness gate refused: the name has more than 63 characters, so that Kubernetes lets no pod have \
                       the gate target-health.elbv2.k8s.aws/";
        assert_eq!(message.contains(&format!("{refusal}{name}")), told, "{message}");
        assert_eq!(message.contains("gate refused"), told, "{message}");
    }
}

#[test]
fn pods_that_may_end_before_aws_lets_go_of_them_are_warned_of() {
    let seconds = std::time::Duration::from_secs;
    for (delay, grace, told) in [
        (Some(300), Some(30), true),
        (Some(30), Some(30), false),
        (None, Some(30), false),
        (Some(300), None, false),
    ] {
        let mut story = Story::registered();
        story.world.deregistration_delay = delay.map(seconds);
        story.world.binding(story.binding).facts.pods.shortest_grace = grace;
        let message = &story.world.plan().statuses[&story.binding].ready.message;
        assert_eq!(
            message.contains("terminationGracePeriodSeconds"),
            told,
            "{delay:?} {grace:?}: {message}"
        );
    }
}

#[test]
fn a_drain_is_over_when_aws_was_asked_since_and_shows_no_draining_target() {
    let mut story = Story::registered();
    let since = story.world.now;
    story.world.ledger.clear();
    story.world.drains = vec![Drain {
        key: key(1),
        pod: story.pod.pod_ref(),
        since,
    }];
    let drained = |story: &Story| planner::drained(&story.world.input());
    story.aws_says(HealthState::Draining, None);
    story.pass();
    assert_eq!(drained(&story), [], "nobody asked since");
    story.aws_says(HealthState::Draining, None);
    assert_eq!(drained(&story), [], "it drains");
    story.pass();
    let empty = |story: &mut Story| {
        story.world.targets = Observed::Present {
            at: story.world.now,
            value: Vec::new(),
        };
    };
    empty(&mut story);
    let at = Some(story.world.now);
    assert_eq!(drained(&story), [Drained { key: key(1), at }]);
    // The address is another's by now: there is nothing to tell.
    story.aws_says(HealthState::Healthy, None);
    assert_eq!(
        drained(&story),
        [Drained {
            key: key(1),
            at: None
        }]
    );
    story.world.targets = Observed::Unknown;
    assert_eq!(drained(&story), [], "a read that failed");
}
