//! The receiving side of a stream: folds updates into what a server would have stored.

use std::collections::BTreeMap;

use model::{
    fact::{EndpointSlice, ObjectName, Service},
    node::Node,
    pod::Pod,
    stream::{Change, Source, Update},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mirror {
    pub(crate) sources: BTreeMap<ObjectName, Source>,
    pub(crate) services: BTreeMap<ObjectName, Option<Service>>,
    pub(crate) slices: BTreeMap<ObjectName, BTreeMap<ObjectName, EndpointSlice>>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) pods: BTreeMap<ObjectName, BTreeMap<ObjectName, Pod>>,
    pub(crate) graces: BTreeMap<ObjectName, Option<u32>>,
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
            Update::SourcesOf { namespaces, sources } => {
                self.sources
                    .retain(|object, _| !namespaces.contains(&object.namespace));
                self.sources
                    .extend(sources.into_iter().map(|source| (source.object.clone(), source)));
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
            Update::Nodes(Change::Reset(nodes)) => {
                self.nodes = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
            }
            Update::Nodes(Change::Patch { upserted, deleted }) => {
                for node in deleted {
                    if self
                        .nodes
                        .get(&node.name)
                        .is_some_and(|n| n.version.uid == node.uid)
                    {
                        self.nodes.remove(&node.name);
                    }
                }
                self.nodes
                    .extend(upserted.into_iter().map(|node| (node.name.clone(), node)));
            }
            Update::Pods {
                service,
                change,
                shortest_grace,
            } => {
                self.graces.insert(service.clone(), shortest_grace);
                let pods = self.pods.entry(service).or_default();
                let upserted = match change {
                    Change::Reset(all) => {
                        pods.clear();
                        all
                    }
                    Change::Patch { upserted, deleted } => {
                        for tombstone in deleted {
                            if pods
                                .get(&tombstone.object)
                                .is_some_and(|pod| pod.version.uid == tombstone.uid)
                            {
                                pods.remove(&tombstone.object);
                            }
                        }
                        upserted
                    }
                };
                pods.extend(upserted.into_iter().map(|pod| (pod.object.clone(), pod)));
            }
            Update::Departures { .. } | Update::NodesGone(_) | Update::Confirm(_) => {}
        }
    }
}
