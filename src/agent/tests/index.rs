//! The index as plain functions.

mod mirror;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use agent::index::{Event, Index, Input, Kind, Namespaces, PodWatch, Resync};
use mirror::Mirror;
use model::{
    fact::{AddressFamily, Endpoint, EndpointSlice, Evidence, ObjectName, ObjectVersion, PodRef, Service},
    node::{Node, NodeReady, NodeRef, Taint},
    ownership::Marks,
    pod::Pod,
    stream::{Change, Confirm, Source, Statement, Update, Vanished},
};
use proptest::prelude::*;
use uuid::Uuid;

impl Mirror {
    /// Takes everything that the index has to say; returns the departures among it and the last revision.
    fn drain(&mut self, index: &mut Index) -> (Vec<Vanished>, u64) {
        let mut departures = Vec::new();
        let mut last = 0;
        while let Some(statement) = index.next_statement() {
            if let Statement::Update { revision, update } = statement {
                assert!(revision > last, "revisions rise");
                last = revision;
                if let Update::Departures { vanished, .. } = &update {
                    departures.extend(vanished.clone());
                }
                self.fold(update);
            }
        }
        (departures, last)
    }

    /// The same without resourceVersions, and with the Services of `subscribed` alone.
    #[must_use]
    fn essence(&self, subscribed: &BTreeSet<ObjectName>) -> Self {
        let mut essence = self.clone();
        essence
            .sources
            .values_mut()
            .for_each(|source| source.version.resource_version = 0);
        essence.services.retain(|service, _| subscribed.contains(service));
        essence
            .services
            .values_mut()
            .flatten()
            .for_each(|service| service.version.resource_version = 0);
        essence.slices.retain(|service, _| subscribed.contains(service));
        essence
            .slices
            .values_mut()
            .flat_map(BTreeMap::values_mut)
            .for_each(|s| s.version.resource_version = 0);
        essence
            .nodes
            .values_mut()
            .for_each(|node| node.version.resource_version = 0);
        essence
    }
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn uid(kind: u8, number: u8) -> Uuid {
    Uuid::from_bytes([kind, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
}

fn source(number: u8, generation: i64) -> Source {
    Source {
        object: name(&format!("binding-{number}")),
        version: ObjectVersion {
            uid: uid(1, number),
            resource_version: 1,
        },
        generation,
        spec: serde_json::json!({"generation": generation}),
        deleting: false,
        marks: Some(Marks::default()),
    }
}

fn service(service: &str, revision: u8) -> Service {
    Service {
        object: name(service),
        version: ObjectVersion {
            uid: uid(2, service.as_bytes()[0]),
            resource_version: 1,
        },
        service_type: format!("Type{revision}"),
        ports: vec![],
        selector: BTreeMap::new(),
    }
}

fn pod(number: u8) -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: format!("pod-{number}"),
        uid: uid(4, number),
    }
}

/// The endpoints are pods by number; those above 100 are terminating.
fn slice(number: u8, service: &str, endpoints: &[u8]) -> EndpointSlice {
    let endpoints = endpoints.iter().map(|number| Endpoint {
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, number % 100))],
        ready: Some(*number < 100),
        serving: None,
        terminating: Some(*number >= 100),
        node: None,
        zone: None,
        pod: Some(pod(number % 100)),
    });
    EndpointSlice {
        object: name(&format!("slice-{number}")),
        version: ObjectVersion {
            uid: uid(3, number),
            resource_version: 1,
        },
        service: service.into(),
        family: AddressFamily::Ipv4,
        ports: vec![],
        endpoints: endpoints.collect(),
    }
}

/// A node by number; `state` is what may change of it.
fn node(number: u8, state: u8) -> Node {
    Node {
        name: format!("node-{number}"),
        version: ObjectVersion {
            uid: uid(5, number),
            resource_version: 1,
        },
        provider_id: Some(format!("aws:///us-east-1a/i-0000000000000000{number}")),
        labels: BTreeMap::from([("state".to_owned(), state.to_string())]),
        taints: vec![],
        ready: NodeReady::True,
        unschedulable: false,
    }
}

fn listed<T: agent::index::Object>(
    objects: impl IntoIterator<Item = T>,
    input: fn(Event<T>) -> Input,
) -> Vec<Input> {
    let mut events = vec![input(Event::Init(None))];
    events.extend(objects.into_iter().map(|object| input(Event::InitApply(object))));
    events.push(input(Event::InitDone(None)));
    events
}

fn synced(sources: Vec<Source>, services: Vec<Service>, slices: Vec<EndpointSlice>) -> Index {
    let mut index = Index::default();
    for input in listed(sources, Input::Sources) {
        index.handle(input);
    }
    for input in listed(services, Input::Services) {
        index.handle(input);
    }
    for input in listed(slices, Input::Slices) {
        index.handle(input);
    }
    index
}

fn subscription(services: &[&str]) -> BTreeSet<ObjectName> {
    services.iter().map(|service| name(service)).collect()
}

/// A connected index with one Service and its slices, everything told and stored.
fn following(slices: Vec<EndpointSlice>) -> (Index, Mirror) {
    let mut index = synced(vec![], vec![service("web", 1)], slices);
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    (index, mirror)
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let mut rest = items.to_vec();
        rest.remove(i);
        for mut permutation in permutations(&rest) {
            permutation.insert(0, item.clone());
            all.push(permutation);
        }
    }
    all
}

#[test]
fn an_index_that_is_not_synced_says_nothing() {
    let mut index = Index::default();
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(index.next_statement(), None);
    index.handle(Input::Sources(Event::Init(None)));
    index.handle(Input::Sources(Event::InitApply(source(1, 1))));
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[1]))));
    assert_eq!(index.next_statement(), None);
}

/// S5: whatever the order in which kinds become visible and wherever the stream is cut, a server that knew everything
/// still does.
#[test]
fn a_first_snapshot_that_is_cut_at_any_message_removes_nothing() {
    let sources = vec![source(1, 1), source(2, 1), source(3, 1)];
    let services = vec![service("web", 1), service("api", 1)];
    let slices = vec![
        slice(1, "web", &[1, 2]),
        slice(2, "web", &[3]),
        slice(3, "api", &[4]),
    ];
    let subscribed = subscription(&["web", "api"]);
    let mut truth = Mirror::default();
    let nodes = vec![node(1, 0), node(2, 0)];
    let mut index = synced(sources.clone(), services.clone(), slices.clone());
    for input in listed(nodes.clone(), Input::Nodes) {
        index.handle(input);
    }
    index.connect(1);
    index.subscribe(subscribed.clone(), true);
    truth.drain(&mut index);
    assert_eq!((truth.sources.len(), truth.slices[&name("web")].len()), (3, 2));
    assert_eq!(truth.nodes.len(), 2);

    let kinds = [
        listed(sources, Input::Sources),
        listed(services, Input::Services),
        listed(slices, Input::Slices),
        listed(nodes, Input::Nodes),
    ];
    let mut cuts = 0;
    for order in permutations(&kinds) {
        let events: Vec<Input> = order.into_iter().flatten().collect();
        for connect_at in 0..=events.len() {
            for subscribe_at in connect_at..=events.len() {
                let mut index = Index::default();
                let mut mirror = truth.clone();
                for at in 0..=events.len() {
                    if at == connect_at {
                        index.connect(2);
                    }
                    if at == subscribe_at {
                        index.subscribe(subscribed.clone(), true);
                    }
                    // After each message the stream could end: the fold of every prefix is checked.
                    while let Some(statement) = index.next_statement() {
                        if let Statement::Update { update, .. } = statement {
                            mirror.fold(update);
                        }
                        assert_eq!(mirror, truth);
                        cuts += 1;
                    }
                    if let Some(event) = events.get(at) {
                        index.handle(event.clone());
                    }
                }
            }
        }
    }
    assert!(cuts > 1_000, "{cuts}");
}

/// S20.
#[test]
fn an_endpoint_that_moves_between_slices_in_any_order_does_not_depart() {
    // Pod 1 is in slice 1 and ends in slice 3; slice 2 holds it for a while. Each step sets one slice.
    let steps: [(u8, &[u8]); 4] = [(2, &[1, 8]), (3, &[1, 9]), (1, &[7]), (2, &[8])];
    for order in permutations(&steps) {
        // The last word on slice 2 is that it does not hold the pod.
        let last_of_two = order.iter().rev().find(|(slice, _)| *slice == 2);
        if last_of_two.is_none_or(|(_, endpoints)| endpoints.contains(&1)) {
            continue;
        }
        for drain_between in [false, true] {
            let mut holders = BTreeSet::from([1]);
            let start = vec![
                slice(1, "web", &[1, 7]),
                slice(2, "web", &[8]),
                slice(3, "web", &[9]),
            ];
            let (mut index, mut mirror) = following(start);
            let mut departures = Vec::new();
            let mut proofs = Vec::new();
            let mut always_there = true;
            for (number, endpoints) in &order {
                index.handle(Input::Slices(Event::Apply(slice(*number, "web", endpoints))));
                if endpoints.contains(&1) {
                    holders.insert(*number)
                } else {
                    holders.remove(number)
                };
                always_there &= !holders.is_empty();
                proofs.extend(index.take_proofs());
                if drain_between {
                    departures.extend(mirror.drain(&mut index).0);
                }
            }
            // The reads come back after the endpoint did.
            for proof in &proofs {
                index.proven(&proof.service, &proof.key, Evidence::NotSelected);
            }
            departures.extend(mirror.drain(&mut index).0);
            assert_eq!(departures, [], "{order:?}");
            assert!(proofs.is_empty() || !always_there, "{order:?}");
            let held = mirror.slices[&name("web")]
                .values()
                .flat_map(|slice| &slice.endpoints);
            assert_eq!(
                held.filter(|endpoint| endpoint.pod == Some(pod(1))).count(),
                1,
                "{order:?}"
            );
        }
    }
}

#[test]
fn a_terminating_endpoint_departs_with_its_evidence_after_the_slice_that_lost_it() {
    let (mut index, _) = following(vec![slice(1, "web", &[1, 2])]);
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[101, 2]))));
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[2]))));
    assert_eq!(index.take_proofs(), []);
    let updates: Vec<_> = std::iter::from_fn(|| index.next_statement()).collect();
    let [
        Statement::Update {
            update: Update::Slices { .. },
            ..
        },
        Statement::Update {
            update: Update::Departures { vanished, .. },
            ..
        },
    ] = updates.as_slice()
    else {
        panic!("{updates:?}")
    };
    assert_eq!((vanished.len(), vanished[0].evidence), (1, Evidence::Terminating));
    assert_eq!(vanished[0].pod, Some(pod(1)));
}

#[test]
fn a_departure_is_told_with_what_the_read_proved_and_again_until_it_is_stored() {
    let (mut index, mut mirror) = following(vec![slice(1, "web", &[1, 2])]);
    index.handle(Input::Slices(Event::Delete {
        object: name("slice-1"),
        uid: uid(3, 1),
    }));
    assert_eq!(
        mirror.drain(&mut index).0,
        [],
        "the slice goes at once, the reason follows"
    );
    let proofs = index.take_proofs();
    assert_eq!(proofs.len(), 2);
    for proof in &proofs {
        index.proven(&proof.service, &proof.key, Evidence::PodGone);
    }
    let (departures, revision) = mirror.drain(&mut index);
    assert!(
        departures
            .iter()
            .all(|vanished| vanished.evidence == Evidence::PodGone)
    );
    assert_eq!(departures.len(), 2);

    index.disconnect();
    index.connect(2);
    index.subscribe(subscription(&["web"]), false);
    let (again, _) = mirror.drain(&mut index);
    assert_eq!(again, departures, "nobody said that it was stored");

    index.acknowledged(revision + 10);
    index.disconnect();
    index.connect(3);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(mirror.drain(&mut index).0, []);
}

#[test]
fn a_kind_that_is_lost_is_told_as_unsynced_and_removes_nothing() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    index.handle(Input::Sources(Event::Lost(None, "404: no such kind".into())));
    let unsynced = Statement::Unsynced {
        kind: "TargetGroupBinding".to_owned(),
        namespace: None,
        reason: "404: no such kind".to_owned(),
    };
    assert_eq!(index.next_statement(), Some(unsynced));
    assert_eq!(index.next_statement(), None);
    index.handle(Input::Sources(Event::Lost(None, "404: no such kind".into())));
    assert_eq!(index.next_statement(), None, "once");

    // A new stream hears of it too, and of no sources.
    index.connect(2);
    assert!(matches!(index.next_statement(), Some(Statement::Unsynced { .. })));
    assert_eq!(index.next_statement(), None);
    for input in listed([source(1, 1)], Input::Sources) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.len(), 1);
}

#[test]
fn a_status_that_was_written_is_no_news() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    Mirror::default().drain(&mut index);
    let mut written = source(1, 1);
    written.version.resource_version = 99;
    index.handle(Input::Sources(Event::Apply(written)));
    assert_eq!(index.next_statement(), None);
}

#[test]
fn an_object_that_cannot_be_read_stays_as_it_was() {
    let mut index = synced(vec![source(1, 1), source(2, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    index.handle(Input::Sources(Event::Init(None)));
    index.handle(Input::Sources(Event::Unreadable(name("binding-1"))));
    index.handle(Input::Sources(Event::InitDone(None)));
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.keys().collect::<Vec<_>>(), [&name("binding-1")]);
}

#[test]
fn the_deletion_of_a_former_object_of_a_name_does_not_remove_the_present_one() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    index.handle(Input::Sources(Event::Delete {
        object: name("binding-1"),
        uid: uid(1, 77),
    }));
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.len(), 1);
}

#[test]
fn a_confirmation_is_told_to_the_stream_that_asked_and_to_no_other() {
    let (mut index, _) = following(vec![]);
    let confirm = Confirm {
        relist_id: 7,
        object: name("web"),
        service: None,
        slices: vec![],
        pods: vec![],
        nodes: vec![],
    };
    index.confirm(1, confirm.clone());
    assert!(matches!(
        index.next_statement(),
        Some(Statement::Update {
            update: Update::Confirm(_),
            ..
        })
    ));
    index.confirm(0, confirm);
    assert_eq!(index.next_statement(), None);
}

/// An index that follows these nodes, everything told and stored.
fn following_nodes(nodes: Vec<Node>) -> (Index, Mirror) {
    let (mut index, mut mirror) = following(vec![]);
    for input in listed(nodes, Input::Nodes) {
        index.handle(input);
    }
    index.subscribe(subscription(&["web"]), true);
    mirror.drain(&mut index);
    (index, mirror)
}

#[test]
fn nodes_are_told_once_they_are_wanted_and_not_before() {
    let mut index = Index::default();
    for input in listed([node(1, 0)], Input::Nodes) {
        index.handle(input);
    }
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    index.handle(Input::Nodes(Event::Apply(node(2, 0))));
    assert_eq!(index.next_statement(), None);
    index.subscribe(subscription(&["web"]), true);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes.len(), 2);
    index.subscribe(subscription(&["web"]), false);
    index.handle(Input::Nodes(Event::Apply(node(1, 1))));
    assert_eq!(index.next_statement(), None);
}

/// An index of the namespaces `shop`, whose kinds are listed, and `other`, whose are not.
fn of_two_namespaces() -> Index {
    let namespaces = ["shop", "other"].map(str::to_owned).into();
    let mut index = Index::of(Namespaces::These(namespaces));
    let shop = || Some("shop".to_owned());
    for input in [
        Input::Sources(Event::Init(shop())),
        Input::Sources(Event::InitApply(source(1, 1))),
        Input::Sources(Event::InitDone(shop())),
        Input::Services(Event::Init(shop())),
        Input::Services(Event::InitDone(shop())),
        Input::Slices(Event::Init(shop())),
        Input::Slices(Event::InitDone(shop())),
    ] {
        index.handle(input);
    }
    index
}

fn updates(index: &mut Index) -> Vec<Update> {
    let statements = std::iter::from_fn(|| index.next_statement());
    statements
        .map(|statement| match statement {
            Statement::Update { update, .. } => update,
            other => panic!("no update: {other:?}"),
        })
        .collect()
}

#[test]
fn a_namespace_that_cannot_be_seen_is_named_and_keeps_no_other_from_being_told() {
    let mut index = of_two_namespaces();
    index.connect(1);
    let shop = Update::SourcesOf {
        namespaces: ["shop".to_owned()].into(),
        sources: vec![source(1, 1)],
    };
    assert_eq!(updates(&mut index), [shop]);

    let other = || Some("other".to_owned());
    index.handle(Input::Sources(Event::Lost(other(), "403".into())));
    let unsynced = Statement::Unsynced {
        kind: "TargetGroupBinding".into(),
        namespace: other(),
        reason: "403".into(),
    };
    assert_eq!(index.next_statement(), Some(unsynced));
    index.handle(Input::Sources(Event::Apply(source(2, 1))));
    assert!(
        matches!(&updates(&mut index)[..], [Update::Sources(Change::Patch { upserted, .. })] if upserted.len() == 1)
    );

    // Seen at last, it is told with the others.
    index.handle(Input::Sources(Event::Init(other())));
    index.handle(Input::Sources(Event::InitDone(other())));
    let told = updates(&mut index);
    assert!(
        matches!(&told[..], [Update::SourcesOf { namespaces, sources }] if namespaces.len() == 2 && sources.len() == 2),
        "{told:?}"
    );
    // A list of one namespace takes nothing from another.
    index.handle(Input::Sources(Event::Init(other())));
    index.handle(Input::Sources(Event::InitDone(other())));
    assert_eq!(index.next_statement(), None);
    assert!(!index.is_synced(), "the Services of `other` were never listed");
}

#[test]
fn of_a_namespace_that_is_not_looked_at_nothing_is_said_not_even_absence() {
    let mut index = of_two_namespaces();
    index.connect(1);
    updates(&mut index);
    let elsewhere = ObjectName::new("elsewhere", "web");
    let unlisted = ObjectName::new("other", "web");
    index.subscribe([elsewhere, unlisted, name("web")].into(), false);
    let told = updates(&mut index);
    let is_of_shop = |update: &Update| match update {
        Update::Service { object, state } => *object == name("web") && state.is_none(),
        Update::Slices { service, .. } => *service == name("web"),
        _ => false,
    };
    assert!(told.len() == 2 && told.iter().all(is_of_shop), "{told:?}");
}

#[test]
fn nodes_that_cannot_be_seen_are_unsynced_for_those_who_want_them_and_never_deleted() {
    let mut index = Index::default();
    index.connect(1);
    index.handle(Input::Nodes(Event::Lost(None, "403: forbidden".into())));
    assert_eq!(index.next_statement(), None, "an older server knows no nodes");
    index.subscribe(subscription(&["web"]), true);
    assert_eq!(
        index.next_statement(),
        Some(Statement::Unsynced {
            kind: "Node".into(),
            namespace: None,
            reason: "403: forbidden".into()
        })
    );
    assert_eq!(index.next_statement(), None);

    let (mut index, mut mirror) = following_nodes(vec![node(1, 0)]);
    index.handle(Input::Nodes(Event::Lost(None, "404".into())));
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes.len(), 1);
}

#[test]
fn the_end_of_a_node_is_told_after_it_was_proven_and_again_until_it_is_stored() {
    let (mut index, mut mirror) = following_nodes(vec![node(1, 0), node(2, 0)]);
    index.handle(Input::Nodes(Event::Delete {
        object: "node-1".into(),
        uid: uid(5, 1),
    }));
    let said = index.next_statement();
    assert!(
        matches!(&said, Some(Statement::Update { update: Update::Nodes(Change::Patch { deleted, .. }), .. }) if deleted.len() == 1),
        "{said:?}"
    );
    assert_eq!(
        index.next_statement(),
        None,
        "the node goes at once, the proof follows"
    );
    let gone = index.take_node_proofs();
    assert_eq!(gone, [node(1, 0).node_ref()]);
    let tells = |index: &mut Index| -> (Vec<NodeRef>, u64) {
        let mut told = (vec![], 0);
        while let Some(statement) = index.next_statement() {
            if let Statement::Update { revision, update } = statement {
                told.1 = revision;
                if let Update::NodesGone(nodes) = update {
                    told.0.extend(nodes);
                }
            }
        }
        told
    };
    index.node_is_gone(gone[0].clone());
    assert_eq!(tells(&mut index).0, gone);
    index.disconnect();
    index.connect(2);
    index.subscribe(subscription(&["web"]), true);
    let (again, revision) = tells(&mut index);
    assert_eq!(again, gone, "nobody said that it was stored");
    index.acknowledged(revision);
    index.connect(3);
    index.subscribe(subscription(&["web"]), true);
    assert_eq!(tells(&mut index).0, []);
    mirror.drain(&mut index);
}

#[test]
fn a_node_of_another_uid_by_the_same_name_asks_for_proof_of_the_former_ones_end() {
    let (mut index, mut mirror) = following_nodes(vec![node(1, 0)]);
    let mut another = node(1, 0);
    another.version.uid = uid(6, 1);
    index.handle(Input::Nodes(Event::Apply(another)));
    assert_eq!(index.take_node_proofs(), [node(1, 0).node_ref()]);
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes["node-1"].version.uid, uid(6, 1));
    let mut changed = node(1, 0);
    changed.version.uid = uid(6, 1);
    changed.taints = vec![Taint {
        key: "k".into(),
        effect: "NoSchedule".into(),
    }];
    index.handle(Input::Nodes(Event::Apply(changed)));
    assert_eq!(index.take_node_proofs(), []);
}

#[test]
fn a_node_that_only_lives_on_is_no_news() {
    let (mut index, _) = following_nodes(vec![node(1, 0)]);
    let mut beat = node(1, 0);
    beat.version.resource_version = 99;
    index.handle(Input::Nodes(Event::Apply(beat)));
    assert_eq!(index.next_statement(), None);
}

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

/// A Service whose selector is `app=<app>`.
fn selecting(service_name: &str, app: &str) -> Service {
    Service {
        selector: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        ..service(service_name, 1)
    }
}

/// A pod by number with a gate of `binding`, if any.
fn gated(number: u8, binding: Option<&str>, grace_seconds: u32) -> Pod {
    let PodRef { namespace, name, uid } = pod(number);
    Pod {
        object: ObjectName { namespace, name },
        version: ObjectVersion {
            uid,
            resource_version: 1,
        },
        gates: binding
            .map(|binding| (binding.to_owned(), None))
            .into_iter()
            .collect(),
        containers_ready: true,
        terminating: false,
        grace_seconds,
    }
}

fn begun(watches: &[PodWatch]) -> u64 {
    let [.., PodWatch::Begin { id, .. }] = watches else {
        panic!("a watch begins: {watches:?}")
    };
    *id
}

/// Of the watch of the pods of `web`.
fn of_watch(watch: u64, events: Vec<Event<Pod>>) -> impl Iterator<Item = Input> {
    of_watch_in("shop", watch, events)
}

fn of_watch_in(namespace: &str, watch: u64, events: Vec<Event<Pod>>) -> impl Iterator<Item = Input> {
    let service = ObjectName::new(namespace, "web");
    events.into_iter().map(move |event| Input::Pods {
        service: service.clone(),
        watch,
        event,
    })
}

/// A connected index that follows `web`, with the watch of its pods.
fn selected() -> (Index, Mirror, u64) {
    let mut index = synced(
        vec![],
        vec![selecting("web", "web"), selecting("api", "api")],
        vec![],
    );
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(index.take_pod_watches(), [], "nobody wants pods");
    index.want_pods(true);
    let watches = index.take_pod_watches();
    assert_eq!(
        watches,
        [PodWatch::Begin {
            id: begun(&watches),
            service: name("web"),
            view: None,
            selector: BTreeMap::from([("app".into(), "web".into())]),
        }],
        "of a Service that is subscribed, by its selector"
    );
    (index, Mirror::default(), begun(&watches))
}

#[test]
fn of_the_pods_that_a_subscribed_service_selects_those_with_a_gate_are_told() {
    let (mut index, mut mirror, watch) = selected();
    for input in of_watch(
        watch,
        vec![Event::Init(None), Event::InitApply(gated(1, Some("web"), 40))],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.pods, BTreeMap::new(), "the list is not complete");
    for input in of_watch(
        watch,
        vec![Event::InitApply(gated(2, None, 20)), Event::InitDone(None)],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    let told: Vec<_> = mirror.pods[&name("web")].values().cloned().collect();
    assert_eq!(told, [gated(1, Some("web"), 40)]);
    assert_eq!(mirror.graces[&name("web")], Some(20), "of all of them");

    // What nobody asked about is no news; another shortest grace is.
    for input in of_watch(watch, vec![Event::Apply(gated(3, None, 30))]) {
        index.handle(input);
    }
    assert_eq!(index.next_statement(), None);
    let mut leaving = gated(2, None, 20);
    leaving.terminating = true;
    for input in of_watch(watch, vec![Event::Apply(leaving)]) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.graces[&name("web")], Some(30));
    let deleted = Event::Delete {
        object: name("pod-1"),
        uid: pod(1).uid,
    };
    for input in of_watch(watch, vec![deleted]) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.pods[&name("web")], BTreeMap::new());
}

#[test]
fn another_selector_is_another_watch_and_what_the_old_one_says_is_nothing() {
    let (mut index, mut mirror, old) = selected();
    for input in of_watch(
        old,
        vec![
            Event::Init(None),
            Event::InitApply(gated(1, Some("web"), 30)),
            Event::InitDone(None),
        ],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    index.handle(Input::Services(Event::Apply(selecting("web", "blue"))));
    let watches = index.take_pod_watches();
    let new = begun(&watches);
    assert_eq!(watches[0], PodWatch::End { id: old });
    for input in of_watch(
        old,
        vec![Event::Delete {
            object: name("pod-1"),
            uid: pod(1).uid,
        }],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(
        mirror.pods[&name("web")].len(),
        1,
        "until the new list is complete"
    );
    for input in of_watch(
        new,
        vec![
            Event::Init(None),
            Event::InitApply(gated(2, Some("web"), 30)),
            Event::InitDone(None),
        ],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    let told: Vec<_> = mirror.pods[&name("web")].keys().cloned().collect();
    assert_eq!(told, [name("pod-2")]);

    // A new stream is told all of it again, and a server that wants no pods ends the watch.
    index.connect(2);
    index.subscribe(subscription(&["web"]), false);
    index.want_pods(true);
    assert_eq!(index.take_pod_watches(), []);
    let mut fresh = Mirror::default();
    fresh.drain(&mut index);
    assert_eq!(fresh.pods, mirror.pods);
    index.want_pods(false);
    assert_eq!(index.take_pod_watches(), [PodWatch::End { id: new }]);
}

#[test]
fn pods_that_cannot_be_seen_are_told_as_unsynced_and_stay() {
    let (mut index, mut mirror, watch) = selected();
    let listed = || {
        vec![
            Event::Init(None),
            Event::InitApply(gated(1, Some("web"), 30)),
            Event::InitDone(None),
        ]
    };
    for input in of_watch(watch, listed()) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    for input in of_watch(watch, vec![Event::Lost(None, "403: forbidden".into())]) {
        index.handle(input);
    }
    let unsynced = index.next_statement();
    assert!(
        matches!(&unsynced, Some(Statement::Unsynced { kind, .. }) if kind == "Pod"),
        "{unsynced:?}"
    );
    assert_eq!(index.next_statement(), None);
    for input in of_watch(watch, listed()) {
        index.handle(input);
    }
    assert!(
        matches!(
            index.next_statement(),
            Some(Statement::Update {
                update: Update::Pods {
                    change: Change::Reset(_),
                    ..
                },
                ..
            })
        ),
        "a reset ends it"
    );
}

#[test]
fn pods_that_cannot_be_seen_in_a_namespace_are_told_as_unsynced_there_to_those_who_want_them() {
    let mut index = Index::of(Namespaces::These(["shop", "other"].map(str::to_owned).into()));
    let services = [
        selecting("web", "web"),
        Service {
            object: ObjectName::new("other", "web"),
            ..selecting("web", "web")
        },
    ];
    for service in &services {
        index.handle(Input::Services(Event::Apply(service.clone())));
    }
    let subscription = || services.iter().map(|service| service.object.clone()).collect();
    index.connect(1);
    index.subscribe(subscription(), false);
    index.want_pods(true);
    let watches: BTreeMap<_, _> = index
        .take_pod_watches()
        .into_iter()
        .map(|watch| match watch {
            PodWatch::Begin {
                id, service, view, ..
            } => {
                assert_eq!(view.as_ref(), Some(&service.namespace));
                (service.namespace, id)
            }
            end @ PodWatch::End { .. } => panic!("{end:?}"),
        })
        .collect();
    let (shop, other) = (|| Some("shop".to_owned()), || Some("other".to_owned()));
    let unsynced = |namespace| Statement::Unsynced {
        kind: "Pod".into(),
        namespace,
        reason: "403".into(),
    };
    let lose = |index: &mut Index, view: Option<String>| {
        let namespace = view.clone().unwrap();
        let lost = Event::Lost(view, "403".into());
        of_watch_in(&namespace, watches[&namespace], vec![lost]).for_each(|input| index.handle(input));
    };
    lose(&mut index, other());
    assert_eq!(index.next_statement(), Some(unsynced(other())));
    assert_eq!(index.next_statement(), None);

    // A stream of a server that has not asked for pods yet, as an older one never does.
    index.connect(2);
    index.subscribe(subscription(), false);
    lose(&mut index, shop());
    assert_eq!(index.next_statement(), None);
    index.want_pods(true);
    index.want_pods(true);
    let told: Vec<_> = std::iter::from_fn(|| index.next_statement()).collect();
    assert_eq!(told, [unsynced(other()), unsynced(shop())]);

    let listed = vec![Event::Init(shop()), Event::InitDone(shop())];
    of_watch(watches["shop"], listed).for_each(|input| index.handle(input));
    assert_eq!(
        index.sizes()[4],
        (Kind::Pod, 0, false),
        "those of `other` are not seen"
    );
    index.want_pods(true);
    assert_eq!(index.next_statement(), None, "what was told once is known");
}
