//! Nodes, for as long as the server wants them, and which of those that left have come to their end.

use model::{
    node::{Node, NodeRef},
    stream::{Change, Update},
};

use super::{
    Event, Index, Kind, Scope,
    outbox::{Outbox, Pending},
    patch,
};

impl Index {
    pub(super) fn subscribe_nodes(&mut self, wanted: bool) {
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

    pub(super) fn nodes_event(&mut self, event: Event<Node>) {
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

    /// First the nodes, then which of those that left have come to their end.
    pub(super) fn next_of_nodes(&mut self, outbox: &mut Outbox) -> Option<Update> {
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
