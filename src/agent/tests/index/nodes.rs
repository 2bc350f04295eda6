//! Nodes, for those who want them.

use agent::index::{Event, Index, Input};
use model::{
    node::{Node, NodeRef, Taint},
    stream::{Change, Statement, Update},
};

use crate::{
    mirror::Mirror,
    support::{following, listed, node, subscription, uid},
};

/// An index that follows these nodes, everything told and stored.
fn following_nodes(nodes: Vec<Node>) -> (Index, Mirror) {
    let (mut index, mut mirror) = following(vec![]);
    for input in listed(nodes, Input::Nodes) {
        index.handle(input);
    }
    index.subscribe(subscription(&["web"]), true);
    mirror.drain(&mut index);
    (index, mirror)
}

#[test]
fn nodes_are_told_once_they_are_wanted_and_not_before() {
    let mut index = Index::default();
    for input in listed([node(1, 0)], Input::Nodes) {
        index.handle(input);
    }
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    index.handle(Input::Nodes(Event::Apply(node(2, 0))));
    assert_eq!(index.next_statement(), None);
    index.subscribe(subscription(&["web"]), true);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes.len(), 2);
    index.subscribe(subscription(&["web"]), false);
    index.handle(Input::Nodes(Event::Apply(node(1, 1))));
    assert_eq!(index.next_statement(), None);
}

#[test]
fn nodes_that_cannot_be_seen_are_unsynced_for_those_who_want_them_and_never_deleted() {
    let mut index = Index::default();
    index.connect(1);
    index.handle(Input::Nodes(Event::Lost(None, "403: forbidden".into())));
    assert_eq!(index.next_statement(), None, "an older server knows no nodes");
    index.subscribe(subscription(&["web"]), true);
    assert_eq!(
        index.next_statement(),
        Some(Statement::Unsynced {
            kind: "Node".into(),
            namespace: None,
            reason: "403: forbidden".into()
        })
    );
    assert_eq!(index.next_statement(), None);

    let (mut index, mut mirror) = following_nodes(vec![node(1, 0)]);
    index.handle(Input::Nodes(Event::Lost(None, "404".into())));
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes.len(), 1);
}

#[test]
fn the_end_of_a_node_is_told_after_it_was_proven_and_again_until_it_is_stored() {
    let (mut index, mut mirror) = following_nodes(vec![node(1, 0), node(2, 0)]);
    index.handle(Input::Nodes(Event::Delete {
        object: "node-1".into(),
        uid: uid(5, 1),
    }));
    let said = index.next_statement();
    assert!(
        matches!(&said, Some(Statement::Update { update: Update::Nodes(Change::Patch { deleted, .. }), .. }) if deleted.len() == 1),
        "{said:?}"
    );
    assert_eq!(
        index.next_statement(),
        None,
        "the node goes at once, the proof follows"
    );
    let gone = index.take_node_proofs();
    assert_eq!(gone, [node(1, 0).node_ref()]);
    let tells = |index: &mut Index| -> (Vec<NodeRef>, u64) {
        let mut told = (vec![], 0);
        while let Some(statement) = index.next_statement() {
            if let Statement::Update { revision, update } = statement {
                told.1 = revision;
                if let Update::NodesGone(nodes) = update {
                    told.0.extend(nodes);
                }
            }
        }
        told
    };
    index.node_is_gone(gone[0].clone());
    assert_eq!(tells(&mut index).0, gone);
    index.disconnect();
    index.connect(2);
    index.subscribe(subscription(&["web"]), true);
    let (again, revision) = tells(&mut index);
    assert_eq!(again, gone, "nobody said that it was stored");
    index.acknowledged(revision);
    index.connect(3);
    index.subscribe(subscription(&["web"]), true);
    assert_eq!(tells(&mut index).0, []);
    mirror.drain(&mut index);
}

#[test]
fn a_node_of_another_uid_by_the_same_name_asks_for_proof_of_the_former_ones_end() {
    let (mut index, mut mirror) = following_nodes(vec![node(1, 0)]);
    let mut another = node(1, 0);
    another.version.uid = uid(6, 1);
    index.handle(Input::Nodes(Event::Apply(another)));
    assert_eq!(index.take_node_proofs(), [node(1, 0).node_ref()]);
    mirror.drain(&mut index);
    assert_eq!(mirror.nodes["node-1"].version.uid, uid(6, 1));
    let mut changed = node(1, 0);
    changed.version.uid = uid(6, 1);
    changed.taints = vec![Taint {
        key: "k".into(),
        effect: "NoSchedule".into(),
    }];
    index.handle(Input::Nodes(Event::Apply(changed)));
    assert_eq!(index.take_node_proofs(), []);
}

#[test]
fn a_node_that_only_lives_on_is_no_news() {
    let (mut index, _) = following_nodes(vec![node(1, 0)]);
    let mut beat = node(1, 0);
    beat.version.resource_version = 99;
    index.handle(Input::Nodes(Event::Apply(beat)));
    assert_eq!(index.next_statement(), None);
}
