//! What is sent arrives, and what arrives broken takes nothing away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use model::{
    condition::Truth,
    fact::{
        AddressFamily, Endpoint, EndpointSlice, Evidence, ObjectName, ObjectVersion, PodRef, Protocol,
        Service, ServicePort, SlicePort,
    },
    node::{Node, NodeReady, NodeRef, Taint},
    ownership::{Marks, Pulse, Surroundings, Webhook, WebhookKind},
    pod::{GateState, Pod},
    stream::{
        Change, Confirm, Hello, NodeReading, PodReading, Source, Statement, Tombstone, Update, Vanished,
    },
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use uuid::Uuid;
use wire::{
    agent::v1,
    convert::{Stamped, agent_message},
};

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

fn object() -> impl Strategy<Value = ObjectName> {
    (name(), name()).prop_map(|(namespace, name)| ObjectName { namespace, name })
}

fn uid() -> impl Strategy<Value = Uuid> {
    (1..u128::MAX).prop_map(Uuid::from_u128)
}

fn version() -> impl Strategy<Value = ObjectVersion> {
    (uid(), 1..u64::MAX).prop_map(|(uid, resource_version)| ObjectVersion {
        uid,
        resource_version,
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

fn pod() -> impl Strategy<Value = PodRef> {
    (object(), uid()).prop_map(|(object, uid)| PodRef {
        namespace: object.namespace,
        name: object.name,
        uid,
    })
}

fn source() -> impl Strategy<Value = Source> {
    let marks = option::of(marks());
    (object(), version(), 1..i64::MAX, name(), any::<bool>(), marks).prop_map(
        |(object, version, generation, arn, deleting, marks)| Source {
            object,
            version,
            generation,
            spec: serde_json::json!({"targetGroupARN": arn}),
            deleting,
            marks,
        },
    )
}

fn marks() -> impl Strategy<Value = Marks> {
    let names = || proptest::collection::btree_set(name(), 0..3);
    let labels = proptest::collection::btree_map(name(), name(), 0..3);
    (labels, names(), names()).prop_map(|(labels, finalizers, annotations)| Marks {
        labels,
        finalizers,
        annotations,
    })
}

fn surroundings() -> impl Strategy<Value = Surroundings> {
    let webhooks = |kind| vec(name().prop_map(move |name| Webhook { kind, name }), 0..2);
    let webhooks = (webhooks(WebhookKind::Validating), webhooks(WebhookKind::Mutating));
    let webhooks = webhooks.prop_map(|(validating, mutating)| [validating, mutating].concat());
    let lbc = prop_oneof![
        Just(Pulse::None),
        (name(), name()).prop_map(|(lease, holder)| Pulse::Beats { lease, holder }),
    ];
    (option::of(webhooks), option::of(lbc)).prop_map(|(webhooks, lbc)| Surroundings { webhooks, lbc })
}

fn service(object: ObjectName) -> impl Strategy<Value = Service> {
    let port = (name(), 1..u16::MAX, protocol(), option::of(1..u16::MAX)).prop_map(
        |(name, port, protocol, node_port)| ServicePort {
            name,
            port,
            protocol,
            node_port,
        },
    );
    let selector = proptest::collection::btree_map(name(), name(), 0..3);
    (version(), name(), vec(port, 0..3), selector).prop_map(
        move |(version, service_type, ports, selector)| Service {
            object: object.clone(),
            version,
            service_type,
            ports,
            selector,
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    let truth = || option::of(any::<bool>());
    (
        vec(address, 1..3),
        truth(),
        truth(),
        truth(),
        option::of(name()),
        option::of(name()),
        option::of(pod()),
    )
        .prop_map(
            |(addresses, ready, serving, terminating, node, zone, pod)| Endpoint {
                addresses,
                ready,
                serving,
                terminating,
                node,
                zone,
                pod,
            },
        )
}

fn slice(service: ObjectName) -> impl Strategy<Value = EndpointSlice> {
    let port = (name(), option::of(1..u16::MAX), protocol()).prop_map(|(name, port, protocol)| SlicePort {
        name,
        port,
        protocol,
    });
    let family = prop_oneof![
        Just(AddressFamily::Ipv4),
        Just(AddressFamily::Ipv6),
        Just(AddressFamily::Fqdn)
    ];
    (name(), version(), family, vec(port, 0..3), vec(endpoint(), 0..4)).prop_map(
        move |(name, version, family, ports, endpoints)| EndpointSlice {
            object: ObjectName {
                namespace: service.namespace.clone(),
                name,
            },
            version,
            service: service.name.clone(),
            family,
            ports,
            endpoints,
        },
    )
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(Evidence::None),
        Just(Evidence::NotSelected),
        Just(Evidence::PodGone),
        Just(Evidence::Terminating)
    ]
}

fn node_ref() -> impl Strategy<Value = NodeRef> {
    (name(), uid()).prop_map(|(name, uid)| NodeRef { name, uid })
}

fn node(name: impl Strategy<Value = String>) -> impl Strategy<Value = Node> {
    let ready = prop_oneof![
        Just(NodeReady::True),
        Just(NodeReady::False),
        Just(NodeReady::Unknown),
        Just(NodeReady::Absent)
    ];
    let taint = (self::name(), self::name()).prop_map(|(key, effect)| Taint { key, effect });
    let labels = proptest::collection::btree_map(self::name(), self::name(), 0..3);
    (
        name,
        version(),
        option::of(self::name()),
        labels,
        vec(taint, 0..3),
        ready,
        any::<bool>(),
    )
        .prop_map(
            |(name, version, provider_id, labels, taints, ready, unschedulable)| Node {
                name,
                version,
                provider_id,
                labels,
                taints,
                ready,
                unschedulable,
            },
        )
}

fn node_reading() -> impl Strategy<Value = NodeReading> {
    node_ref().prop_flat_map(|node_ref| {
        let found = option::of(node(Just(node_ref.name.clone())));
        found.prop_map(move |found| NodeReading {
            node: node_ref.clone(),
            found,
        })
    })
}

fn nodes() -> impl Strategy<Value = Update> {
    prop_oneof![
        distinct(node(name()), 0..4, |node| &node.name).prop_map(|nodes| Update::Nodes(Change::Reset(nodes))),
        (
            distinct(node(name()), 0..3, |node| &node.name),
            vec(node_ref(), 0..3)
        )
            .prop_map(|(upserted, deleted)| Update::Nodes(Change::Patch { upserted, deleted })),
        vec(node_ref(), 1..3).prop_map(Update::NodesGone),
    ]
}

/// A list in which nothing has the name of another.
fn distinct<T: std::fmt::Debug, K: Ord + Clone + 'static>(
    one: impl Strategy<Value = T>,
    size: std::ops::Range<usize>,
    name: fn(&T) -> &K,
) -> impl Strategy<Value = Vec<T>> {
    vec(one, size).prop_map(move |mut list| {
        let mut names = BTreeSet::new();
        list.retain(|item| names.insert(name(item).clone()));
        list
    })
}

fn gated_pod(namespace: String) -> impl Strategy<Value = Pod> {
    let truth = prop_oneof![Just(Truth::True), Just(Truth::False), Just(Truth::Unknown)];
    let state = (truth, ".{0,4}", ".{0,4}").prop_map(|(status, reason, message)| GateState {
        status,
        reason: reason.replace('\0', ""),
        message: message.replace('\0', ""),
    });
    let gates = prop::collection::btree_map(name(), option::of(state), 0..3);
    (
        name(),
        version(),
        gates,
        any::<bool>(),
        any::<bool>(),
        any::<u32>(),
    )
        .prop_map(
            move |(name, version, gates, containers_ready, terminating, grace_seconds)| Pod {
                object: ObjectName::new(namespace.clone(), name),
                version,
                gates,
                containers_ready,
                terminating,
                grace_seconds,
            },
        )
}

fn change<T: Clone + std::fmt::Debug + 'static>(
    namespace: Option<String>,
    one: impl Strategy<Value = T> + Clone + 'static,
    name: fn(&T) -> &ObjectName,
) -> impl Strategy<Value = Change<T>> {
    let tombstone = (object(), uid()).prop_map(move |(mut object, uid)| {
        if let Some(namespace) = &namespace {
            object.namespace.clone_from(namespace);
        }
        Tombstone { object, uid }
    });
    prop_oneof![
        distinct(one.clone(), 0..4, name).prop_map(Change::Reset),
        (distinct(one, 0..3, name), vec(tombstone, 0..3))
            .prop_map(|(upserted, deleted)| Change::Patch { upserted, deleted }),
    ]
}

fn update() -> impl Strategy<Value = Update> {
    let of_service = object().prop_flat_map(|object| {
        let state = option::of(service(object.clone()));
        let scope = object.clone();
        let slices = change(
            Some(object.namespace.clone()),
            slice(object.clone()).boxed(),
            |slice| &slice.object,
        );
        let pods = (
            change(
                Some(object.namespace.clone()),
                gated_pod(object.namespace.clone()).boxed(),
                |pod| &pod.object,
            ),
            option::of(any::<u32>()),
        );
        let vanished =
            (any::<u32>(), option::of(pod()), evidence()).prop_map(|(bits, pod, evidence)| Vanished {
                address: IpAddr::V4(bits.into()),
                pod,
                evidence,
            });
        let reading = (pod(), evidence()).prop_map(|(pod, evidence)| PodReading { pod, evidence });
        let confirmed = (
            1..u64::MAX,
            option::of(service(object.clone())),
            distinct(slice(object), 0..3, |slice| &slice.object),
            vec(reading, 0..3),
            vec(node_reading(), 0..3),
        );
        let names = (scope.clone(), scope.clone(), scope.clone(), scope.clone(), scope);
        prop_oneof![
            state.prop_map(move |state| Update::Service {
                object: names.0.clone(),
                state
            }),
            slices.prop_map(move |change| Update::Slices {
                service: names.1.clone(),
                change
            }),
            pods.prop_map(move |(change, shortest_grace)| Update::Pods {
                service: names.4.clone(),
                change,
                shortest_grace
            }),
            vec(vanished, 1..4).prop_map(move |vanished| Update::Departures {
                service: names.2.clone(),
                vanished
            }),
            confirmed.prop_map(move |(relist_id, service, slices, pods, nodes)| {
                Update::Confirm(Confirm {
                    relist_id,
                    object: names.3.clone(),
                    service,
                    slices,
                    pods,
                    nodes,
                })
            }),
        ]
    });
    prop_oneof![
        1 => change(None, source().boxed(), |source| &source.object).prop_map(Update::Sources),
        1 => (distinct(source(), 0..4, |source| &source.object), name()).prop_map(|(sources, empty)| Update::SourcesOf {
            namespaces: sources.iter().map(|source| source.object.namespace.clone()).chain([empty]).collect(),
            sources,
        }),
        2 => nodes(),
        4 => of_service,
    ]
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        8 => (1..u64::MAX, update()).prop_map(|(revision, update)| Statement::Update { revision, update }),
        1 => (1..u64::MAX, option::of(name())).prop_map(|(id, error)| Statement::WriteBackResult { id, error }),
        1 => option::of(surroundings()).prop_map(|surroundings| Statement::Heartbeat { surroundings }),
        1 => (option::of(name()), name()).prop_map(|(namespace, reason)| {
            Statement::Unsynced { kind: "Service".into(), namespace, reason }
        }),
    ]
}

fn receive(bytes: &[u8]) -> Result<Stamped, String> {
    let message = v1::AgentMessage::decode(bytes).map_err(|error| error.to_string())?;
    Stamped::try_from(message).map_err(|error| error.to_string())
}

/// What a statement keeps in being. A statement that keeps less, or says that more is gone, takes something away.
fn kept(statement: &Statement) -> BTreeSet<String> {
    let Statement::Update { update, .. } = statement else {
        return BTreeSet::new();
    };
    let of_slices = |slices: &[EndpointSlice]| slices.iter().flat_map(kept_by_slice).collect::<BTreeSet<_>>();
    match update {
        Update::Sources(
            Change::Reset(sources)
            | Change::Patch {
                upserted: sources, ..
            },
        )
        | Update::SourcesOf { sources, .. } => {
            sources.iter().map(|source| source.object.to_string()).collect()
        }
        Update::Service { state, .. } => kept_by_service(state.as_ref()),
        Update::Slices {
            change: Change::Reset(slices) | Change::Patch { upserted: slices, .. },
            ..
        } => of_slices(slices),
        Update::Nodes(Change::Reset(nodes) | Change::Patch { upserted: nodes, .. }) => {
            nodes.iter().flat_map(kept_by_node).collect()
        }
        Update::Pods {
            change: Change::Reset(pods) | Change::Patch { upserted: pods, .. },
            ..
        } => pods.iter().flat_map(kept_by_pod).collect(),
        Update::Departures { .. } | Update::NodesGone(_) => BTreeSet::new(),
        // A node that was not read is not confirmed, and no less there.
        Update::Confirm(confirm) => &kept_by_service(confirm.service.as_ref()) | &of_slices(&confirm.slices),
    }
}

fn kept_by_service(service: Option<&Service>) -> BTreeSet<String> {
    let service = service.into_iter();
    service
        .flat_map(|s| {
            s.ports
                .iter()
                .map(|port| format!("port {}", port.port))
                .chain(["service".into()])
        })
        .collect()
}

fn kept_by_slice(slice: &EndpointSlice) -> Vec<String> {
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let ports = slice
        .ports
        .iter()
        .map(|port| format!("{} port {:?}", slice.object, port.port));
    addresses
        .map(|address| format!("{} {address}", slice.object))
        .chain(ports)
        .chain([slice.object.to_string()])
        .collect()
}

/// A node that loses a label may lose its place among the targets.
fn kept_by_node(node: &Node) -> Vec<String> {
    let labels = node
        .labels
        .keys()
        .map(|key| format!("node {} label {key}", node.name));
    labels.chain([format!("node {}", node.name)]).collect()
}

fn kept_by_pod(pod: &Pod) -> Vec<String> {
    let gates = pod.gates.keys();
    gates
        .map(|gate| format!("pod {} gate {gate}", pod.object))
        .chain([format!("pod {}", pod.object)])
        .collect()
}

/// What a statement says is gone.
fn gone(statement: &Statement) -> BTreeSet<String> {
    let Statement::Update { update, .. } = statement else {
        return BTreeSet::new();
    };
    match update {
        Update::Sources(Change::Patch { deleted, .. })
        | Update::Slices {
            change: Change::Patch { deleted, .. },
            ..
        }
        | Update::Pods {
            change: Change::Patch { deleted, .. },
            ..
        } => deleted
            .iter()
            .map(|tombstone| format!("{} {}", tombstone.object, tombstone.uid))
            .collect(),
        Update::Departures { vanished, .. } => {
            let positive = vanished.iter().filter(|vanished| vanished.evidence.is_positive());
            positive.map(|vanished| vanished.address.to_string()).collect()
        }
        // What it says to be complete, so that what is not listed there is gone.
        Update::SourcesOf { namespaces, .. } => namespaces.clone(),
        Update::Confirm(confirm) => {
            let positive = confirm
                .pods
                .iter()
                .filter(|reading| reading.evidence.is_positive());
            let pods = positive.map(|reading| reading.pod.uid.to_string());
            let nodes = confirm.nodes.iter().filter(|reading| reading.is_gone());
            pods.chain(nodes.map(|reading| reading.node.uid.to_string()))
                .collect()
        }
        Update::Nodes(Change::Patch { deleted: nodes, .. }) | Update::NodesGone(nodes) => {
            nodes.iter().map(|node| node.uid.to_string()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Whether a patch lost what it would have added: that is late, not gone. Resets and states have no such excuse.
fn is_late(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Update {
            update: Update::Sources(Change::Patch { .. })
                | Update::Nodes(Change::Patch { .. })
                | Update::Slices {
                    change: Change::Patch { .. },
                    ..
                }
                | Update::Pods {
                    change: Change::Patch { .. },
                    ..
                },
            ..
        }
    )
}

fn slices_kept_whole(original: &Statement, broken: &Statement) -> bool {
    let slices = |statement: &Statement| match statement {
        Statement::Update {
            update:
                Update::Slices {
                    change: Change::Patch { upserted, .. },
                    ..
                },
            ..
        } => upserted
            .iter()
            .map(|slice| {
                (
                    slice.object.clone(),
                    kept_by_slice(slice).into_iter().collect::<BTreeSet<_>>(),
                )
            })
            .collect::<BTreeMap<_, _>>(),
        _ => BTreeMap::new(),
    };
    let original = slices(original);
    slices(broken)
        .iter()
        .all(|(object, kept)| original.get(object).is_none_or(|whole| whole.is_subset(kept)))
}

fn descriptor() -> MessageDescriptor {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let files = protox::compile(["elbow/agent/v1/agent.proto"], [proto]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name("elbow.agent.v1.AgentMessage").unwrap()
}

/// Every message that is `message` without one field or one element of a list, at any depth.
fn without_one(message: &DynamicMessage) -> Vec<DynamicMessage> {
    let mut all = Vec::new();
    let fields: Vec<_> = message
        .fields()
        .map(|(field, value)| (field, value.clone()))
        .collect();
    for (field, value) in fields {
        let mut cleared = message.clone();
        cleared.clear_field(&field);
        all.push(cleared);
        let mut replace = |value: Value| {
            let mut copy = message.clone();
            copy.set_field(&field, value);
            all.push(copy);
        };
        match value {
            Value::Message(inner) => without_one(&inner)
                .into_iter()
                .for_each(|inner| replace(Value::Message(inner))),
            Value::List(items) => {
                for i in 0..items.len() {
                    let mut shorter = items.clone();
                    let item = shorter.remove(i);
                    replace(Value::List(shorter));
                    if let Value::Message(inner) = item {
                        for broken in without_one(&inner) {
                            let mut list = items.clone();
                            list[i] = Value::Message(broken);
                            replace(Value::List(list));
                        }
                    }
                }
            }
            Value::Map(entries) => {
                for key in entries.keys() {
                    let mut smaller = entries.clone();
                    smaller.remove(key);
                    replace(Value::Map(smaller));
                }
            }
            _ => {}
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_sent_arrives(epoch in 1..u64::MAX, statement in statement()) {
        let bytes = agent_message(epoch, statement.clone()).encode_to_vec();
        prop_assert_eq!(receive(&bytes), Ok(Stamped { epoch, statement }));
    }

    #[test]
    fn a_truncated_message_is_an_error(statement in statement(), cut in any::<prop::sample::Index>()) {
        let bytes = agent_message(1, statement).encode_to_vec();
        prop_assert!(receive(&bytes[..cut.index(bytes.len())]).is_err());
    }

    /// S4.
    #[test]
    fn a_message_without_any_one_of_its_fields_takes_nothing_away(statement in statement()) {
        let bytes = agent_message(1, statement.clone()).encode_to_vec();
        let whole = DynamicMessage::decode(descriptor(), bytes.as_slice()).unwrap();
        for broken in without_one(&whole) {
            let Ok(Stamped { statement: broken, .. }) = receive(&broken.encode_to_vec()) else { continue };
            prop_assert!(gone(&broken).is_subset(&gone(&statement)), "{broken:?}");
            let kept_all = kept(&statement).is_subset(&kept(&broken));
            prop_assert!(kept_all || is_late(&statement), "{broken:?}");
            prop_assert!(slices_kept_whole(&statement, &broken), "{broken:?}");
        }
    }

    #[test]
    fn noise_is_an_error_or_a_value_and_never_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = receive(&bytes);
    }

    #[test]
    fn a_message_with_flipped_bits_never_panics(statement in statement(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = agent_message(1, statement).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let _ = receive(&bytes);
    }
}

#[test]
fn an_error_names_the_path_of_its_field() {
    let meta = |uid: &str| v1::ObjectMeta {
        namespace: "shop".into(),
        name: "web".into(),
        uid: uid.into(),
        resource_version: 1,
    };
    let binding = |uid: &str| v1::TargetGroupBinding {
        meta: Some(meta(uid)),
        generation: 1,
        spec_json: "{}".into(),
        deleting: false,
        marks: None,
    };
    let reset = v1::SourceReset {
        target_group_bindings: vec![binding("6f8bdc5e-0000-4000-8000-000000000001"), binding("")],
        target_group_binding_count: Some(2),
    };
    let update = v1::SourceUpdate {
        epoch: 1,
        revision: 1,
        change: Some(v1::source_update::Change::Reset(reset)),
    };
    let message = v1::AgentMessage {
        origin: None,
        message: Some(v1::agent_message::Message::Sources(update)),
    };
    let error = Stamped::try_from(message).unwrap_err();
    assert_eq!(error.path, "sources.reset.target_group_bindings[1].meta.uid");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_object_that_is_stated_twice_is_refused(source in source()) {
        let object = source.object.to_string();
        let upserted = vec![source.clone(), source];
        let update = Update::Sources(Change::Patch { upserted, deleted: vec![] });
        let message = agent_message(1, Statement::Update { revision: 1, update });
        let error = Stamped::try_from(message).unwrap_err();
        prop_assert_eq!(error.to_string(), format!("sources.change: `{object}` is not stated once"));
    }
}

#[test]
fn an_empty_reset_must_say_that_it_is_empty() {
    let reset = |count| v1::SourceReset {
        target_group_bindings: vec![],
        target_group_binding_count: count,
    };
    let message = |count| v1::AgentMessage {
        origin: None,
        message: Some(v1::agent_message::Message::Sources(v1::SourceUpdate {
            epoch: 1,
            revision: 1,
            change: Some(v1::source_update::Change::Reset(reset(count))),
        })),
    };
    assert!(Stamped::try_from(message(None)).is_err());
    assert!(Stamped::try_from(message(Some(0))).is_ok());
}

#[test]
fn an_origin_that_is_not_understood_is_left_out_and_costs_no_statement() {
    let origin = |waited_microseconds, traceparent: &str| {
        let message = v1::AgentMessage {
            origin: Some(v1::Origin {
                waited_microseconds,
                traceparent: traceparent.to_owned(),
            }),
            message: None,
        };
        wire::convert::origin(&message)
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let told = origin(Some(1500), trace).unwrap();
    assert_eq!(
        (told.waited.as_micros(), told.trace.as_deref()),
        (1500, Some(trace))
    );
    assert_eq!(origin(None, trace), None, "no event");
    let spaced = format!("{} 1", &trace[..53]);
    for odd in ["", "00-1", &spaced, &"é".repeat(27), &format!("{trace}-00")] {
        assert_eq!(origin(Some(0), odd).unwrap().trace, None, "{odd}");
    }
    let back = wire::convert::to_origin(told.clone());
    assert_eq!(origin(back.waited_microseconds, &back.traceparent), Some(told));
}

#[test]
fn a_nul_in_a_spec_makes_that_object_odd_and_not_the_stream() {
    let source: Source = v1::TargetGroupBinding {
        meta: Some(v1::ObjectMeta {
            namespace: "shop".into(),
            name: "web".into(),
            uid: "6f8bdc5e-0000-4000-8000-000000000001".into(),
            resource_version: 1,
        }),
        generation: 1,
        spec_json: r#"{"a\u0000": ["b\u0000"]}"#.into(),
        deleting: false,
        marks: None,
    }
    .try_into()
    .unwrap();
    assert!(!source.spec.to_string().contains("\\u0000"));
}

#[test]
fn a_hello_survives_the_wire() {
    let hello = Hello {
        cluster: "east".parse().unwrap(),
        instance: "pod-1".into(),
        protocol: wire::PROTOCOL,
        version: "0.1.0".into(),
        last_epoch: 0,
        cluster_uid: "uid".into(),
    };
    assert_eq!(Hello::try_from(v1::Hello::from(hello.clone())), Ok(hello));
}
