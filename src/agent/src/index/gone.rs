//! Nodes whose end a live read proved, until the server has stored that.

use std::collections::BTreeMap;

use model::node::NodeRef;

/// So many are remembered while there is no stream. The server asks by a relist about those it was not told.
const REMEMBERED: usize = 5_000;

/// Each with the revision that told it.
#[derive(Debug, Default)]
pub(super) struct Gone(BTreeMap<NodeRef, Option<u64>>);

impl Gone {
    pub(super) fn add(&mut self, node: NodeRef) {
        if self.0.len() < REMEMBERED {
            self.0.entry(node).or_default();
        }
    }

    pub(super) fn is_telling(&self) -> bool {
        self.0.values().any(Option::is_none)
    }

    /// What is to be told, which `revision` does.
    pub(super) fn tell(&mut self, revision: u64) -> Vec<NodeRef> {
        let untold = self.0.iter_mut().filter(|(_, sent)| sent.is_none());
        untold
            .map(|(node, sent)| {
                *sent = Some(revision);
                node.clone()
            })
            .collect()
    }

    pub(super) fn acknowledged(&mut self, revision: u64) {
        self.0.retain(|_, sent| sent.is_none_or(|sent| sent > revision));
    }

    /// A stream ended or was asked to start over: what was sent may not have been stored.
    pub(super) fn forget_sent(&mut self) {
        self.0.values_mut().for_each(|sent| *sent = None);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
