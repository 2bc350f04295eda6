//! Whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use agent::index::{Event, Index, Input, Resync};
use model::{
    fact::{EndpointSlice, Evidence, ObjectName},
    stream::{Statement, Update},
};
use proptest::prelude::*;

use crate::{
    mirror::Mirror,
    support::{listed, name, node, service, slice, source, subscription, uid},
};

#[derive(Clone, Debug)]
enum Step {
    Node(u8, Option<u8>),
    Source(u8, Option<i64>),
    Service(bool, Option<u8>),
    Slice(u8, Option<(bool, Vec<u8>)>),
    Relist(u8),
    Lost(u8),
    Connect,
    Disconnect,
    Subscribe(bool, bool, bool),
    Resync(u8),
    Drain(u8),
    Prove,
    Ack,
}

fn step() -> impl Strategy<Value = Step> {
    let endpoints = proptest::collection::vec(prop_oneof![1..6_u8, 101..106_u8], 0..4);
    prop_oneof![
        4 => (0..3_u8, proptest::option::of(1..4_i64)).prop_map(|(n, g)| Step::Source(n, g)),
        2 => (any::<bool>(), proptest::option::of(0..3_u8)).prop_map(|(s, r)| Step::Service(s, r)),
        8 => (0..4_u8, proptest::option::of((any::<bool>(), endpoints))).prop_map(|(n, e)| Step::Slice(n, e)),
        4 => (0..3_u8, proptest::option::of(0..3_u8)).prop_map(|(n, s)| Step::Node(n, s)),
        1 => (0..4_u8).prop_map(Step::Relist),
        1 => (0..4_u8).prop_map(Step::Lost),
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        2 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, b, n)| Step::Subscribe(a, b, n)),
        1 => (0..3_u8).prop_map(Step::Resync),
        4 => (0..6_u8).prop_map(Step::Drain),
        1 => Just(Step::Prove),
        1 => Just(Step::Ack),
    ]
}

/// What the API server has, and an index that sees of it what its watches bring.
#[derive(Default)]
struct World {
    index: Index,
    truth: Mirror,
    visible: [bool; 4],
    subscribed: BTreeSet<ObjectName>,
    nodes: bool,
    epoch: u64,
    mirror: Mirror,
    last_revision: u64,
}

impl World {
    fn slices(&self) -> Vec<EndpointSlice> {
        self.truth
            .slices
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    fn relist(&mut self, kind: u8) {
        let inputs = match kind {
            0 => listed(
                self.truth.sources.values().cloned().collect::<Vec<_>>(),
                Input::Sources,
            ),
            1 => listed(
                self.truth
                    .services
                    .values()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>(),
                Input::Services,
            ),
            2 => listed(self.slices(), Input::Slices),
            _ => listed(
                self.truth.nodes.values().cloned().collect::<Vec<_>>(),
                Input::Nodes,
            ),
        };
        for input in inputs {
            self.index.handle(input);
        }
        self.visible[usize::from(kind)] = true;
    }

    fn connect(&mut self) {
        self.epoch += 1;
        self.index.connect(self.epoch);
        self.index.subscribe(self.subscribed.clone(), self.nodes);
    }

    fn see(&mut self, kind: usize, input: Input) {
        if self.visible[kind] {
            self.index.handle(input);
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm per step")]
    fn take(&mut self, step: Step) {
        match step {
            Step::Source(n, Some(generation)) => {
                let source = source(n, generation);
                self.truth.sources.insert(source.object.clone(), source.clone());
                self.see(0, Input::Sources(Event::Apply(source)));
            }
            Step::Source(n, None) => {
                let object = source(n, 1).object;
                if self.truth.sources.remove(&object).is_some() {
                    self.see(
                        0,
                        Input::Sources(Event::Delete {
                            object,
                            uid: uid(1, n),
                        }),
                    );
                }
            }
            Step::Service(first, Some(revision)) => {
                let service = service(if first { "web" } else { "api" }, revision);
                self.truth
                    .services
                    .insert(service.object.clone(), Some(service.clone()));
                self.see(1, Input::Services(Event::Apply(service)));
            }
            Step::Service(first, None) => {
                let service = service(if first { "web" } else { "api" }, 0);
                if self
                    .truth
                    .services
                    .insert(service.object.clone(), None)
                    .flatten()
                    .is_some()
                {
                    let (object, uid) = (service.object, service.version.uid);
                    self.see(1, Input::Services(Event::Delete { object, uid }));
                }
            }
            Step::Slice(n, Some((first, endpoints))) => {
                let slice = slice(n, if first { "web" } else { "api" }, &endpoints);
                self.truth.slices.values_mut().for_each(|slices| {
                    slices.remove(&slice.object);
                });
                let slices = self.truth.slices.entry(name(&slice.service)).or_default();
                slices.insert(slice.object.clone(), slice.clone());
                self.see(2, Input::Slices(Event::Apply(slice)));
            }
            Step::Slice(n, None) => {
                let object = name(&format!("slice-{n}"));
                let gone = self
                    .truth
                    .slices
                    .values_mut()
                    .filter_map(|slices| slices.remove(&object))
                    .count();
                if gone > 0 {
                    self.see(
                        2,
                        Input::Slices(Event::Delete {
                            object,
                            uid: uid(3, n),
                        }),
                    );
                }
            }
            Step::Node(n, Some(state)) => {
                let node = node(n, state);
                self.truth.nodes.insert(node.name.clone(), node.clone());
                self.see(3, Input::Nodes(Event::Apply(node)));
            }
            Step::Node(n, None) => {
                let object = node(n, 0).name;
                if self.truth.nodes.remove(&object).is_some() {
                    let uid = uid(5, n);
                    self.see(3, Input::Nodes(Event::Delete { object, uid }));
                }
            }
            Step::Relist(kind) => self.relist(kind),
            Step::Lost(kind) => {
                self.visible[usize::from(kind)] = false;
                let reason = "403".to_owned();
                self.index.handle(match kind {
                    0 => Input::Sources(Event::Lost(None, reason)),
                    1 => Input::Services(Event::Lost(None, reason)),
                    2 => Input::Slices(Event::Lost(None, reason)),
                    _ => Input::Nodes(Event::Lost(None, reason)),
                });
            }
            Step::Connect => self.connect(),
            Step::Disconnect => self.index.disconnect(),
            Step::Subscribe(web, api, nodes) => {
                self.subscribed = [("web", web), ("api", api)]
                    .iter()
                    .filter(|s| s.1)
                    .map(|s| name(s.0))
                    .collect();
                self.nodes = nodes;
                self.index.subscribe(self.subscribed.clone(), nodes);
            }
            Step::Resync(0) => self.index.resync(&Resync::Sources),
            Step::Resync(1) => self.index.resync(&Resync::Service(name("web"))),
            Step::Resync(_) => self.index.resync(&Resync::Nodes),
            Step::Drain(count) => {
                for _ in 0..count {
                    if let Some(Statement::Update { revision, update }) = self.index.next_statement() {
                        self.last_revision = revision;
                        self.mirror.fold(update);
                    }
                }
            }
            Step::Prove => {
                for proof in self.index.take_proofs() {
                    self.index
                        .proven(&proof.service, &proof.key, Evidence::NotSelected);
                }
                for node in self.index.take_node_proofs() {
                    self.index.node_is_gone(node);
                }
            }
            Step::Ack => self.index.acknowledged(self.last_revision),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The fold law: what was sent, folded, is what the cluster has, whatever happened on the way.
    #[test]
    fn the_fold_of_all_that_was_sent_is_the_state(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
        }
        for kind in 0..4 {
            world.relist(kind);
        }
        world.subscribed = subscription(&["web", "api"]);
        world.nodes = true;
        if world.index.epoch().is_none() {
            world.connect();
        } else {
            world.index.subscribe(world.subscribed.clone(), true);
        }
        world.mirror.drain(&mut world.index);
        for service in &world.subscribed {
            world.truth.services.entry(service.clone()).or_default();
            world.truth.slices.entry(service.clone()).or_default();
        }
        let subscribed = world.subscribed.clone();
        prop_assert_eq!(world.mirror.essence(&subscribed), world.truth.essence(&subscribed));
        prop_assert!(!world.index.has_next());
    }

    /// An endpoint that is in some slice of its Service is never told to have departed.
    #[test]
    fn what_is_in_the_union_has_not_departed(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        for kind in 0..4 {
            world.relist(kind);
        }
        world.subscribed = subscription(&["web", "api"]);
        world.nodes = true;
        world.connect();
        for step in steps {
            if matches!(step, Step::Lost(_) | Step::Drain(_)) {
                continue;
            }
            world.take(step);
            while let Some(statement) = world.index.next_statement() {
                if let Statement::Update { update: Update::Departures { service, vanished }, .. } = &statement {
                    let present = world.truth.slices.get(service).into_iter().flat_map(BTreeMap::values);
                    let present: BTreeSet<_> = present.flat_map(|slice| &slice.endpoints).filter_map(|e| e.pod.clone()).collect();
                    prop_assert!(vanished.iter().all(|v| v.pod.as_ref().is_none_or(|pod| !present.contains(pod))));
                }
            }
        }
    }
}
