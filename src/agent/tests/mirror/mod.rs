//! The receiving side of a stream: folds updates into what a server would have stored.

use std::collections::{BTreeMap, BTreeSet};

use agent::index::Index;
use model::{
    fact::{EndpointSlice, ObjectName, Service},
    stream::{Change, Source, Statement, Update, Vanished},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mirror {
    pub(crate) sources: BTreeMap<ObjectName, Source>,
    pub(crate) services: BTreeMap<ObjectName, Option<Service>>,
    pub(crate) slices: BTreeMap<ObjectName, BTreeMap<ObjectName, EndpointSlice>>,
}

impl Mirror {
    pub(crate) fn fold(&mut self, update: Update) {
        match update {
            Update::Sources(Change::Reset(sources)) => {
                self.sources = sources
                    .into_iter()
                    .map(|source| (source.object.clone(), source))
                    .collect();
            }
            Update::Sources(Change::Patch { upserted, deleted }) => {
                for tombstone in deleted {
                    if self
                        .sources
                        .get(&tombstone.object)
                        .is_some_and(|s| s.version.uid == tombstone.uid)
                    {
                        self.sources.remove(&tombstone.object);
                    }
                }
                self.sources
                    .extend(upserted.into_iter().map(|source| (source.object.clone(), source)));
            }
            Update::Service { object, state } => {
                self.services.insert(object, state);
            }
            Update::Slices {
                service,
                change: Change::Reset(slices),
            } => {
                let slices = slices
                    .into_iter()
                    .map(|slice| (slice.object.clone(), slice))
                    .collect();
                self.slices.insert(service, slices);
            }
            Update::Slices {
                service,
                change: Change::Patch { upserted, deleted },
            } => {
                let slices = self.slices.entry(service).or_default();
                for tombstone in deleted {
                    if slices
                        .get(&tombstone.object)
                        .is_some_and(|s| s.version.uid == tombstone.uid)
                    {
                        slices.remove(&tombstone.object);
                    }
                }
                slices.extend(upserted.into_iter().map(|slice| (slice.object.clone(), slice)));
            }
            Update::Departures { .. } | Update::Confirm(_) => {}
        }
    }

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
    }
}
