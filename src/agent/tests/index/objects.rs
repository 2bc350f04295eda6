//! Bindings and Services: what is told of them, and when.

use agent::index::{Event, Index, Input};
use model::stream::{Confirm, Statement, Update};

use crate::{
    mirror::Mirror,
    support::{
        following, listed, name, node, permutations, service, slice, source, subscription, synced, uid,
    },
};

#[test]
fn an_index_that_is_not_synced_says_nothing() {
    let mut index = Index::default();
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(index.next_statement(), None);
    index.handle(Input::Sources(Event::Init(None)));
    index.handle(Input::Sources(Event::InitApply(source(1, 1))));
    index.handle(Input::Slices(Event::Apply(slice(1, "web", &[1]))));
    assert_eq!(index.next_statement(), None);
}

/// S5: whatever the order in which kinds become visible and wherever the stream is cut, a server that knew everything
/// still does.
#[test]
fn a_first_snapshot_that_is_cut_at_any_message_removes_nothing() {
    let sources = vec![source(1, 1), source(2, 1), source(3, 1)];
    let services = vec![service("web", 1), service("api", 1)];
    let slices = vec![
        slice(1, "web", &[1, 2]),
        slice(2, "web", &[3]),
        slice(3, "api", &[4]),
    ];
    let subscribed = subscription(&["web", "api"]);
    let mut truth = Mirror::default();
    let nodes = vec![node(1, 0), node(2, 0)];
    let mut index = synced(sources.clone(), services.clone(), slices.clone());
    for input in listed(nodes.clone(), Input::Nodes) {
        index.handle(input);
    }
    index.connect(1);
    index.subscribe(subscribed.clone(), true);
    truth.drain(&mut index);
    assert_eq!((truth.sources.len(), truth.slices[&name("web")].len()), (3, 2));
    assert_eq!(truth.nodes.len(), 2);

    let kinds = [
        listed(sources, Input::Sources),
        listed(services, Input::Services),
        listed(slices, Input::Slices),
        listed(nodes, Input::Nodes),
    ];
    let mut cuts = 0;
    for order in permutations(&kinds) {
        let events: Vec<Input> = order.into_iter().flatten().collect();
        for connect_at in 0..=events.len() {
            for subscribe_at in connect_at..=events.len() {
                let mut index = Index::default();
                let mut mirror = truth.clone();
                for at in 0..=events.len() {
                    if at == connect_at {
                        index.connect(2);
                    }
                    if at == subscribe_at {
                        index.subscribe(subscribed.clone(), true);
                    }
                    // After each message the stream could end: the fold of every prefix is checked.
                    while let Some(statement) = index.next_statement() {
                        if let Statement::Update { update, .. } = statement {
                            mirror.fold(update);
                        }
                        assert_eq!(mirror, truth);
                        cuts += 1;
                    }
                    if let Some(event) = events.get(at) {
                        index.handle(event.clone());
                    }
                }
            }
        }
    }
    assert!(cuts > 1_000, "{cuts}");
}

#[test]
fn a_kind_that_is_lost_is_told_as_unsynced_and_removes_nothing() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    mirror.drain(&mut index);
    index.handle(Input::Sources(Event::Lost(None, "404: no such kind".into())));
    let unsynced = Statement::Unsynced {
        kind: "TargetGroupBinding".to_owned(),
        namespace: None,
        reason: "404: no such kind".to_owned(),
    };
    assert_eq!(index.next_statement(), Some(unsynced));
    assert_eq!(index.next_statement(), None);
    index.handle(Input::Sources(Event::Lost(None, "404: no such kind".into())));
    assert_eq!(index.next_statement(), None, "once");

    // A new stream hears of it too, and of no sources.
    index.connect(2);
    assert!(matches!(index.next_statement(), Some(Statement::Unsynced { .. })));
    assert_eq!(index.next_statement(), None);
    for input in listed([source(1, 1)], Input::Sources) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.len(), 1);
}

#[test]
fn a_status_that_was_written_is_no_news() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    Mirror::default().drain(&mut index);
    let mut written = source(1, 1);
    written.version.resource_version = 99;
    index.handle(Input::Sources(Event::Apply(written)));
    assert_eq!(index.next_statement(), None);
}

#[test]
fn an_object_that_cannot_be_read_stays_as_it_was() {
    let mut index = synced(vec![source(1, 1), source(2, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    index.handle(Input::Sources(Event::Init(None)));
    index.handle(Input::Sources(Event::Unreadable(name("binding-1"))));
    index.handle(Input::Sources(Event::InitDone(None)));
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.keys().collect::<Vec<_>>(), [&name("binding-1")]);
}

#[test]
fn the_deletion_of_a_former_object_of_a_name_does_not_remove_the_present_one() {
    let mut index = synced(vec![source(1, 1)], vec![], vec![]);
    index.connect(1);
    let mut mirror = Mirror::default();
    index.handle(Input::Sources(Event::Delete {
        object: name("binding-1"),
        uid: uid(1, 77),
    }));
    mirror.drain(&mut index);
    assert_eq!(mirror.sources.len(), 1);
}

#[test]
fn a_confirmation_is_told_to_the_stream_that_asked_and_to_no_other() {
    let (mut index, _) = following(vec![]);
    let confirm = Confirm {
        relist_id: 7,
        object: name("web"),
        service: None,
        slices: vec![],
        pods: vec![],
        nodes: vec![],
    };
    index.confirm(1, confirm.clone());
    assert!(matches!(
        index.next_statement(),
        Some(Statement::Update {
            update: Update::Confirm(_),
            ..
        })
    ));
    index.confirm(0, confirm);
    assert_eq!(index.next_statement(), None);
}
