//! Endpoints that left the union of a Service's slices, until the server has stored that and why.

use std::collections::BTreeMap;

use model::{
    fact::{Evidence, PodRef},
    stream::Vanished,
};

use super::EndpointKey;

/// So many are remembered per Service while there is no stream. The server asks by a relist about those it was not told.
const REMEMBERED: usize = 5_000;

#[derive(Debug, Default)]
pub(super) struct Departed(BTreeMap<EndpointKey, Departure>);

#[derive(Debug)]
struct Departure {
    pod: Option<PodRef>,
    /// `None` while the pod is being read.
    evidence: Option<Evidence>,
    /// The revision that told it.
    sent: Option<u64>,
}

impl Departed {
    /// Whether evidence is wanted. What is known already is not forgotten.
    pub(super) fn add(&mut self, key: EndpointKey, pod: Option<PodRef>, evidence: Option<Evidence>) -> bool {
        if let Some(departure) = self.0.get_mut(&key) {
            departure.evidence = departure.evidence.or(evidence);
            return false;
        }
        if self.0.len() >= REMEMBERED {
            return false;
        }
        self.0.insert(
            key,
            Departure {
                pod,
                evidence,
                sent: None,
            },
        );
        evidence.is_none()
    }

    pub(super) fn returned(&mut self, key: &EndpointKey) {
        self.0.remove(key);
    }

    /// Whether there is something to tell now.
    pub(super) fn prove(&mut self, key: &EndpointKey, evidence: Evidence) -> bool {
        match self.0.get_mut(key) {
            Some(departure) if departure.evidence.is_none() => {
                departure.evidence = Some(evidence);
                true
            }
            _ => false,
        }
    }

    pub(super) fn is_telling(&self) -> bool {
        self.0
            .values()
            .any(|departure| departure.evidence.is_some() && departure.sent.is_none())
    }

    /// What is to be told, which `revision` does.
    pub(super) fn tell(&mut self, revision: u64) -> Vec<Vanished> {
        let mut vanished = Vec::new();
        for (key, departure) in &mut self.0 {
            if let (Some(evidence), None) = (departure.evidence, departure.sent) {
                departure.sent = Some(revision);
                vanished.push(Vanished {
                    address: key.address,
                    pod: departure.pod.clone(),
                    evidence,
                });
            }
        }
        vanished
    }

    pub(super) fn acknowledged(&mut self, revision: u64) {
        self.0
            .retain(|_, departure| departure.sent.is_none_or(|sent| sent > revision));
    }

    /// A stream ended or was asked to start over: what was sent may not have been stored.
    pub(super) fn forget_sent(&mut self) {
        self.0.values_mut().for_each(|departure| departure.sent = None);
    }
}
