//! What a stream has yet to be told: names only, never states, so that it is bounded by the cluster's size.

use std::collections::{BTreeMap, VecDeque};

use model::{
    fact::ObjectName,
    node::NodeRef,
    stream::{Confirm, Statement, Update},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Kind, View};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Lost(Kind, View),
    Sources,
    Service(ObjectName),
    Nodes,
}

/// What of a set is to be told.
#[derive(Debug, Default)]
pub(super) enum Pending<K = ObjectName> {
    #[default]
    Nothing,
    /// These, with the UID for a tombstone if one is gone.
    Some(BTreeMap<K, Uuid>),
    /// A reset.
    All,
}

impl<K: Ord> Pending<K> {
    fn add(&mut self, object: K, uid: Uuid) {
        self.patch();
        if let Self::Some(objects) = self {
            objects.insert(object, uid);
        }
    }

    /// A patch at least, if of nothing.
    fn patch(&mut self) {
        if self.is_nothing() {
            *self = Self::Some(BTreeMap::new());
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

#[derive(Debug)]
pub(super) struct ServicePending {
    pub(super) service: bool,
    pub(super) slices: Pending,
    pub(super) pods: Pending,
    /// The shortest termination grace that was told.
    pub(super) grace: Option<u32>,
    pub(super) departures: bool,
    pub(super) confirm: Option<Confirm>,
}

impl ServicePending {
    fn everything(departures: bool) -> Self {
        Self {
            service: true,
            slices: Pending::All,
            pods: Pending::All,
            grace: None,
            departures,
            confirm: None,
        }
    }

    fn is_nothing(&self) -> bool {
        !self.service
            && self.slices.is_nothing()
            && self.pods.is_nothing()
            && !self.departures
            && self.confirm.is_none()
    }
}

#[derive(Debug)]
pub(super) struct Outbox {
    epoch: u64,
    revision: u64,
    /// Each with when the oldest event came that it tells of, if it is told because of one.
    queue: VecDeque<(Scope, Option<Instant>)>,
    /// When the event came that is being taken in.
    event: Option<Instant>,
    sources: Pending,
    services: BTreeMap<ObjectName, ServicePending>,
    /// `None`: not wanted.
    nodes: Option<NodesPending>,
    wants_pods: bool,
}

#[derive(Debug)]
pub(super) struct NodesPending {
    pub(super) nodes: Pending<String>,
    pub(super) gone: bool,
}

impl Outbox {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            revision: 0,
            queue: VecDeque::new(),
            event: None,
            sources: Pending::All,
            services: BTreeMap::new(),
            nodes: None,
            wants_pods: false,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    pub(super) fn stamp(&mut self, update: Update) -> Statement {
        self.revision += 1;
        Statement::Update {
            revision: self.revision,
            update,
        }
    }

    pub(super) fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A scope that cannot be told yet drops out; it comes back with the event that makes it possible.
    pub(super) fn pop(&mut self) -> Option<(Scope, Option<Instant>)> {
        self.queue.pop_front()
    }

    /// What is to be told from now on is because of an event that came at this moment, or of none.
    pub(super) fn came_at(&mut self, event: Option<Instant>) {
        self.event = event;
    }

    pub(super) fn enqueue(&mut self, scope: Scope) {
        self.enqueue_since(scope, self.event);
    }

    fn enqueue_since(&mut self, scope: Scope, event: Option<Instant>) {
        match self.queue.iter_mut().find(|(queued, _)| *queued == scope) {
            Some((_, oldest)) => *oldest = oldest.or(event),
            None => self.queue.push_back((scope, event)),
        }
    }

    /// A kind cannot be seen there any more.
    pub(super) fn lost(&mut self, kind: Kind, lost: Option<View>) {
        if let Some(view) = lost {
            self.enqueue(Scope::Lost(kind, view));
        }
    }

    /// Back in line, if there is more to tell.
    pub(super) fn requeue(&mut self, scope: Scope, event: Option<Instant>) {
        let more = match &scope {
            Scope::Lost(..) => false,
            Scope::Sources => !self.sources.is_nothing(),
            Scope::Service(service) => self.services.get(service).is_some_and(|p| !p.is_nothing()),
            Scope::Nodes => self
                .nodes
                .as_ref()
                .is_some_and(|p| p.gone || !p.nodes.is_nothing()),
        };
        if more {
            self.enqueue_since(scope, event);
        }
    }

    pub(super) fn begin(&mut self, service: ObjectName, departures: bool) {
        if !self.services.contains_key(&service) {
            self.services
                .insert(service.clone(), ServicePending::everything(departures));
            self.enqueue(Scope::Service(service));
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&ObjectName) -> bool) {
        self.services.retain(|service, _| keep(service));
    }

    pub(super) fn restart_sources(&mut self) {
        self.sources = Pending::All;
        self.enqueue(Scope::Sources);
    }

    pub(super) fn restart(&mut self, service: &ObjectName, departures: bool) {
        self.mark(service, |pending| {
            let confirm = pending.confirm.take();
            *pending = ServicePending {
                confirm,
                ..ServicePending::everything(departures)
            };
        });
    }

    pub(super) fn restart_slices(&mut self, service: &ObjectName, departures: bool) {
        self.mark(service, |pending| {
            pending.slices = Pending::All;
            pending.departures |= departures;
        });
    }

    pub(super) fn restart_pods(&mut self, service: &ObjectName) {
        self.mark(service, |pending| pending.pods = Pending::All);
    }

    pub(super) fn pod(&mut self, service: &ObjectName, pod: ObjectName, uid: Uuid) {
        self.mark(service, |pending| pending.pods.add(pod, uid));
    }

    /// The shortest termination grace of the Service's pods. Another one is told with a patch, if with an empty one.
    pub(super) fn grace(&mut self, service: &ObjectName, shortest: Option<u32>) {
        if self
            .pending(service)
            .is_some_and(|pending| pending.grace != shortest)
        {
            self.mark(service, |pending| pending.pods.patch());
        }
    }

    pub(super) fn source(&mut self, object: ObjectName, uid: Uuid) {
        self.sources.add(object, uid);
        self.enqueue(Scope::Sources);
    }

    pub(super) fn service(&mut self, service: &ObjectName) {
        self.mark(service, |pending| pending.service = true);
    }

    pub(super) fn slice(&mut self, service: &ObjectName, slice: ObjectName, uid: Uuid) {
        self.mark(service, |pending| pending.slices.add(slice, uid));
    }

    pub(super) fn departures(&mut self, service: &ObjectName) {
        self.mark(service, |pending| pending.departures = true);
    }

    pub(super) fn confirm(&mut self, confirm: Confirm) {
        let service = confirm.object.clone();
        self.mark(&service, |pending| pending.confirm = Some(confirm));
    }

    /// From now on nodes are to be told, all of them first.
    pub(super) fn restart_nodes(&mut self, gone: bool) {
        self.nodes = Some(NodesPending {
            nodes: Pending::All,
            gone,
        });
        self.enqueue(Scope::Nodes);
    }

    pub(super) fn wants_nodes(&self) -> bool {
        self.nodes.is_some()
    }

    pub(super) fn end_nodes(&mut self) {
        self.nodes = None;
    }

    pub(super) fn node(&mut self, node: NodeRef) {
        if let Some(pending) = &mut self.nodes {
            pending.nodes.add(node.name, node.uid);
            self.enqueue(Scope::Nodes);
        }
    }

    pub(super) fn nodes_gone(&mut self) {
        if let Some(pending) = &mut self.nodes {
            pending.gone = true;
            self.enqueue(Scope::Nodes);
        }
    }

    pub(super) fn wants_pods(&self) -> bool {
        self.wants_pods
    }

    pub(super) fn want_pods(&mut self, wanted: bool) {
        self.wants_pods = wanted;
    }

    pub(super) fn pending_nodes(&mut self) -> Option<&mut NodesPending> {
        self.nodes.as_mut()
    }

    pub(super) fn take_sources(&mut self) -> Pending {
        std::mem::take(&mut self.sources)
    }

    pub(super) fn pending(&mut self, service: &ObjectName) -> Option<&mut ServicePending> {
        self.services.get_mut(service)
    }

    fn mark(&mut self, service: &ObjectName, change: impl FnOnce(&mut ServicePending)) {
        if let Some(pending) = self.services.get_mut(service) {
            change(pending);
            self.enqueue(Scope::Service(service.clone()));
        }
    }
}
