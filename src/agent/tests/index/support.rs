//! What an index is given, and what becomes of what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use agent::index::{Event, Index, Input};
use model::{
    fact::{AddressFamily, Endpoint, EndpointSlice, ObjectName, ObjectVersion, PodRef, Service},
    node::{Node, NodeReady},
    ownership::Marks,
    stream::{Source, Statement, Update, Vanished},
};
use uuid::Uuid;

use crate::mirror::Mirror;

impl Mirror {
    /// Takes everything that the index has to say; returns the departures among it and the last revision.
    pub(crate) fn drain(&mut self, index: &mut Index) -> (Vec<Vanished>, u64) {
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
    pub(crate) fn essence(&self, subscribed: &BTreeSet<ObjectName>) -> Self {
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

pub(crate) fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

pub(crate) fn uid(kind: u8, number: u8) -> Uuid {
    Uuid::from_bytes([kind, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
}

pub(crate) fn source(number: u8, generation: i64) -> Source {
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

pub(crate) fn service(service: &str, revision: u8) -> Service {
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

pub(crate) fn pod(number: u8) -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: format!("pod-{number}"),
        uid: uid(4, number),
    }
}

/// The endpoints are pods by number; those above 100 are terminating.
pub(crate) fn slice(number: u8, service: &str, endpoints: &[u8]) -> EndpointSlice {
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
pub(crate) fn node(number: u8, state: u8) -> Node {
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

pub(crate) fn listed<T: agent::index::Object>(
    objects: impl IntoIterator<Item = T>,
    input: fn(Event<T>) -> Input,
) -> Vec<Input> {
    let mut events = vec![input(Event::Init(None))];
    events.extend(objects.into_iter().map(|object| input(Event::InitApply(object))));
    events.push(input(Event::InitDone(None)));
    events
}

pub(crate) fn synced(sources: Vec<Source>, services: Vec<Service>, slices: Vec<EndpointSlice>) -> Index {
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

pub(crate) fn subscription(services: &[&str]) -> BTreeSet<ObjectName> {
    services.iter().map(|service| name(service)).collect()
}

/// A connected index with one Service and its slices, everything told and stored.
pub(crate) fn following(slices: Vec<EndpointSlice>) -> (Index, Mirror) {
    let mut index = synced(vec![], vec![service("web", 1)], slices);
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    (index, mirror)
}

pub(crate) fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
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
