//! Random histories of clusters, agents, operators and AWS, and what must hold at every removal in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, HoldId, TargetKey,
    binding::Lifecycle,
    cluster::Mode,
    fact::{Evidence, Stated},
    ledger::{Ground, LedgerState, LedgerTarget},
    ownership::Standing,
    target::HealthState,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::world::{Deregistered, Fate, Pod, Registered, World, key};

/// What can happen. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(i64),
    Start {
        binding: usize,
        ip: u8,
    },
    Readiness {
        binding: usize,
        pod: usize,
    },
    Terminate {
        binding: usize,
        pod: usize,
    },
    Vanish {
        binding: usize,
        pod: usize,
        evidence: Evidence,
    },
    /// Gone and back within the hold-down.
    Flap {
        binding: usize,
        pod: usize,
    },
    /// To the other slice; `true`: it is in both for a while, `false`: in none.
    Move {
        binding: usize,
        pod: usize,
        overlap: bool,
    },
    /// All endpoints of a Service go without proof.
    Empty {
        binding: usize,
        evidence: Evidence,
    },
    ServiceGone {
        binding: usize,
    },
    ServiceBack {
        binding: usize,
    },
    FactsUnknown {
        binding: usize,
    },
    Agent {
        cluster: usize,
        up: bool,
    },
    Confirm {
        binding: usize,
    },
    Mode {
        cluster: usize,
        mode: Mode,
    },
    /// Somebody else begins to act on an object that is there, or ends.
    Standing {
        binding: usize,
        standing: Standing,
    },
    Delete {
        binding: usize,
    },
    HoldDeletion {
        binding: usize,
    },
    Return {
        binding: usize,
    },
    /// Somebody else registers an address, which may be one of the pods'.
    ForeignRegister {
        ip: u8,
    },
    /// A target disappears behind our back.
    Drift {
        target: usize,
    },
    Observe {
        stale: i64,
    },
    Fate(Fate),
    Restored(bool),
    Failover {
        fence: i64,
    },
    Release {
        target: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let evidence = prop_oneof![
        Just(Evidence::None),
        Just(Evidence::NotSelected),
        Just(Evidence::PodGone),
        Just(Evidence::Terminating)
    ];
    let weak = prop_oneof![Just(Evidence::None), Just(Evidence::NotSelected)];
    let mode = prop_oneof![3 => Just(Mode::Full), 1 => Just(Mode::AddOnly), 1 => Just(Mode::Observe)];
    let standing = prop_oneof![
        3 => Just(Standing::Served),
        1 => Just(Standing::NotServed),
        1 => Just(Standing::ManagedByLBC),
        1 => Just(Standing::Contested),
    ];
    let fate = prop_oneof![
        2 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::CallLost),
        1 => Just(Fate::Crash)
    ];
    let index = 0..64_usize;
    let (binding, pod) = (0..3_usize, index.clone());
    prop_oneof![
        12 => (100..20_000_i64).prop_map(Event::Wait),
        12 => (binding.clone(), 1..13_u8).prop_map(|(binding, ip)| Event::Start { binding, ip }),
        4 => (binding.clone(), pod.clone()).prop_map(|(binding, pod)| Event::Readiness { binding, pod }),
        3 => (binding.clone(), pod.clone()).prop_map(|(binding, pod)| Event::Terminate { binding, pod }),
        4 => (binding.clone(), pod.clone(), evidence)
            .prop_map(|(binding, pod, evidence)| Event::Vanish { binding, pod, evidence }),
        3 => (binding.clone(), pod.clone()).prop_map(|(binding, pod)| Event::Flap { binding, pod }),
        3 => (binding.clone(), pod, any::<bool>())
            .prop_map(|(binding, pod, overlap)| Event::Move { binding, pod, overlap }),
        2 => (binding.clone(), weak).prop_map(|(binding, evidence)| Event::Empty { binding, evidence }),
        1 => binding.clone().prop_map(|binding| Event::ServiceGone { binding }),
        1 => binding.clone().prop_map(|binding| Event::ServiceBack { binding }),
        1 => binding.clone().prop_map(|binding| Event::FactsUnknown { binding }),
        2 => (0..2_usize, any::<bool>()).prop_map(|(cluster, up)| Event::Agent { cluster, up }),
        3 => binding.clone().prop_map(|binding| Event::Confirm { binding }),
        2 => (0..2_usize, mode).prop_map(|(cluster, mode)| Event::Mode { cluster, mode }),
        2 => (binding.clone(), standing).prop_map(|(binding, standing)| Event::Standing { binding, standing }),
        1 => binding.clone().prop_map(|binding| Event::Delete { binding }),
        1 => binding.clone().prop_map(|binding| Event::HoldDeletion { binding }),
        2 => binding.prop_map(|binding| Event::Return { binding }),
        1 => (1..13_u8).prop_map(|ip| Event::ForeignRegister { ip }),
        1 => index.clone().prop_map(|target| Event::Drift { target }),
        4 => (0..10_000_i64).prop_map(|stale| Event::Observe { stale }),
        3 => fate.prop_map(Event::Fate),
        1 => any::<bool>().prop_map(Event::Restored),
        1 => (0..30_000_i64).prop_map(|fence| Event::Failover { fence }),
        1 => index.prop_map(|target| Event::Release { target }),
    ]
}

/// A world with what a judge remembers about it.
struct History {
    world: World,
    clusters: Vec<ClusterId>,
    bindings: Vec<BindingId>,
    /// Two slices per binding.
    slices: BTreeMap<BindingId, [Vec<Pod>; 2]>,
    next_pod: u128,
    fate: Fate,
    judge: Judge,
}

/// Knows the truth of the clusters, independently of the planner.
#[derive(Default)]
struct Judge {
    /// When a binding last had the address ready, or had not let it go for another reason.
    last_held: BTreeMap<(BindingId, TargetKey), Timestamp>,
    /// Registered targets over time.
    sizes: Vec<(Timestamp, usize)>,
    judged: usize,
    judged_additions: usize,
    /// Pods whose end the cluster has stated.
    ended: BTreeSet<u128>,
    /// Registered by somebody else and never wanted by a binding since.
    foreign: BTreeSet<TargetKey>,
}

impl History {
    fn new(mut world: World) -> Self {
        let clusters = vec![
            world.cluster("alpha", Mode::Full),
            world.cluster("beta", Mode::Full),
        ];
        // Two of one cluster and one of the other share the group, and their pods share addresses.
        let bindings = vec![
            world.bind(clusters[0], "web"),
            world.bind(clusters[0], "api"),
            world.bind(clusters[1], "web-b"),
        ];
        let mut history = Self {
            slices: bindings
                .iter()
                .map(|id| (*id, [Vec::new(), Vec::new()]))
                .collect(),
            world,
            clusters,
            bindings,
            next_pod: 1,
            fate: Fate::Answered,
            judge: Judge::default(),
        };
        let foreign = TargetKey::ip("10.9.9.9".parse().unwrap(), 80);
        history.world.aws.insert(foreign.clone(), HealthState::Healthy);
        history.judge.foreign.insert(foreign);
        history.world.observe(SignedDuration::ZERO);
        for ip in 1..=6 {
            history.happen(Event::Start { binding: 0, ip });
        }
        history
    }

    #[expect(clippy::too_many_lines, reason = "one arm per event")]
    fn happen(&mut self, event: Event) {
        let now = self.world.now;
        match event {
            Event::Wait(millis) => self.wait(millis),
            Event::Start { binding, ip } => {
                let id = self.id(binding);
                let free = self.slices[&id].iter().flatten().all(|pod| pod.ip != ip);
                if free {
                    let pod = Pod::new(ip, self.next_pod);
                    self.next_pod += 1;
                    let slice = usize::from(ip % 2 == 0);
                    self.slices.get_mut(&id).unwrap()[slice].push(pod);
                    self.state(id, Evidence::None);
                }
            }
            Event::Readiness { binding, pod } => self.change(binding, pod, |pod| pod.ready = !pod.ready),
            Event::Terminate { binding, pod } => self.change(binding, pod, |pod| pod.terminating = true),
            Event::Vanish {
                binding,
                pod,
                evidence,
            } => {
                if evidence.is_positive() {
                    // What went while the agent was away is stated first: the proof is of this pod alone.
                    self.state(self.id(binding), Evidence::None);
                }
                if let Some(pod) = self.take(binding, pod) {
                    if evidence.is_positive() {
                        self.judge.ended.insert(pod.uid);
                    }
                    self.state(self.id(binding), evidence);
                }
            }
            Event::Flap { binding, pod } => {
                let id = self.id(binding);
                if let Some(pod) = self.take(binding, pod) {
                    self.state(id, Evidence::None);
                    let short = self.world.guards.hold_down.as_millis() - 1;
                    self.wait(i64::try_from(short).unwrap());
                    self.slices.get_mut(&id).unwrap()[0].push(pod);
                    self.state(id, Evidence::None);
                }
            }
            Event::Move {
                binding,
                pod,
                overlap,
            } => {
                let id = self.id(binding);
                if let Some(pod) = self.take(binding, pod) {
                    let slices = self.slices.get_mut(&id).unwrap();
                    if overlap {
                        slices[0].push(pod.clone());
                        slices[1].push(pod.clone());
                    }
                    self.state(id, Evidence::None);
                    let slices = self.slices.get_mut(&id).unwrap();
                    for slice in slices.iter_mut() {
                        slice.retain(|other| *other != pod);
                    }
                    slices[usize::from(pod.uid % 2 == 0)].push(pod);
                    self.state(id, Evidence::None);
                }
            }
            Event::Empty { binding, evidence } => {
                let id = self.id(binding);
                self.slices.insert(id, [Vec::new(), Vec::new()]);
                self.state(id, evidence);
            }
            Event::ServiceGone { binding } => self.bound(binding).facts.service = Stated::Known(None),
            Event::ServiceBack { binding } => {
                let id = self.id(binding);
                self.repair(id);
            }
            Event::FactsUnknown { binding } => {
                if self.world.instances {
                    // The store remembers which node an instance had, whatever it forgets.
                    let id = self.id(binding);
                    self.world.state(id, &[], Evidence::None);
                }
                self.bound(binding).facts.slices = Stated::Unknown;
            }
            Event::Agent { cluster, up } => {
                let id = self.clusters[cluster];
                if up {
                    self.world.down.remove(&id)
                } else {
                    self.world.down.insert(id)
                };
            }
            Event::Confirm { binding } => {
                let id = self.id(binding);
                if !self
                    .world
                    .down
                    .contains(&self.world.bindings[&id].binding.cluster)
                {
                    self.world.binding(id).facts.confirmed_at = Some(now);
                }
            }
            Event::Mode { cluster, mode } => self.world.set_mode(self.clusters[cluster], mode),
            Event::Standing { binding, standing } => {
                let binding = &mut self.bound(binding).binding;
                if binding.lifecycle == Lifecycle::Active {
                    binding.standing = standing;
                }
            }
            Event::Delete { binding } => {
                let binding = &mut self.bound(binding).binding;
                binding.standing = Standing::Served;
                binding.lifecycle = Lifecycle::Deleted { at: now };
            }
            Event::HoldDeletion { binding } => {
                let hold = HoldId(uuid::Uuid::from_u128(1));
                let binding = &mut self.bound(binding).binding;
                binding.standing = Standing::Served;
                binding.lifecycle = Lifecycle::DeletionHeld { at: now, hold };
            }
            Event::Return { binding } => self.bound(binding).binding.lifecycle = Lifecycle::Active,
            Event::ForeignRegister { ip } => {
                let foreign = TargetKey::ip(std::net::Ipv4Addr::new(10, 0, 1, ip).into(), 80);
                self.world.aws.insert(foreign.clone(), HealthState::Healthy);
                self.judge.foreign.insert(foreign);
            }
            Event::Drift { target } => {
                let ours: Vec<_> = self.world.ledger.keys().cloned().collect();
                if !ours.is_empty() {
                    self.world.aws.remove(&ours[target % ours.len()]);
                }
            }
            Event::Observe { stale } => self.world.observe(SignedDuration::from_millis(stale)),
            Event::Fate(fate) => self.fate = fate,
            Event::Restored(restored) => self.world.restored = restored,
            Event::Failover { fence } => {
                self.world.fenced_until = Some(now.checked_add(SignedDuration::from_millis(fence)).unwrap());
            }
            Event::Release { target } => {
                let ours: Vec<_> = self.world.ledger.keys().cloned().collect();
                if !ours.is_empty() {
                    self.world.released.insert(ours[target % ours.len()].clone(), now);
                }
            }
        }
        self.step();
    }

    fn id(&self, binding: usize) -> BindingId {
        self.bindings[binding % self.bindings.len()]
    }

    fn bound(&mut self, binding: usize) -> &mut model::group::BoundService {
        let id = self.id(binding);
        self.world.binding(id)
    }

    fn wait(&mut self, millis: i64) {
        self.step();
        self.world.wait(SignedDuration::from_millis(millis));
        self.step();
    }

    fn take(&mut self, binding: usize, pod: usize) -> Option<Pod> {
        let id = self.id(binding);
        let slices = self.slices.get_mut(&id).unwrap();
        let pods: Vec<_> = slices.iter().flatten().cloned().collect();
        let pod = pods.get(pod % pods.len().max(1))?.clone();
        for slice in slices {
            slice.retain(|other| *other != pod);
        }
        Some(pod)
    }

    fn change(&mut self, binding: usize, pod: usize, change: impl Fn(&mut Pod)) {
        let id = self.id(binding);
        if let Some(mut pod) = self.take(binding, pod) {
            change(&mut pod);
            if pod.terminating {
                self.judge.ended.insert(pod.uid);
            }
            self.slices.get_mut(&id).unwrap()[1].push(pod);
            self.state(id, Evidence::None);
        }
    }

    /// The agent states its slices, if it can; the planner is asked after every statement.
    fn state(&mut self, id: BindingId, evidence: Evidence) {
        if !self
            .world
            .down
            .contains(&self.world.bindings[&id].binding.cluster)
        {
            self.world.state(id, &self.slices[&id].clone(), evidence);
        }
        self.step();
    }

    /// The Service exists again and all is stated.
    fn repair(&mut self, id: BindingId) {
        let object = self.world.bindings[&id].binding.object.clone();
        let mut donor = World::new();
        let cluster = donor.cluster("donor", Mode::Full);
        let donor_id = donor.bind(cluster, &object.name);
        self.world.binding(id).facts.service = donor.bindings[&donor_id].facts.service.clone();
        self.world.state(id, &self.slices[&id].clone(), Evidence::None);
    }

    fn step(&mut self) {
        self.judge.remember(&self.world);
        let plan = self.world.plan();
        self.world.apply(&plan, self.fate);
        self.judge.judge(&self.world);
        if self.fate == Fate::Answered && !plan.steps.is_empty() {
            let again = self.world.settle();
            self.judge.judge(&self.world);
            assert!(
                again.len() <= 3,
                "planning what was applied must come to rest: {again:#?}"
            );
        }
        self.fate = Fate::Answered;
    }

    /// All clusters speak, all is well: wanted is registered in the end.
    fn converge(mut self) {
        self.world.restored = false;
        self.world.down.clear();
        for cluster in self.clusters.clone() {
            self.world.set_mode(cluster, Mode::Full);
        }
        for id in self.bindings.clone() {
            if let Lifecycle::DeletionHeld { at, .. } = self.world.bindings[&id].binding.lifecycle {
                self.world.binding(id).binding.lifecycle = Lifecycle::Deleted { at };
            }
            self.world.binding(id).binding.standing = Standing::Served;
            let slices = self.slices.get_mut(&id).unwrap();
            slices.iter_mut().flatten().for_each(|pod| pod.ready = true);
            self.repair(id);
        }
        let mut quiet = 0;
        for _ in 0..60 {
            // What vanished while nobody served it is noticed only now. Somebody says that there is no contest.
            self.world.drifts.clear();
            let calls = self.world.registered_calls.len() + self.world.deregistered.len();
            self.wait(16_000);
            self.happen(Event::Observe { stale: 0 });
            for relist in self.world.plan().relists {
                let asked: Vec<_> = self
                    .bindings
                    .iter()
                    .filter(|id| self.world.bindings[id].binding.object == relist.service)
                    .copied()
                    .collect();
                for id in asked {
                    self.world.binding(id).facts.confirmed_at = Some(self.world.now);
                    let instances = self.world.instances;
                    let departures = &mut self.world.binding(id).facts.departures;
                    // The live read of a node that left does not find it.
                    for departure in departures.iter_mut().filter(|_| instances) {
                        departure.evidence = departure.evidence.max(Evidence::PodGone);
                    }
                }
            }
            let idle = calls == self.world.registered_calls.len() + self.world.deregistered.len();
            quiet = if idle { quiet + 1 } else { 0 };
            if quiet == 5 {
                break;
            }
        }
        assert_eq!(
            quiet, 5,
            "AWS is still written to after a quarter of an hour of peace"
        );
        let wanted: BTreeSet<_> = self.bindings.iter().flat_map(|id| self.wanted(*id)).collect();
        let registered = self
            .world
            .ledger
            .values()
            .filter(|row| row.state == LedgerState::Registered);
        let registered: BTreeSet<_> = registered.map(|row| row.key().clone()).collect();
        assert_eq!(
            registered,
            wanted,
            "the ledger is what is wanted\n{:#?}",
            self.world.plan()
        );
        let in_aws: BTreeSet<_> = self
            .world
            .in_aws()
            .difference(&self.judge.foreign)
            .cloned()
            .collect();
        assert_eq!(in_aws, wanted, "AWS has what is wanted");
        assert_eq!(
            self.world.ledger.len(),
            wanted.len(),
            "nothing is left behind in the ledger"
        );
    }

    fn wanted(&self, id: BindingId) -> BTreeSet<TargetKey> {
        if self.world.bindings[&id].binding.lifecycle != Lifecycle::Active {
            return BTreeSet::new();
        }
        ready(&self.world, id)
    }
}

/// The addresses that a Service has ready, over all of its slices, as Kubernetes defines it.
fn ready(world: &World, id: BindingId) -> BTreeSet<TargetKey> {
    let facts = &world.bindings[&id].facts;
    let (Stated::Known(Some(_)), Stated::Known(slices)) = (&facts.service, &facts.slices) else {
        return BTreeSet::new();
    };
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.is_ready() && !endpoint.is_terminating());
    ready
        .map(|endpoint| world.key_of(endpoint.addresses[0]))
        .collect()
}

/// Whether the cluster has stated that the node behind an instance ends, or ended and has no successor.
fn node_ended(world: &World, id: BindingId, key: &TargetKey) -> bool {
    let facts = &world.bindings[&id].facts;
    let is_key = |address: &IpAddr| world.key_of(*address) == *key;
    let endpoints = facts
        .slices
        .known()
        .into_iter()
        .flatten()
        .flat_map(|slice| &slice.endpoints);
    let mut standing = endpoints
        .filter(|endpoint| is_key(&endpoint.addresses[0]))
        .peekable();
    if standing.peek().is_some() {
        return standing.all(model::fact::Endpoint::is_terminating);
    }
    let mut departures = facts.departures.iter();
    departures.any(|departure| is_key(&departure.address) && departure.evidence.is_positive())
}

/// Whether another cluster of the VPC has stated that a pod of its own has the target's address.
fn is_reassigned(world: &World, id: BindingId, row: &LedgerTarget) -> bool {
    let Some(ours) = &row.pod else { return false };
    let own = &world.clusters[&world.bindings[&id].binding.cluster].cluster;
    world.bindings.values().any(|other| {
        let theirs = &world.clusters[&other.binding.cluster].cluster;
        let slices = other.facts.slices.known().into_iter().flatten();
        theirs.id != own.id
            && theirs.spec.vpc_id == own.spec.vpc_id
            && slices.flat_map(|slice| &slice.endpoints).any(|endpoint| {
                world.key_of(endpoint.addresses[0]) == *row.key()
                    && !endpoint.is_terminating()
                    && endpoint.pod.as_ref().is_some_and(|pod| pod.uid != ours.uid)
            })
    })
}

impl Judge {
    fn remember(&mut self, world: &World) {
        for (id, bound) in &world.bindings {
            let held: BTreeSet<_> = match bound.binding.lifecycle {
                Lifecycle::Deleted { .. } | Lifecycle::Relinquished { .. } => BTreeSet::new(),
                Lifecycle::DeletionHeld { .. } => world.ledger.keys().cloned().collect(),
                Lifecycle::Active if bound.facts.slices == Stated::Unknown => {
                    world.ledger.keys().cloned().collect()
                }
                Lifecycle::Active => ready(world, *id),
            };
            for key in held {
                self.foreign.remove(&key);
                self.last_held.insert((*id, key), world.now);
            }
        }
        let live =
            |row: &&LedgerTarget| matches!(row.state, LedgerState::Registering | LedgerState::Registered);
        self.sizes
            .push((world.now, world.ledger.values().filter(live).count()));
    }

    /// Judges the removals that happened since it was last asked.
    fn judge(&mut self, after: &World) {
        self.remember(after);
        for removal in &after.deregistered[self.judged..] {
            let row = removal
                .row
                .as_ref()
                .unwrap_or_else(|| panic!("S7: {} is not ours", removal.key));
            assert!(
                !self.foreign.contains(&removal.key),
                "S7: {} is foreign",
                removal.key
            );
            assert!(!after.restored, "removed although the database was restored");
            let fence = after.fenced_until;
            assert!(
                fence.is_none_or(|until| removal.at >= until && after.targets.at() > Some(until)),
                "S8: removed before the former writer is surely silent"
            );
            for id in &row.bindings {
                self.judge_holder(after, removal, *id);
            }
            // A call again for the same intent is no second removal.
            let again = matches!(row.state, LedgerState::Deregistering | LedgerState::Deregistered);
            if !again {
                self.judge_portion(after, removal);
            }
        }
        self.judged = after.deregistered.len();
        for key in &self.foreign {
            assert_eq!(
                after.aws.get(key),
                Some(&HealthState::Healthy),
                "S7: {key} is untouched"
            );
        }
        for (at, addition) in &after.registered_calls[self.judged_additions..] {
            let writes = addition.bindings.iter().any(|id| {
                let binding = &after.bindings[id].binding;
                let mode = after.clusters[&binding.cluster].cluster.spec.mode;
                binding.standing.acts() && mode != Mode::Observe
            });
            assert!(
                writes,
                "S12: {at}: {} is registered for a cluster that is observed, or an object that is somebody else's",
                addition.target.key
            );
        }
        self.judged_additions = after.registered_calls.len();
    }

    fn judge_holder(&self, world: &World, removal: &Deregistered, id: BindingId) {
        let Deregistered { key, ground, row, .. } = removal;
        let bound = &world.bindings[&id];
        let Registered { cluster, last_seen } = &world.clusters[&bound.binding.cluster];
        let row = row.as_ref().unwrap();
        assert_eq!(
            cluster.spec.mode,
            Mode::Full,
            "S12: {key} is removed although the cluster is {}",
            cluster.spec.mode
        );
        assert!(
            bound.binding.standing.acts(),
            "{key} is removed and the object is {:?}",
            bound.binding.standing
        );
        let contested = |id: &BindingId| {
            let binding = &world.bindings[id].binding;
            binding.standing == Standing::Contested && binding.lifecycle == Lifecycle::Active
        };
        assert!(
            !world.bindings.keys().any(contested) || world.released.contains_key(key),
            "{key} is removed and somebody else writes to the group"
        );
        let wants = bound.binding.lifecycle == Lifecycle::Active && ready(world, id).contains(key);
        assert!(!wants, "M12, S20: {key} is removed and a binding has it ready");
        let deleted = matches!(bound.binding.lifecycle, Lifecycle::Deleted { .. });
        let ended = row
            .pod
            .as_ref()
            .is_some_and(|pod| self.ended.contains(&pod.uid.as_u128()))
            || world.instances && node_ended(world, id, key);
        if deleted || ended || is_reassigned(world, id, row) || *ground == Ground::Released {
            return;
        }
        assert!(
            !ground.is_positive(),
            "{key} is removed as {ground:?}, which is not true of all its bindings"
        );
        assert!(
            last_seen.is_some_and(|seen| world.now.duration_since(seen) <= world.guards.silent_after),
            "S1: {key} is removed for a silent cluster"
        );
        if matches!(row.state, LedgerState::Deregistering | LedgerState::Deregistered) {
            return;
        }
        let held = self
            .last_held
            .get(&(id, key.clone()))
            .copied()
            .unwrap_or(Timestamp::MIN);
        assert!(
            removal.at.duration_since(held) >= world.guards.hold_down,
            "S10: {key} is removed {:?} after it was wanted",
            removal.at.duration_since(held)
        );
        if *ground == Ground::Confirmed {
            let confirmed = bound.facts.confirmed_at.unwrap();
            assert!(confirmed >= held, "S3: {key} was confirmed before it went");
        }
    }

    /// S3: what goes without proof goes in portions, and the last target stays.
    fn judge_portion(&self, world: &World, removal: &Deregistered) {
        if !matches!(removal.ground, Ground::Unproven(_) | Ground::NotReady) {
            return;
        }
        let opened = removal.at.checked_sub(world.guards.window).unwrap();
        let calls = world
            .deregistered
            .iter()
            .filter(|other| other.at > opened && other.at <= removal.at);
        let sizes = self
            .sizes
            .iter()
            .filter(|(at, _)| *at > opened)
            .map(|(_, size)| *size);
        let size = sizes
            .chain(calls.clone().map(|call| call.live_before as usize))
            .max()
            .unwrap();
        let first = |other: &&Deregistered| {
            other.row.as_ref().is_some_and(|row| {
                !matches!(row.state, LedgerState::Deregistering | LedgerState::Deregistered)
            })
        };
        let gone = calls
            .filter(|other| matches!(other.ground, Ground::Unproven(_) | Ground::NotReady))
            .filter(first)
            .count();
        assert!(
            gone <= (size * 30 / 100).max(1),
            "S3: {gone} of {size} went without proof within a window"
        );
        // The most that had been removed at that moment stands in the ledger after all of the plan's removals.
        let left = world
            .ledger
            .values()
            .filter(|row| row.state == LedgerState::Registered)
            .count();
        assert!(left >= 1, "S3: the last target went without proof");
    }
}

pub(crate) fn histories(default: u32) -> u32 {
    std::env::var("ELBOW_HISTORIES").map_or(default, |count| {
        count.parse().expect("ELBOW_HISTORIES is a number")
    })
}

pub(crate) fn runner(cases: u32) -> (TestRunner, u64) {
    let seed = match std::env::var("ELBOW_SEED") {
        Ok(seed) => seed.parse().expect("ELBOW_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    (
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)),
        seed,
    )
}

#[test]
fn no_history_removes_what_it_must_not_and_all_converge() {
    judge_histories(World::new);
}

#[test]
fn no_history_of_nodes_removes_an_instance_that_it_must_not_and_all_converge() {
    judge_histories(World::of_instances);
}

fn judge_histories(world: fn() -> World) {
    let cases = histories(1_000);
    let (mut runner, seed) = runner(cases);
    println!("{cases} histories, ELBOW_SEED={seed} (ELBOW_HISTORIES=100000 for the full size)");
    let result = runner.run(&prop::collection::vec(event(), 1..40), |events| {
        let mut history = History::new(world());
        for event in events {
            history.happen(event);
        }
        history.converge();
        Ok(())
    });
    if let Err(error) = result {
        panic!("ELBOW_SEED={seed}: {error}");
    }
}

#[test]
fn a_pod_that_moves_between_slices_in_any_order_costs_no_removal() {
    let cases = histories(1_000);
    let (mut runner, seed) = runner(cases);
    println!("{cases} histories, ELBOW_SEED={seed}");
    // Each update states the pods of one slice; together the slices always have all pods but the one in flight.
    let moves = prop::collection::vec((0..8_u8, 0..3_usize, any::<bool>(), 0..4_000_i64), 1..30);
    let result = runner.run(&moves, |moves| {
        let mut world = World::new();
        let cluster = world.cluster("alpha", Mode::Full);
        let id = world.bind(cluster, "web");
        let mut slices = vec![
            (0..8_u8).map(|ip| Pod::new(ip, ip.into())).collect::<Vec<_>>(),
            vec![],
            vec![],
        ];
        world.state(id, &slices, Evidence::None);
        world.settle();
        for (ip, to, add_first, pause) in moves {
            let pod = Pod::new(ip, ip.into());
            let leave = |slices: &mut Vec<Vec<Pod>>| {
                for (index, slice) in slices.iter_mut().enumerate() {
                    slice.retain(|other| *other != pod || add_first && index == to);
                }
            };
            let arrive = |slices: &mut Vec<Vec<Pod>>| {
                if !slices[to].contains(&pod) {
                    slices[to].push(pod.clone());
                }
            };
            if add_first {
                arrive(&mut slices);
            } else {
                leave(&mut slices);
            }
            world.state(id, &slices, Evidence::None);
            world.settle();
            world.wait(SignedDuration::from_millis(pause));
            world.settle();
            if add_first {
                leave(&mut slices);
            } else {
                arrive(&mut slices);
            }
            world.state(id, &slices, Evidence::None);
            world.settle();
        }
        prop_assert!(world.deregistered.is_empty(), "S20: {:?}", world.deregistered);
        prop_assert_eq!(world.in_aws(), (0..8).map(key).collect::<BTreeSet<_>>());
        Ok(())
    });
    if let Err(error) = result {
        panic!("ELBOW_SEED={seed}: {error}");
    }
}
