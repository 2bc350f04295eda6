//! The slices of each Service as a union of endpoints, and those that left it.

use std::{collections::BTreeSet, net::IpAddr};

use model::{
    fact::{Endpoint, EndpointSlice, Evidence, ObjectName, PodRef},
    stream::Change,
};
use uuid::Uuid;

use super::{Event, Index, Kind, is_in, outbox::Pending, patch, tombstone};

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

impl Index {
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

    /// The reads that are wanted since the last call.
    pub fn take_proofs(&mut self) -> Vec<ProofRequest> {
        std::mem::take(&mut self.proofs)
    }

    pub(super) fn slices_event(&mut self, event: Event<EndpointSlice>) {
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

    /// What there is to say of the slices of a Service.
    pub(super) fn change_of_slices(
        &self,
        service: &ObjectName,
        pending: Pending,
    ) -> Option<Change<EndpointSlice>> {
        match pending {
            Pending::Nothing => None,
            Pending::All => Some(Change::Reset(self.slices_in(service).cloned().collect())),
            Pending::Some(objects) => {
                let get = |object: &ObjectName| {
                    let slice = self.slices.get(object);
                    slice.filter(|slice| service_of(slice) == *service).cloned()
                };
                Some(patch(objects, get, tombstone))
            }
        }
    }
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
