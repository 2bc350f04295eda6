//! An index of some namespaces.

use agent::index::{Event, Index, Input, Namespaces};
use model::{
    fact::ObjectName,
    stream::{Change, Statement, Update},
};

use crate::support::{name, source};

/// An index of the namespaces `shop`, whose kinds are listed, and `other`, whose are not.
fn of_two_namespaces() -> Index {
    let namespaces = ["shop", "other"].map(str::to_owned).into();
    let mut index = Index::of(Namespaces::These(namespaces));
    let shop = || Some("shop".to_owned());
    for input in [
        Input::Sources(Event::Init(shop())),
        Input::Sources(Event::InitApply(source(1, 1))),
        Input::Sources(Event::InitDone(shop())),
        Input::Services(Event::Init(shop())),
        Input::Services(Event::InitDone(shop())),
        Input::Slices(Event::Init(shop())),
        Input::Slices(Event::InitDone(shop())),
    ] {
        index.handle(input);
    }
    index
}

fn updates(index: &mut Index) -> Vec<Update> {
    let statements = std::iter::from_fn(|| index.next_statement());
    statements
        .map(|statement| match statement {
            Statement::Update { update, .. } => update,
            other => panic!("no update: {other:?}"),
        })
        .collect()
}

#[test]
fn a_namespace_that_cannot_be_seen_is_named_and_keeps_no_other_from_being_told() {
    let mut index = of_two_namespaces();
    index.connect(1);
    let shop = Update::SourcesOf {
        namespaces: ["shop".to_owned()].into(),
        sources: vec![source(1, 1)],
    };
    assert_eq!(updates(&mut index), [shop]);

    let other = || Some("other".to_owned());
    index.handle(Input::Sources(Event::Lost(other(), "403".into())));
    let unsynced = Statement::Unsynced {
        kind: "TargetGroupBinding".into(),
        namespace: other(),
        reason: "403".into(),
    };
    assert_eq!(index.next_statement(), Some(unsynced));
    index.handle(Input::Sources(Event::Apply(source(2, 1))));
    assert!(
        matches!(&updates(&mut index)[..], [Update::Sources(Change::Patch { upserted, .. })] if upserted.len() == 1)
    );

    // Seen at last, it is told with the others.
    index.handle(Input::Sources(Event::Init(other())));
    index.handle(Input::Sources(Event::InitDone(other())));
    let told = updates(&mut index);
    assert!(
        matches!(&told[..], [Update::SourcesOf { namespaces, sources }] if namespaces.len() == 2 && sources.len() == 2),
        "{told:?}"
    );
    // A list of one namespace takes nothing from another.
    index.handle(Input::Sources(Event::Init(other())));
    index.handle(Input::Sources(Event::InitDone(other())));
    assert_eq!(index.next_statement(), None);
    assert!(!index.is_synced(), "the Services of `other` were never listed");
}

#[test]
fn what_cannot_be_seen_is_told_again_when_a_service_of_there_is_subscribed_to() {
    let mut index = of_two_namespaces();
    index.connect(1);
    updates(&mut index);
    let other = || Some("other".to_owned());
    index.handle(Input::Services(Event::Lost(other(), "403".into())));
    let unsynced = || Statement::Unsynced {
        kind: "Service".into(),
        namespace: other(),
        reason: "403".into(),
    };
    assert_eq!(index.next_statement(), Some(unsynced()));
    // Meanwhile the server forgets it: no Service of there is bound.
    let web = || [ObjectName::new("other", "web")].into();
    index.subscribe(web(), false);
    assert_eq!(index.next_statement(), Some(unsynced()));
    index.subscribe(web(), false);
    assert_eq!(index.next_statement(), None, "it is told once");
}

#[test]
fn of_a_namespace_that_is_not_looked_at_nothing_is_said_not_even_absence() {
    let mut index = of_two_namespaces();
    index.connect(1);
    updates(&mut index);
    let elsewhere = ObjectName::new("elsewhere", "web");
    let unlisted = ObjectName::new("other", "web");
    index.subscribe([elsewhere, unlisted, name("web")].into(), false);
    let told = updates(&mut index);
    let is_of_shop = |update: &Update| match update {
        Update::Service { object, state } => *object == name("web") && state.is_none(),
        Update::Slices { service, .. } => *service == name("web"),
        _ => false,
    };
    assert!(told.len() == 2 && told.iter().all(is_of_shop), "{told:?}");
}
