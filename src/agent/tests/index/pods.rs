//! The pods that the subscribed Services select.

use std::collections::BTreeMap;

use agent::index::{Event, Index, Input, Kind, Namespaces, PodWatch};
use model::{
    fact::{ObjectName, ObjectVersion, PodRef, Service},
    pod::Pod,
    stream::{Change, Statement, Update},
};

use crate::{
    mirror::Mirror,
    support::{name, pod, service, subscription, synced},
};

/// A Service whose selector is `app=<app>`.
fn selecting(service_name: &str, app: &str) -> Service {
    Service {
        selector: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        ..service(service_name, 1)
    }
}

/// A pod by number with a gate of `binding`, if any.
fn gated(number: u8, binding: Option<&str>, grace_seconds: u32) -> Pod {
    let PodRef { namespace, name, uid } = pod(number);
    Pod {
        object: ObjectName { namespace, name },
        version: ObjectVersion {
            uid,
            resource_version: 1,
        },
        gates: binding
            .map(|binding| (binding.to_owned(), None))
            .into_iter()
            .collect(),
        containers_ready: true,
        terminating: false,
        grace_seconds,
    }
}

fn begun(watches: &[PodWatch]) -> u64 {
    let [.., PodWatch::Begin { id, .. }] = watches else {
        panic!("a watch begins: {watches:?}")
    };
    *id
}

/// Of the watch of the pods of `web`.
fn of_watch(watch: u64, events: Vec<Event<Pod>>) -> impl Iterator<Item = Input> {
    of_watch_in("shop", watch, events)
}

fn of_watch_in(namespace: &str, watch: u64, events: Vec<Event<Pod>>) -> impl Iterator<Item = Input> {
    let service = ObjectName::new(namespace, "web");
    events.into_iter().map(move |event| Input::Pods {
        service: service.clone(),
        watch,
        event,
    })
}

/// A connected index that follows `web`, with the watch of its pods.
fn selected() -> (Index, Mirror, u64) {
    let mut index = synced(
        vec![],
        vec![selecting("web", "web"), selecting("api", "api")],
        vec![],
    );
    index.connect(1);
    index.subscribe(subscription(&["web"]), false);
    assert_eq!(index.take_pod_watches(), [], "nobody wants pods");
    index.want_pods(true);
    let watches = index.take_pod_watches();
    assert_eq!(
        watches,
        [PodWatch::Begin {
            id: begun(&watches),
            service: name("web"),
            view: None,
            selector: BTreeMap::from([("app".into(), "web".into())]),
        }],
        "of a Service that is subscribed, by its selector"
    );
    (index, Mirror::default(), begun(&watches))
}

#[test]
fn of_the_pods_that_a_subscribed_service_selects_those_with_a_gate_are_told() {
    let (mut index, mut mirror, watch) = selected();
    for input in of_watch(
        watch,
        vec![Event::Init(None), Event::InitApply(gated(1, Some("web"), 40))],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.pods, BTreeMap::new(), "the list is not complete");
    for input in of_watch(
        watch,
        vec![Event::InitApply(gated(2, None, 20)), Event::InitDone(None)],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    let told: Vec<_> = mirror.pods[&name("web")].values().cloned().collect();
    assert_eq!(told, [gated(1, Some("web"), 40)]);
    assert_eq!(mirror.graces[&name("web")], Some(20), "of all of them");

    // What nobody asked about is no news; another shortest grace is.
    for input in of_watch(watch, vec![Event::Apply(gated(3, None, 30))]) {
        index.handle(input);
    }
    assert_eq!(index.next_statement(), None);
    let mut leaving = gated(2, None, 20);
    leaving.terminating = true;
    for input in of_watch(watch, vec![Event::Apply(leaving)]) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.graces[&name("web")], Some(30));
    let deleted = Event::Delete {
        object: name("pod-1"),
        uid: pod(1).uid,
    };
    for input in of_watch(watch, vec![deleted]) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(mirror.pods[&name("web")], BTreeMap::new());
}

#[test]
fn another_selector_is_another_watch_and_what_the_old_one_says_is_nothing() {
    let (mut index, mut mirror, old) = selected();
    for input in of_watch(
        old,
        vec![
            Event::Init(None),
            Event::InitApply(gated(1, Some("web"), 30)),
            Event::InitDone(None),
        ],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    index.handle(Input::Services(Event::Apply(selecting("web", "blue"))));
    let watches = index.take_pod_watches();
    let new = begun(&watches);
    assert_eq!(watches[0], PodWatch::End { id: old });
    for input in of_watch(
        old,
        vec![Event::Delete {
            object: name("pod-1"),
            uid: pod(1).uid,
        }],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    assert_eq!(
        mirror.pods[&name("web")].len(),
        1,
        "until the new list is complete"
    );
    for input in of_watch(
        new,
        vec![
            Event::Init(None),
            Event::InitApply(gated(2, Some("web"), 30)),
            Event::InitDone(None),
        ],
    ) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    let told: Vec<_> = mirror.pods[&name("web")].keys().cloned().collect();
    assert_eq!(told, [name("pod-2")]);

    // A new stream is told all of it again, and a server that wants no pods ends the watch.
    index.connect(2);
    index.subscribe(subscription(&["web"]), false);
    index.want_pods(true);
    assert_eq!(index.take_pod_watches(), []);
    let mut fresh = Mirror::default();
    fresh.drain(&mut index);
    assert_eq!(fresh.pods, mirror.pods);
    index.want_pods(false);
    assert_eq!(index.take_pod_watches(), [PodWatch::End { id: new }]);
}

#[test]
fn pods_that_cannot_be_seen_are_told_as_unsynced_and_stay() {
    let (mut index, mut mirror, watch) = selected();
    let listed = || {
        vec![
            Event::Init(None),
            Event::InitApply(gated(1, Some("web"), 30)),
            Event::InitDone(None),
        ]
    };
    for input in of_watch(watch, listed()) {
        index.handle(input);
    }
    mirror.drain(&mut index);
    for input in of_watch(watch, vec![Event::Lost(None, "403: forbidden".into())]) {
        index.handle(input);
    }
    let unsynced = index.next_statement();
    assert!(
        matches!(&unsynced, Some(Statement::Unsynced { kind, .. }) if kind == "Pod"),
        "{unsynced:?}"
    );
    assert_eq!(index.next_statement(), None);
    for input in of_watch(watch, listed()) {
        index.handle(input);
    }
    assert!(
        matches!(
            index.next_statement(),
            Some(Statement::Update {
                update: Update::Pods {
                    change: Change::Reset(_),
                    ..
                },
                ..
            })
        ),
        "a reset ends it"
    );
}

#[test]
fn pods_that_cannot_be_seen_in_a_namespace_are_told_as_unsynced_there_to_those_who_want_them() {
    let mut index = Index::of(Namespaces::These(["shop", "other"].map(str::to_owned).into()));
    let services = [
        selecting("web", "web"),
        Service {
            object: ObjectName::new("other", "web"),
            ..selecting("web", "web")
        },
    ];
    for service in &services {
        index.handle(Input::Services(Event::Apply(service.clone())));
    }
    let subscription = || services.iter().map(|service| service.object.clone()).collect();
    index.connect(1);
    index.subscribe(subscription(), false);
    index.want_pods(true);
    let watches: BTreeMap<_, _> = index
        .take_pod_watches()
        .into_iter()
        .map(|watch| match watch {
            PodWatch::Begin {
                id, service, view, ..
            } => {
                assert_eq!(view.as_ref(), Some(&service.namespace));
                (service.namespace, id)
            }
            end @ PodWatch::End { .. } => panic!("{end:?}"),
        })
        .collect();
    let (shop, other) = (|| Some("shop".to_owned()), || Some("other".to_owned()));
    let unsynced = |namespace| Statement::Unsynced {
        kind: "Pod".into(),
        namespace,
        reason: "403".into(),
    };
    let lose = |index: &mut Index, view: Option<String>| {
        let namespace = view.clone().unwrap();
        let lost = Event::Lost(view, "403".into());
        of_watch_in(&namespace, watches[&namespace], vec![lost]).for_each(|input| index.handle(input));
    };
    lose(&mut index, other());
    assert_eq!(index.next_statement(), Some(unsynced(other())));
    assert_eq!(index.next_statement(), None);

    // A stream of a server that has not asked for pods yet, as an older one never does.
    index.connect(2);
    index.subscribe(subscription(), false);
    lose(&mut index, shop());
    assert_eq!(index.next_statement(), None);
    index.want_pods(true);
    index.want_pods(true);
    let told: Vec<_> = std::iter::from_fn(|| index.next_statement()).collect();
    assert_eq!(told, [unsynced(other()), unsynced(shop())]);

    let listed = vec![Event::Init(shop()), Event::InitDone(shop())];
    of_watch(watches["shop"], listed).for_each(|input| index.handle(input));
    assert_eq!(
        index.sizes()[4],
        (Kind::Pod, 0, false),
        "those of `other` are not seen"
    );
    index.want_pods(true);
    assert_eq!(index.next_statement(), None, "what was told once is known");
}
