//! What the cluster says, and what of it the stream has yet to be told. Synchronous: no await, and time is an argument.
//!
//! Watch events change the caches and mark what is dirty; [`Index::next_statement`] makes one statement of the present state. So a
//! slow stream costs no memory, changes that overtake each other are told once, and a reconnect is simply "all is dirty".
//! A kind that is not synced is not told at all.

mod cache;
mod departed;
mod gone;
mod nodes;
mod outbox;
mod pods;
mod slices;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    fact::{EndpointSlice, ObjectName, Service},
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
pub use slices::{EndpointKey, ProofRequest};

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
            let is_new = !self.subscribed.contains_key(&service);
            let lost = if is_new {
                self.lost_to(&service)
            } else {
                Vec::new()
            };
            let departed = self.subscribed.entry(service.clone()).or_default();
            if let Some(outbox) = &mut self.outbox {
                for scope in lost {
                    outbox.enqueue(scope);
                }
                outbox.begin(service, departed.is_telling());
            }
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.retain(|service| self.subscribed.contains_key(service));
        }
        self.select_pods();
        self.subscribe_nodes(nodes);
    }

    /// What keeps a Service from being told. The server has forgotten it if no other Service was kept from that.
    fn lost_to(&self, service: &ObjectName) -> Vec<Scope> {
        let kinds = [Kind::Service, Kind::EndpointSlice].into_iter();
        let lost = kinds.flat_map(|kind| self.lost(kind).into_iter().map(move |(view, _)| (kind, view)));
        lost.filter(|(_, view)| is_in(service, view))
            .map(|(kind, view)| Scope::Lost(kind, view))
            .collect()
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
        if let Some(change) = self.change_of_slices(service, std::mem::take(&mut pending.slices)) {
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
