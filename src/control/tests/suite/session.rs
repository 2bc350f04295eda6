//! What an agent may say, and what becomes of it.

use crate::support::{
    ARN, Fixture, WRITE, arn, by_arn, cluster_spec, hello, name, slice, slices, source, sources, state,
    subscribed,
};
use control::{
    Error, Kind,
    session::{Directive, Reply, Scope},
};
use model::{
    condition::{Reason, Truth},
    fact::{ObjectName, ObjectVersion},
    pod::{Gate, GateState, Pod},
    stream::{Change, Statement, Tombstone, Update},
};
use serde_json::json;

#[tokio::test]
async fn an_agent_is_its_own_cluster_and_nobody_else() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    fixture.cluster("two").await?;
    let error = fixture.control.open(&agent, hello("two")).await.unwrap_err();
    assert!(
        matches!(&error, Error::WrongCluster { token_of, claimed }
        if token_of.as_str() == "one" && claimed.as_str() == "two"),
        "{error}"
    );
    assert!(error.to_string().contains("`one`") && error.to_string().contains("`two`"));
    assert_eq!(
        fixture
            .control
            .open(&fixture.admin, hello("one"))
            .await
            .unwrap_err()
            .kind(),
        Kind::Forbidden
    );
    Ok(())
}

#[tokio::test]
async fn a_protocol_that_is_too_new_is_refused_with_the_ones_that_are_understood() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let newer = model::stream::Hello {
        protocol: 9,
        ..hello("one")
    };
    let error = fixture.control.open(&agent, newer).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("understands 1 to 2"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_newest_stream_wins_and_the_older_one_can_state_and_learn_nothing_more() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut older = fixture.control.open(&agent, hello("one")).await?;
    let mut newest = fixture.control.open(&agent, hello("one")).await?;
    assert!(newest.epoch() > older.epoch());
    let reset = sources(Change::Reset(vec![source("web", 1, by_arn(ARN))]));
    assert!(matches!(
        state(&mut older, 1, reset.clone()).await,
        Err(Error::Superseded)
    ));
    assert!(matches!(
        older.ingest(Statement::Heartbeat { surroundings: None }).await,
        Err(Error::Superseded)
    ));
    assert!(matches!(older.outgoing().await, Err(Error::Superseded)));
    assert_eq!(fixture.bindings().await?.len(), 0);
    state(&mut newest, 1, reset).await?;
    assert_eq!(fixture.bindings().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn bound_services_are_subscribed_to_and_their_slices_are_stored() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    assert_eq!(
        subscribed(&session.outgoing().await?),
        Some(vec![]),
        "even nothing is said"
    );
    let replies = state(
        &mut session,
        1,
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
    )
    .await?;
    assert_eq!(replies, [Reply::Ack { revision: 1 }]);
    let web = ObjectName::new("default", "web");
    assert_eq!(subscribed(&session.outgoing().await?), Some(vec![web.clone()]));
    assert_eq!(
        subscribed(&session.outgoing().await?),
        None,
        "what was said is not said again"
    );
    let patch = slices(Change::Patch {
        upserted: vec![slice("web-1", &["10.0.0.1"])],
        deleted: vec![],
    });
    let replies = state(&mut session, 2, patch).await?;
    assert!(
        matches!(&replies[..], [Reply::Resync { scope: Scope::Service(service), .. }, Reply::Ack { revision: 2 }]
            if *service == web),
        "{replies:?}"
    );
    state(
        &mut session,
        3,
        slices(Change::Reset(vec![slice("web-1", &["10.0.0.1"])])),
    )
    .await?;
    let page = control::Page {
        cursor: None,
        limit: 10,
    };
    let filter = control::endpoints::Filter::default();
    let stored = fixture
        .control
        .list_endpoints(&fixture.viewer, &name("one"), &filter, &page)
        .await?;
    let known = stored.items[0].facts.slices.known().unwrap();
    assert_eq!(known.iter().map(|slice| slice.endpoints.len()).sum::<usize>(), 1);
    Ok(())
}

#[tokio::test]
async fn a_gap_takes_nothing_away_and_asks_for_everything_again() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    let web = source("web", 1, by_arn(ARN));
    state(&mut session, 1, sources(Change::Reset(vec![web.clone()]))).await?;
    let tombstone = Tombstone {
        object: web.object.clone(),
        uid: web.version.uid,
    };
    let patch = sources(Change::Patch {
        upserted: vec![],
        deleted: vec![tombstone],
    });
    let replies = state(&mut session, 3, patch.clone()).await?;
    assert!(
        matches!(
            &replies[0],
            Reply::Resync {
                scope: Scope::Sources,
                ..
            }
        ),
        "{replies:?}"
    );
    assert_eq!(
        fixture.bindings().await?[0].binding.lifecycle,
        model::binding::Lifecycle::Active
    );
    state(&mut session, 4, sources(Change::Reset(vec![web]))).await?;
    state(&mut session, 5, patch).await?;
    let left = fixture.bindings().await?;
    assert!(
        left.iter()
            .all(|view| view.binding.lifecycle != model::binding::Lifecycle::Active),
        "{left:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_text_in_error_keeps_what_it_had_and_says_so_at_once() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    session.outgoing().await?;
    state(
        &mut session,
        1,
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
    )
    .await?;
    let bad = json!({ "targetGroupARN": ARN, "serviceRef": { "name": "web", "port": 0 } });
    let changed = vec![source("web", 2, bad.clone()), source("new", 1, bad)];
    state(
        &mut session,
        2,
        sources(Change::Patch {
            upserted: changed,
            deleted: vec![],
        }),
    )
    .await?;
    let bindings = fixture.bindings().await?;
    let of = |name: &str| {
        bindings
            .iter()
            .find(|view| view.binding.object.name == name)
            .unwrap()
    };
    assert!(of("web").binding.spec.is_some() && of("web").binding.problem.is_some());
    assert_eq!(of("new").binding.spec, None);
    let written: Vec<_> = session
        .outgoing()
        .await?
        .into_iter()
        .filter_map(|directive| match directive {
            Directive::WriteBack(write_back) => Some(write_back),
            _ => None,
        })
        .collect();
    let [write_back] = &written[..] else {
        panic!("{written:?}")
    };
    assert_eq!(write_back.object.name, "new");
    assert_eq!(write_back.status.ready.reason, Reason::Invalid);
    let event = write_back.event.as_ref().unwrap();
    assert!(event.warning && event.message.contains("port"), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn the_target_group_of_an_object_cannot_change() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    state(
        &mut session,
        1,
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
    )
    .await?;
    let other = ARN.replace("targetgroup/web", "targetgroup/other");
    state(
        &mut session,
        2,
        sources(Change::Patch {
            upserted: vec![source("web", 2, by_arn(&other))],
            deleted: vec![],
        }),
    )
    .await?;
    let binding = &fixture.bindings().await?[0].binding;
    assert_eq!(binding.problem.as_ref().unwrap().reason, Reason::ImmutableField);
    assert_eq!(binding.spec.as_ref().unwrap().target_group, arn(ARN));
    Ok(())
}

#[tokio::test]
async fn it_does_not_matter_whether_the_name_or_the_target_group_came_first() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    let by_name =
        |group: &str| json!({ "targetGroupName": group, "serviceRef": { "name": "web", "port": 80 } });
    state(
        &mut session,
        1,
        sources(Change::Reset(vec![source("web", 1, by_name("web"))])),
    )
    .await?;
    assert_eq!(fixture.bindings().await?[0].binding.spec, None);
    fixture.declare("web", ARN, &["one"]).await?;
    let binding = fixture.bindings().await?.remove(0).binding;
    assert_eq!(binding.problem, None);
    assert_eq!(binding.spec.unwrap().target_group, arn(ARN));
    Ok(())
}

#[tokio::test]
async fn a_cut_at_any_message_of_the_first_snapshot_takes_nothing_away() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let web = ObjectName::new("default", "web");
    let snapshot: [Update; 3] = [
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
        Update::Service {
            object: web.clone(),
            state: None,
        },
        slices(Change::Reset(vec![slice("web-1", &["10.0.0.1", "10.0.0.2"])])),
    ];
    let endpoints = async || -> anyhow::Result<usize> {
        let page = control::Page {
            cursor: None,
            limit: 10,
        };
        let filter = control::endpoints::Filter::default();
        let stored = fixture
            .control
            .list_endpoints(&fixture.viewer, &name("one"), &filter, &page)
            .await?;
        let slices = stored.items.iter().filter_map(|view| view.facts.slices.known());
        Ok(slices.flatten().map(|slice| slice.endpoints.len()).sum())
    };
    let play = async |cut: usize| -> anyhow::Result<()> {
        let mut session = fixture.control.open(&agent, hello("one")).await?;
        session.outgoing().await?;
        for (update, revision) in snapshot.iter().take(cut).zip(1..) {
            state(&mut session, revision, update.clone()).await?;
            session.outgoing().await?;
        }
        Ok(())
    };
    play(snapshot.len()).await?;
    assert_eq!(endpoints().await?, 2);
    for cut in 0..=snapshot.len() {
        play(cut).await?;
        assert_eq!(endpoints().await?, 2, "cut after {cut}");
        assert_eq!(fixture.bindings().await?.len(), 1, "cut after {cut}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_subscribed_is_not_stored() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    session.outgoing().await?;
    let replies = state(
        &mut session,
        1,
        slices(Change::Reset(vec![slice("web-1", &["10.0.0.1"])])),
    )
    .await?;
    assert_eq!(replies, [Reply::Ack { revision: 1 }]);
    state(
        &mut session,
        2,
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
    )
    .await?;
    let page = control::Page {
        cursor: None,
        limit: 10,
    };
    let filter = control::endpoints::Filter::default();
    let stored = fixture
        .control
        .list_endpoints(&fixture.viewer, &name("one"), &filter, &page)
        .await?;
    assert!(
        stored
            .items
            .iter()
            .all(|view| view.facts.slices.known().is_none())
    );
    Ok(())
}

#[tokio::test]
async fn two_clusters_that_use_one_name_are_told_apart() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    fixture.control.open(&agent, hello("one")).await?;
    let other = model::stream::Hello {
        cluster_uid: "another".to_owned(),
        ..hello("one")
    };
    assert_eq!(
        fixture.control.open(&agent, other).await.unwrap_err().kind(),
        Kind::Conflict
    );
    Ok(())
}

#[tokio::test]
async fn a_session_is_woken_by_what_concerns_its_cluster() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let tasks = runtime::Tasks::new();
    fixture.spawn(&tasks);
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    session.outgoing().await?;
    fixture.declare("web", ARN, &["one"]).await?;
    let binding = control::bindings::BindingName {
        cluster: name("one"),
        object: ObjectName::new("default", "web"),
    };
    let spec = control::bindings::ApiSpec {
        target_group: control::bindings::GroupRef::Arn(arn(ARN)),
        service: "web".into(),
        port: "80".parse().unwrap(),
    };
    fixture
        .control
        .put_binding(&fixture.admin, &binding, spec, WRITE)
        .await?;
    let told = async {
        loop {
            session.woken().await;
            if let Some(services) = subscribed(&session.outgoing().await?) {
                return anyhow::Ok(services);
            }
        }
    };
    // Far below the poll, which would find it too.
    let services = tokio::time::timeout(std::time::Duration::from_secs(5), told).await??;
    assert_eq!(services, [ObjectName::new("default", "web")]);
    tasks.stop(std::time::Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test]
async fn a_poll_alone_finds_what_no_wake_told_of_and_bothers_nobody_else() -> anyhow::Result<()> {
    let fixture = Fixture::polling(std::time::Duration::from_millis(50)).await?;
    let tasks = runtime::Tasks::new();
    let (one, two) = (fixture.cluster("one").await?, fixture.cluster("two").await?);
    let mut concerned = fixture.control.open(&one, hello("one")).await?;
    let mut other = fixture.control.open(&two, hello("two")).await?;
    concerned.outgoing().await?;
    other.outgoing().await?;
    // Nobody listens, and the first poll comes when both streams are open: before, that itself would be news.
    fixture
        .control
        .spawn(&tasks, store::Hub::new(fixture.store.clone()).subscribe());
    // The first poll knows nothing before it.
    concerned.woken().await;
    other.woken().await;
    fixture.declare("web", ARN, &["one"]).await?;
    let mut revision = 0;
    for update in [
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
        sources(Change::Patch {
            upserted: vec![],
            deleted: vec![],
        }),
    ] {
        revision += 1;
        state(&mut concerned, revision, update).await?;
    }
    concerned.woken().await;
    let services = subscribed(&concerned.outgoing().await?).unwrap();
    assert_eq!(services, [ObjectName::new("default", "web")]);
    // Its epoch is news for the older of two streams.
    let newer = fixture.control.open(&one, hello("one")).await?;
    concerned.woken().await;
    assert_eq!(concerned.outgoing().await.unwrap_err().kind(), Kind::Superseded);
    drop(newer);
    let bothered = tokio::time::timeout(std::time::Duration::from_millis(300), other.woken()).await;
    assert!(bothered.is_err(), "nothing happened that concerns it");
    tasks.stop(std::time::Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test]
async fn a_role_that_an_admin_adds_mends_the_texts_that_name_it() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    let role = "arn:aws:iam::210987654321:role/elbow";
    let mut text = by_arn(&ARN.replace("123456789012", "210987654321"));
    text["iamRoleArnToAssume"] = json!(role);
    text["assumeRoleExternalId"] = json!("of-one");
    let update = sources(Change::Reset(vec![source("web", 1, text)]));
    state(&mut session, 1, update).await?;
    let problem = fixture.bindings().await?.remove(0).binding.problem;
    assert_eq!(problem.unwrap().reason, Reason::RoleNotAllowed);

    let mut spec = cluster_spec();
    spec.roles.push(model::account::AssumableRole {
        arn: role.parse()?,
        external_id: Some("of-one".to_owned()),
    });
    fixture
        .control
        .put_cluster(&fixture.admin, name("one"), spec, WRITE)
        .await?;
    let binding = fixture.bindings().await?.remove(0).binding;
    assert_eq!(binding.problem, None);
    assert_eq!(
        binding.spec.unwrap().target_group.shard().account.as_str(),
        "210987654321"
    );
    Ok(())
}

#[tokio::test]
async fn a_name_finds_no_group_of_others_and_does_not_tell_that_there_is_one() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    fixture.cluster("two").await?;
    fixture.declare("theirs", ARN, &["two"]).await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    let named = |name: &str| json!({ "targetGroupName": name, "serviceRef": { "name": "web", "port": 80 } });
    let objects = vec![source("a", 1, named("web")), source("b", 1, named("nothing"))];
    state(&mut session, 1, sources(Change::Reset(objects))).await?;
    for binding in fixture.bindings().await? {
        let problem = binding.binding.problem.unwrap();
        assert_eq!(problem.reason, Reason::TargetGroupNotDeclared);
        assert!(
            !problem.message.contains("theirs") && !problem.message.contains(ARN),
            "{problem}"
        );
    }
    Ok(())
}

fn gated_pod() -> Pod {
    Pod {
        object: ObjectName::new("default", "web-1"),
        version: ObjectVersion {
            uid: uuid::Uuid::from_u128(7),
            resource_version: 1,
        },
        gates: [("web".to_owned(), None)].into(),
        containers_ready: true,
        terminating: false,
        grace_seconds: 30,
    }
}

fn pods(change: Change<Pod>) -> Update {
    Update::Pods {
        service: ObjectName::new("default", "web"),
        change,
        shortest_grace: Some(30),
    }
}

#[tokio::test]
async fn pods_are_taken_from_a_reset_on_and_their_gates_are_told_until_they_are_written() -> anyhow::Result<()>
{
    let fixture = Fixture::new().await?;
    let agent = fixture.cluster("one").await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    state(
        &mut session,
        1,
        sources(Change::Reset(vec![source("web", 1, by_arn(ARN))])),
    )
    .await?;
    session.outgoing().await?;
    let patch = pods(Change::Patch {
        upserted: vec![gated_pod()],
        deleted: vec![],
    });
    let replies = state(&mut session, 2, patch).await?;
    let web = ObjectName::new("default", "web");
    assert!(
        matches!(&replies[..], [Reply::Resync { scope: Scope::Pods(of), .. }, Reply::Ack { revision: 2 }] if *of == web),
        "{replies:?}"
    );
    state(&mut session, 3, pods(Change::Reset(vec![gated_pod()]))).await?;
    let leases = fixture
        .store
        .lease("replica-0", std::time::Duration::from_mins(10), 10)
        .await?;
    let fence = leases[0].fence();
    let bound = fixture
        .store
        .group(&arn(ARN), jiff::SignedDuration::ZERO)
        .await?
        .bindings
        .remove(0);
    assert_eq!(
        bound.facts.pods.gated.known().map(|pods| pods[0].pod.clone()),
        Some(gated_pod())
    );

    let gate = Gate {
        cluster: bound.cluster.id,
        binding: bound.binding.id,
        name: "web".to_owned(),
        pod: gated_pod().pod_ref(),
        state: GateState {
            status: Truth::True,
            reason: "Healthy".to_owned(),
            message: String::new(),
        },
    };
    fixture
        .store
        .sync_gates(&fence, &arn(ARN), std::slice::from_ref(&gate))
        .await?;
    let told = |directives: Vec<Directive>| {
        let gates = directives.into_iter().filter_map(|directive| match directive {
            Directive::WriteGate(gate) => Some(gate),
            _ => None,
        });
        gates.collect::<Vec<_>>()
    };
    let first = told(session.outgoing().await?);
    assert_eq!(
        first
            .iter()
            .map(|told| (&told.pod, &told.name, &told.state))
            .collect::<Vec<_>>(),
        [(&gate.pod, &gate.name, &gate.state)]
    );
    assert_eq!(told(session.outgoing().await?), [], "once");
    // A stream that breaks before the answer.
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    assert_eq!(told(session.outgoing().await?), first, "again");
    let written = Statement::WriteBackResult {
        id: first[0].id,
        error: None,
    };
    session.ingest(written).await?;
    let mut session = fixture.control.open(&agent, hello("one")).await?;
    assert_eq!(told(session.outgoing().await?), []);
    Ok(())
}
