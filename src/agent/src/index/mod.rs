//! What the cluster says, and what of it the stream has yet to be told. Synchronous: no await, and time is an argument.
//!
//! Watch events change the caches and mark what is dirty; [`Index::next_statement`] makes one statement of the present state. So a
//! slow stream costs no memory, changes that overtake each other are told once, and a reconnect is simply "all is dirty".
//! A kind that is not synced is not told at all.

mod cache;
mod departed;
mod gone;
mod outbox;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    fact::{Endpoint, EndpointSlice, Evidence, ObjectName, PodRef, Service},
    node::{Node, NodeRef},
    pod::Pod,
    stream::{Change, Confirm, Source, Statement, Tombstone, Update},
};
use tokio::time::Instant;
use uuid::Uuid;

use cache::{Cache, Outcome};
pub use cache::{Event, Kind, Namespaces, Object, View};
use departed::Departed;
use gone::Gone;
use outbox::{Outbox, Pending, Scope};
pub use pods::PodWatch;
use pods::Pods;

/// A watch event of one of the kinds.
#[derive(Clone, Debug)]
pub enum Input {
    Sources(Event<Source>),
    Services(Event<Service>),
    Slices(Event<EndpointSlice>),
    Nodes(Event<Node>),
    /// Of the watch of this id, of the pods of a Service.
    Pods {
        service: ObjectName,
        watch: u64,
        event: Event<Pod>,
    },
}

impl Input {
    /// Whether it says that something changed, and not what a list names.
    pub fn is_news(&self) -> bool {
        match self {
            Self::Sources(event) => event.is_news(),
            Self::Services(event) => event.is_news(),
            Self::Slices(event) => event.is_news(),
            Self::Nodes(event) => event.is_news(),
            Self::Pods {
                service: _,
                watch: _,
                event,
            } => event.is_news(),
        }
    }
}

/// An endpoint as the union of slices counts it: one address of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey {
    pub address: IpAddr,
    pub pod: Option<Uuid>,
}

/// Asks for a live read of the pod behind an endpoint that left the union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRequest {
    pub service: ObjectName,
    pub key: EndpointKey,
    pub pod: Option<PodRef>,
}

/// What a server may ask to have told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resync {
    Sources,
    Service(ObjectName),
    Nodes,
}

#[derive(Debug)]
pub struct Index {
    namespaces: Namespaces,
    sources: Cache<Source>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    nodes: Cache<Node>,
    /// Service → names of its slices.
    slices_of: BTreeMap<ObjectName, BTreeSet<String>>,
    /// What the server asked for last; outlives the stream, so that departures are noticed while there is none.
    subscribed: BTreeMap<ObjectName, Departed>,
    /// Whether the server asked for nodes last; outlives the stream as well.
    wants_nodes: bool,
    gone: Gone,
    pods: Pods,
    outbox: Option<Outbox>,
    proofs: Vec<ProofRequest>,
    node_proofs: Vec<NodeRef>,
    /// Of the last statement.
    oldest_event: Option<Instant>,
}

impl Default for Index {
    fn default() -> Self {
        Self::of(Namespaces::All)
    }
}

impl Index {
    /// Of a cluster of which these namespaces are looked at.
    pub fn of(namespaces: Namespaces) -> Self {
        Self {
            sources: Cache::new(namespaces.views()),
            services: Cache::new(namespaces.views()),
            slices: Cache::new(namespaces.views()),
            nodes: Cache::new(vec![None]),
            namespaces,
            slices_of: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            wants_nodes: false,
            gone: Gone::default(),
            pods: Pods::default(),
            outbox: None,
            proofs: Vec::new(),
            node_proofs: Vec::new(),
            oldest_event: None,
        }
    }

    /// A stream begins: everything is to be told again, Services and nodes once they are subscribed to.
    pub fn connect(&mut self, epoch: u64) {
        let mut outbox = Outbox::new(epoch);
        for kind in [Kind::TargetGroupBinding, Kind::Service, Kind::EndpointSlice] {
            for (view, _) in self.lost(kind) {
                outbox.enqueue(Scope::Lost(kind, view));
            }
        }
        outbox.enqueue(Scope::Sources);
        self.outbox = Some(outbox);
        self.subscribed.values_mut().for_each(Departed::forget_sent);
        self.gone.forget_sent();
    }

    /// Whether what is in this namespace can be seen at all.
    pub fn looks_at(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub fn disconnect(&mut self) {
        self.outbox = None;
    }

    /// The epoch of the present stream.
    pub fn epoch(&self) -> Option<u64> {
        self.outbox.as_ref().map(Outbox::epoch)
    }

    /// Whether every kind that no cluster can do without has been listed completely and can still be seen. Without nodes,
    /// bindings of instance groups alone wait.
    pub fn is_synced(&self) -> bool {
        self.sources.is_synced() && self.services.is_synced() && self.slices.is_synced()
    }

    /// Replaces what the server wants to know of. Of Services in namespaces that are not looked at nothing is said, not
    /// even that they are absent.
    pub fn subscribe(&mut self, mut services: BTreeSet<ObjectName>, nodes: bool) {
        services.retain(|service| self.namespaces.contains(&service.namespace));
        self.subscribed.retain(|service, _| services.contains(service));
        for service in services {
            let departed = self.subscribed.entry(service.clone()).or_default();
            if let Some(outbox) = &mut self.outbox {
                outbox.begin(service, departed.is_telling());
            }
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.retain(|service| self.subscribed.contains_key(service));
        }
        self.select_pods();
        self.subscribe_nodes(nodes);
    }

    fn subscribe_nodes(&mut self, wanted: bool) {
        self.wants_nodes = wanted;
        if !wanted {
            self.gone.clear();
        }
        let lost = !self.nodes.lost().is_empty();
        let Some(outbox) = &mut self.outbox else { return };
        if !wanted {
            outbox.end_nodes();
        } else if !outbox.wants_nodes() {
            if lost {
                outbox.enqueue(Scope::Lost(Kind::Node, None));
            }
            outbox.restart_nodes(self.gone.is_telling());
        }
    }

    /// Everything up to `revision` is stored.
    pub fn acknowledged(&mut self, revision: u64) {
        self.subscribed
            .values_mut()
            .for_each(|departed| departed.acknowledged(revision));
        self.gone.acknowledged(revision);
    }

    pub fn resync(&mut self, scope: &Resync) {
        let Some(outbox) = &mut self.outbox else { return };
        match scope {
            Resync::Sources => outbox.restart_sources(),
            Resync::Service(service) => {
                if let Some(departed) = self.subscribed.get_mut(service) {
                    departed.forget_sent();
                    outbox.restart(service, departed.is_telling());
                }
            }
            Resync::Nodes if self.wants_nodes => {
                self.gone.forget_sent();
                outbox.restart_nodes(self.gone.is_telling());
            }
            Resync::Nodes => {}
        }
    }

    /// Takes the answer to a relist that the stream of `epoch` asked for.
    pub fn confirm(&mut self, epoch: u64, confirm: Confirm) {
        if let Some(outbox) = self.outbox.as_mut().filter(|outbox| outbox.epoch() == epoch) {
            outbox.confirm(confirm);
        }
    }

    /// Takes the answer to a [`ProofRequest`].
    pub fn proven(&mut self, service: &ObjectName, key: &EndpointKey, evidence: Evidence) {
        let Some(departed) = self.subscribed.get_mut(service) else {
            return;
        };
        if departed.prove(key, evidence)
            && let Some(outbox) = &mut self.outbox
        {
            outbox.departures(service);
        }
    }

    /// Takes the answer to one of [`Self::take_node_proofs`]: a live read did not find the node.
    pub fn node_is_gone(&mut self, node: NodeRef) {
        let is_there = self
            .nodes
            .get(&node.name)
            .is_some_and(|present| present.version.uid == node.uid);
        if is_there || !self.wants_nodes {
            return;
        }
        self.gone.add(node);
        if let Some(outbox) = &mut self.outbox {
            outbox.nodes_gone();
        }
    }

    /// The nodes that left since the last call, for live reads.
    pub fn take_node_proofs(&mut self) -> Vec<NodeRef> {
        std::mem::take(&mut self.node_proofs)
    }

    /// The reads that are wanted since the last call.
    pub fn take_proofs(&mut self) -> Vec<ProofRequest> {
        std::mem::take(&mut self.proofs)
    }

    /// What is taken in from now on came at this moment, as news; `None`: it is none, as what a list names.
    pub fn came_at(&mut self, event: Option<Instant>) {
        if let Some(outbox) = &mut self.outbox {
            outbox.came_at(event);
        }
    }

    /// When the oldest event came that the last statement tells of; `None`: it tells of none.
    pub fn oldest_event(&self) -> Option<Instant> {
        self.oldest_event
    }

    /// Each kind, how many objects of it are known, and whether it can be seen.
    pub fn sizes(&self) -> [(Kind, usize, bool); 5] {
        let (pods, seen) = self.pods.size();
        [
            (
                Kind::TargetGroupBinding,
                self.sources.len(),
                self.sources.is_synced(),
            ),
            (Kind::Service, self.services.len(), self.services.is_synced()),
            (Kind::EndpointSlice, self.slices.len(), self.slices.is_synced()),
            (Kind::Node, self.nodes.len(), self.nodes.is_synced()),
            (Kind::Pod, pods, seen),
        ]
    }

    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Sources(event) => {
                let outcome = self.sources.handle(event);
                let Some(outbox) = &mut self.outbox else { return };
                if outcome.synced.is_some() {
                    outbox.restart_sources();
                }
                for delta in outcome.deltas {
                    outbox.source(delta.object, delta.uid);
                }
                outbox.lost(Kind::TargetGroupBinding, outcome.lost);
            }
            Input::Services(event) => {
                let outcome = self.services.handle(event);
                if !outcome.deltas.is_empty() {
                    self.select_pods();
                }
                let Some(outbox) = &mut self.outbox else { return };
                if let Some(view) = outcome.synced {
                    let shown = self.subscribed.keys().filter(|service| is_in(service, &view));
                    shown.for_each(|service| outbox.service(service));
                }
                for delta in outcome.deltas {
                    outbox.service(&delta.object);
                }
                outbox.lost(Kind::Service, outcome.lost);
            }
            Input::Slices(event) => self.slices_event(event),
            Input::Nodes(event) => self.nodes_event(event),
            Input::Pods {
                service,
                watch,
                event,
            } => self.pods_event(&service, watch, event),
        }
    }

    fn nodes_event(&mut self, event: Event<Node>) {
        let outcome = self.nodes.handle(event);
        if !self.wants_nodes {
            return;
        }
        for delta in &outcome.deltas {
            let present = self.nodes.get(&delta.object).map(|node| node.version.uid);
            let left = delta.old.iter().filter(|old| present != Some(old.version.uid));
            self.node_proofs.extend(left.map(Node::node_ref));
        }
        let Some(outbox) = &mut self.outbox else { return };
        if outcome.synced.is_some() && outbox.wants_nodes() {
            outbox.restart_nodes(self.gone.is_telling());
        }
        for delta in outcome.deltas {
            outbox.node(NodeRef {
                name: delta.object,
                uid: delta.uid,
            });
        }
        if outbox.wants_nodes() {
            outbox.lost(Kind::Node, outcome.lost);
        }
    }

    fn slices_event(&mut self, event: Event<EndpointSlice>) {
        let outcome = self.slices.handle(event);
        for delta in &outcome.deltas {
            if let Some(old) = &delta.old {
                let service = service_of(old);
                if let Some(names) = self.slices_of.get_mut(&service) {
                    names.remove(&delta.object.name);
                    if names.is_empty() {
                        self.slices_of.remove(&service);
                    }
                }
            }
            if let Some(new) = self.slices.get(&delta.object) {
                self.slices_of
                    .entry(service_of(new))
                    .or_default()
                    .insert(delta.object.name.clone());
            }
        }
        // Only now, with all changes in place: an endpoint that moved between slices did not leave the union.
        for delta in outcome.deltas {
            let new = self.slices.get(&delta.object);
            let services: BTreeSet<_> = delta.old.iter().chain(new).map(service_of).collect();
            for service in services {
                if !self.subscribed.contains_key(&service) {
                    continue;
                }
                if let Some(outbox) = &mut self.outbox {
                    outbox.slice(&service, delta.object.clone(), delta.uid);
                }
                self.follow(&service, delta.old.as_ref(), &delta.object);
            }
        }
        let Some(outbox) = &mut self.outbox else { return };
        if let Some(view) = outcome.synced {
            let shown = self
                .subscribed
                .iter()
                .filter(|(service, _)| is_in(service, &view));
            for (service, departed) in shown {
                outbox.restart_slices(service, departed.is_telling());
            }
        }
        outbox.lost(Kind::EndpointSlice, outcome.lost);
    }

    /// Notes which endpoints left the union of `service`, and which came back.
    fn follow(&mut self, service: &ObjectName, old: Option<&EndpointSlice>, slice: &ObjectName) {
        let mut left = Vec::new();
        for (key, endpoint) in old
            .into_iter()
            .filter(|old| service_of(old) == *service)
            .flat_map(keys)
        {
            if !self.contains(service, &key) {
                left.push((key, endpoint.clone()));
            }
        }
        let Some(departed) = self.subscribed.get_mut(service) else {
            return;
        };
        for (key, endpoint) in left {
            if endpoint.is_terminating() {
                departed.add(key, endpoint.pod, Some(Evidence::Terminating));
                if let Some(outbox) = &mut self.outbox {
                    outbox.departures(service);
                }
            } else if departed.add(key, endpoint.pod.clone(), None) {
                self.proofs.push(ProofRequest {
                    service: service.clone(),
                    key,
                    pod: endpoint.pod,
                });
            }
        }
        if let Some(new) = self.slices.get(slice).filter(|new| service_of(new) == *service) {
            for (key, _) in keys(new) {
                departed.returned(&key);
            }
        }
    }

    fn contains(&self, service: &ObjectName, key: &EndpointKey) -> bool {
        self.slices_in(service)
            .flat_map(keys)
            .any(|(present, _)| present == *key)
    }

    fn slices_in<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a EndpointSlice> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| {
            self.slices
                .get(&ObjectName::new(service.namespace.clone(), name.clone()))
        })
    }

    /// Where and why a kind cannot be seen.
    fn lost(&self, kind: Kind) -> Vec<(View, &str)> {
        match kind {
            Kind::TargetGroupBinding => self.sources.lost(),
            Kind::Service => self.services.lost(),
            Kind::EndpointSlice => self.slices.lost(),
            Kind::Node => self.nodes.lost(),
            Kind::Pod => self.pods.lost(),
        }
    }

    /// Whether [`Self::next_statement`] may have something to say.
    pub fn has_next(&self) -> bool {
        self.outbox.as_ref().is_some_and(Outbox::has_next)
    }

    /// The next statement of the present stream.
    pub fn next_statement(&mut self) -> Option<Statement> {
        // Taken out and put back, so that statements can be made of the caches.
        let mut outbox = self.outbox.take()?;
        let mut statement = None;
        while let Some((scope, event)) = outbox.pop() {
            statement = match &scope {
                Scope::Lost(kind, view) => {
                    let lost = self.lost(*kind).into_iter().find(|(lost, _)| lost == view);
                    lost.map(|(namespace, reason)| Statement::Unsynced {
                        kind: kind.to_string(),
                        namespace,
                        reason: reason.to_owned(),
                    })
                }
                Scope::Sources => self
                    .next_of_sources(&mut outbox)
                    .map(|update| outbox.stamp(update)),
                Scope::Service(service) => self
                    .next_of_service(service, &mut outbox)
                    .map(|update| outbox.stamp(update)),
                Scope::Nodes => self.next_of_nodes(&mut outbox).map(|update| outbox.stamp(update)),
            };
            if statement.is_some() {
                outbox.requeue(scope, event);
                self.oldest_event = event;
                break;
            }
        }
        self.outbox = Some(outbox);
        statement
    }

    /// A namespace that cannot be seen keeps no other from being told.
    fn next_of_sources(&self, outbox: &mut Outbox) -> Option<Update> {
        let namespaces = self.sources.synced();
        let is_listed = match &namespaces {
            None => self.sources.is_synced(),
            Some(namespaces) => !namespaces.is_empty(),
        };
        if !is_listed {
            return None;
        }
        match (outbox.take_sources(), namespaces) {
            (Pending::Nothing, _) => None,
            (Pending::All, None) => Some(Update::Sources(Change::Reset(
                self.sources.iter().cloned().collect(),
            ))),
            (Pending::All, Some(namespaces)) => {
                let listed = |source: &&Source| namespaces.contains(&source.object.namespace);
                let sources = self.sources.iter().filter(listed).cloned().collect();
                Some(Update::SourcesOf { namespaces, sources })
            }
            (Pending::Some(objects), _) => {
                let get = |object: &ObjectName| self.sources.get(object).cloned();
                Some(Update::Sources(patch(objects, get, tombstone)))
            }
        }
    }

    /// In this order: the Service, its slices, its pods, what left the slices, the answer to a relist.
    fn next_of_service(&mut self, service: &ObjectName, outbox: &mut Outbox) -> Option<Update> {
        let revision = outbox.next_revision();
        let pending = outbox.pending(service)?;
        if pending.service && self.services.is_synced_in(&service.namespace) {
            pending.service = false;
            let state = self.services.get(service).cloned();
            return Some(Update::Service {
                object: service.clone(),
                state,
            });
        }
        if !self.slices.is_synced_in(&service.namespace) {
            return None;
        }
        let change = match std::mem::take(&mut pending.slices) {
            Pending::Nothing => None,
            Pending::All => Some(Change::Reset(self.slices_in(service).cloned().collect())),
            Pending::Some(objects) => {
                let get = |object: &ObjectName| {
                    let slice = self.slices.get(object);
                    slice.filter(|slice| service_of(slice) == *service).cloned()
                };
                Some(patch(objects, get, tombstone))
            }
        };
        if let Some(change) = change {
            return Some(Update::Slices {
                service: service.clone(),
                change,
            });
        }
        if let Some(update) = self.next_of_pods(service, outbox) {
            return Some(update);
        }
        let pending = outbox.pending(service)?;
        if std::mem::take(&mut pending.departures) {
            let vanished = self
                .subscribed
                .get_mut(service)
                .map(|d| d.tell(revision))
                .unwrap_or_default();
            if !vanished.is_empty() {
                return Some(Update::Departures {
                    service: service.clone(),
                    vanished,
                });
            }
        }
        pending.confirm.take().map(Update::Confirm)
    }

    /// First the nodes, then which of those that left have come to their end.
    fn next_of_nodes(&mut self, outbox: &mut Outbox) -> Option<Update> {
        if !self.nodes.is_synced() {
            return None;
        }
        let revision = outbox.next_revision();
        let pending = outbox.pending_nodes()?;
        match std::mem::take(&mut pending.nodes) {
            Pending::Nothing => {}
            Pending::All => return Some(Update::Nodes(Change::Reset(self.nodes.iter().cloned().collect()))),
            Pending::Some(nodes) => {
                let get = |name: &String| self.nodes.get(name).cloned();
                let change = patch(nodes, get, |name, uid| NodeRef { name, uid });
                return Some(Update::Nodes(change));
            }
        }
        if !std::mem::take(&mut pending.gone) {
            return None;
        }
        let gone = self.gone.tell(revision);
        (!gone.is_empty()).then_some(Update::NodesGone(gone))
    }
}

fn patch<K, T, D>(
    objects: BTreeMap<K, Uuid>,
    get: impl Fn(&K) -> Option<T>,
    deleted_one: fn(K, Uuid) -> D,
) -> Change<T, D> {
    let mut upserted = Vec::new();
    let mut deleted = Vec::new();
    for (object, uid) in objects {
        match get(&object) {
            Some(present) => upserted.push(present),
            None => deleted.push(deleted_one(object, uid)),
        }
    }
    Change::Patch { upserted, deleted }
}

fn tombstone(object: ObjectName, uid: Uuid) -> Tombstone {
    Tombstone { object, uid }
}

fn is_in(service: &ObjectName, view: &View) -> bool {
    view.as_ref()
        .is_none_or(|namespace| *namespace == service.namespace)
}

fn service_of(slice: &EndpointSlice) -> ObjectName {
    ObjectName::new(slice.object.namespace.clone(), slice.service.clone())
}

fn keys(slice: &EndpointSlice) -> impl Iterator<Item = (EndpointKey, &Endpoint)> {
    slice.endpoints.iter().flat_map(|endpoint| {
        let pod = endpoint.pod.as_ref().map(|pod| pod.uid);
        endpoint.addresses.iter().map(move |address| {
            (
                EndpointKey {
                    address: *address,
                    pod,
                },
                endpoint,
            )
        })
    })
}
