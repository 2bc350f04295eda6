//! The pods of each subscribed Service, as its selector selects them: one watch per Service, for as long as the server
//! wants pods.

use std::collections::BTreeMap;

use model::{
    fact::ObjectName,
    pod::Pod,
    stream::{Change, Update},
};

use super::{
    Event, Index, Kind, Namespaces, Outcome, Scope, View, cache::Cache, outbox::Pending, patch, tombstone,
};

/// A watch of pods to begin or to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodWatch {
    /// Its events carry `id` and `service`.
    Begin {
        id: u64,
        /// Whose pods they are, of the same namespace.
        service: ObjectName,
        /// Which cannot be seen if these pods cannot.
        view: View,
        selector: BTreeMap<String, String>,
    },
    End {
        id: u64,
    },
}

#[derive(Debug)]
struct Selected {
    watch: u64,
    selector: BTreeMap<String, String>,
    pods: Cache<Pod>,
}

#[derive(Debug, Default)]
pub(super) struct Pods {
    wanted: bool,
    selected: BTreeMap<ObjectName, Selected>,
    last: u64,
    watches: Vec<PodWatch>,
}

impl Pods {
    /// Begins and ends watches, so that there is one for each of `selectors`.
    fn select(
        &mut self,
        selectors: &BTreeMap<&ObjectName, &BTreeMap<String, String>>,
        namespaces: &Namespaces,
    ) {
        let Self {
            wanted: _,
            selected,
            last,
            watches,
        } = self;
        selected.retain(|service, Selected { watch, selector, .. }| {
            let keep = selectors.get(service) == Some(&&*selector);
            if !keep {
                watches.push(PodWatch::End { id: *watch });
            }
            keep
        });
        for (&service, &selector) in selectors {
            if selected.contains_key(service) {
                continue;
            }
            *last += 1;
            let view = namespaces.view_of(&service.namespace);
            watches.push(PodWatch::Begin {
                id: *last,
                service: service.clone(),
                view: view.clone(),
                selector: selector.clone(),
            });
            let begun = Selected {
                watch: *last,
                selector: selector.clone(),
                pods: Cache::new(vec![view]),
            };
            selected.insert(service.clone(), begun);
        }
    }

    /// `None`: the event is of a watch that has ended.
    fn handle(&mut self, service: &ObjectName, watch: u64, event: Event<Pod>) -> Option<Outcome<Pod>> {
        let selected = self.selected.get_mut(service)?;
        (selected.watch == watch).then(|| selected.pods.handle(event))
    }

    /// The pods of the Service, once they can be told.
    fn synced(&self, service: &ObjectName) -> Option<&Cache<Pod>> {
        let selected = self.selected.get(service)?;
        selected.pods.is_synced().then_some(&selected.pods)
    }

    /// How many are known, and whether all that are watched can be seen.
    pub(super) fn size(&self) -> (usize, bool) {
        let pods = || self.selected.values().map(|selected| &selected.pods);
        (pods().map(Cache::len).sum(), pods().all(Cache::is_synced))
    }

    /// Where and why they cannot be seen, once for each Service.
    pub(super) fn lost(&self) -> Vec<(View, &str)> {
        let lost = self.selected.values().map(|selected| selected.pods.lost());
        lost.flatten().collect()
    }
}

/// The shortest termination grace of those that live.
fn shortest_grace(pods: &Cache<Pod>) -> Option<u32> {
    let living = pods.iter().filter(|pod| !pod.terminating);
    living.map(|pod| pod.grace_seconds).min()
}

fn is_gated(pod: &Pod) -> bool {
    !pod.gates.is_empty()
}

impl Index {
    /// Whether the server wants to know of the pods that its Services select.
    pub fn want_pods(&mut self, wanted: bool) {
        self.pods.wanted = wanted;
        self.select_pods();
        let Some(outbox) = &mut self.outbox else { return };
        if wanted && !outbox.wants_pods() {
            for (view, _) in self.pods.lost() {
                outbox.enqueue(Scope::Lost(Kind::Pod, view));
            }
        }
        outbox.want_pods(wanted);
    }

    /// The watches to begin and to end since the last call, in this order.
    pub fn take_pod_watches(&mut self) -> Vec<PodWatch> {
        std::mem::take(&mut self.pods.watches)
    }

    /// The subscribed Services or their selectors may have changed.
    pub(super) fn select_pods(&mut self) {
        let subscribed = self.subscribed.keys().filter(|_| self.pods.wanted);
        let selectors = subscribed
            .filter_map(|service| self.services.get(service))
            .filter(|service| !service.selector.is_empty())
            .map(|service| (&service.object, &service.selector))
            .collect();
        self.pods.select(&selectors, &self.namespaces);
    }

    pub(super) fn pods_event(&mut self, service: &ObjectName, watch: u64, event: Event<Pod>) {
        let Some(outcome) = self.pods.handle(service, watch, event) else {
            return;
        };
        let (Some(outbox), Some(pods)) = (&mut self.outbox, self.pods.selected.get(service)) else {
            return;
        };
        if outcome.synced.is_some() {
            outbox.restart_pods(service);
        }
        if !outcome.deltas.is_empty() {
            outbox.grace(service, shortest_grace(&pods.pods));
        }
        for delta in outcome.deltas {
            let new = pods.pods.get(&delta.object);
            if delta.old.iter().chain(new).any(is_gated) {
                outbox.pod(service, delta.object, delta.uid);
            }
        }
        if outbox.wants_pods() {
            outbox.lost(Kind::Pod, outcome.lost);
        }
    }

    /// What there is to say of the pods of a Service.
    pub(super) fn next_of_pods(&self, service: &ObjectName, outbox: &mut super::Outbox) -> Option<Update> {
        let pods = self.pods.synced(service)?;
        let pending = outbox.pending(service)?;
        let change = match std::mem::take(&mut pending.pods) {
            Pending::Nothing => return None,
            Pending::All => Change::Reset(pods.iter().filter(|pod| is_gated(pod)).cloned().collect()),
            Pending::Some(objects) => {
                let get = |object: &ObjectName| pods.get(object).filter(|pod| is_gated(pod)).cloned();
                patch(objects, get, tombstone)
            }
        };
        let shortest_grace = shortest_grace(pods);
        pending.grace = shortest_grace;
        Some(Update::Pods {
            service: service.clone(),
            change,
            shortest_grace,
        })
    }
}
