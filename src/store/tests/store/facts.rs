use std::time::Duration;

use anyhow::Result;
use model::{
    fact::{EndpointSlice, Evidence, ServiceFacts, Stated},
    plan::{RelistRequest, Step},
    stream::{Change, Confirm, Origin, PodReading, Tombstone, Vanished},
};
use store::{Ingested, Wake};

use crate::support::{
    Fixture, addition, arn, heard, judged, object, plan, plan_id, pod, rows, service, slice, source, spec,
    uid,
};

/// Bindings to the services `web` and `api`, of which nothing is stated yet.
async fn bound() -> Result<Fixture> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web"), source("api")]).await?;
    Ok(fixture)
}

impl Fixture {
    async fn slices(&self, of: &str, change: Change<EndpointSlice>) -> Result<Ingested> {
        Ok(self
            .store
            .ingest_slices(self.stream, &object(of), &change)
            .await?)
    }

    async fn reset(&self, of: &str, slices: Vec<EndpointSlice>) -> Result<Ingested> {
        self.slices(of, Change::Reset(slices)).await
    }

    async fn patch(&self, of: &str, slices: Vec<EndpointSlice>) -> Result<Ingested> {
        self.slices(
            of,
            Change::Patch {
                upserted: slices,
                deleted: Vec::new(),
            },
        )
        .await
    }

    async fn facts(&self, of: &str) -> Result<ServiceFacts> {
        Ok(self.snapshot(&arn(of)).await?.bindings.remove(0).facts)
    }

    /// The names of the stored slices of a service.
    async fn names(&self, of: &str) -> Result<Vec<String>> {
        let facts = self.facts(of).await?;
        let slices = facts.slices.known().cloned().unwrap_or_default();
        Ok(slices.into_iter().map(|slice| slice.object.name).collect())
    }
}

fn gone(name: &str) -> Change<EndpointSlice> {
    Change::Patch {
        upserted: Vec::new(),
        deleted: vec![Tombstone {
            object: object(name),
            uid: uid(name),
        }],
    }
}

#[tokio::test]
async fn what_was_never_stated_is_unknown_and_not_empty() -> Result<()> {
    let fixture = bound().await?;
    assert_eq!(fixture.facts("web").await?, ServiceFacts::default());
    assert!(
        fixture
            .patch("web", vec![slice("web-1", "web", 1, &["10.0.0.1"])])
            .await?
            .needs_reset
    );
    assert_eq!(fixture.facts("web").await?.slices, Stated::Unknown);

    fixture.reset("web", Vec::new()).await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("web"), None)
        .await?;
    let facts = fixture.facts("web").await?;
    assert_eq!(
        (facts.slices, facts.service),
        (Stated::Known(Vec::new()), Stated::Known(None))
    );
    Ok(())
}

#[tokio::test]
async fn a_reset_is_complete_and_a_patch_is_not() -> Result<()> {
    let fixture = bound().await?;
    let (one, two) = (
        slice("web-1", "web", 1, &["10.0.0.1"]),
        slice("web-2", "web", 2, &["10.0.0.2"]),
    );
    fixture.reset("web", vec![one.clone()]).await?;
    fixture.patch("web", vec![two.clone()]).await?;
    assert_eq!(
        fixture.facts("web").await?.slices,
        Stated::Known(vec![one, two.clone()])
    );
    fixture.reset("web", vec![two.clone()]).await?;
    assert_eq!(fixture.facts("web").await?.slices, Stated::Known(vec![two]));
    fixture.slices("web", gone("web-2")).await?;
    assert_eq!(fixture.facts("web").await?.slices, Stated::Known(Vec::new()));
    Ok(())
}

#[tokio::test]
async fn a_slice_older_than_the_stored_one_of_its_uid_is_passed_over() -> Result<()> {
    let fixture = bound().await?;
    let new = slice("web-1", "web", 9, &["10.0.0.1", "10.0.0.2"]);
    fixture.reset("web", vec![new.clone()]).await?;
    let older = slice("web-1", "web", 8, &["10.0.0.1"]);
    assert_eq!(fixture.patch("web", vec![older.clone()]).await?.ignored, 1);
    fixture.reset("web", vec![older]).await?;
    assert_eq!(fixture.facts("web").await?.slices, Stated::Known(vec![new]));

    let mut anew = slice("web-1", "web", 3, &["10.0.0.3"]);
    anew.version.uid = uid("anew");
    fixture.patch("web", vec![anew.clone()]).await?;
    assert_eq!(fixture.facts("web").await?.slices, Stated::Known(vec![anew]));
    fixture.slices("web", gone("web-1")).await?;
    assert_eq!(
        fixture.names("web").await?,
        ["web-1"],
        "the tombstone was of the former UID"
    );
    Ok(())
}

#[tokio::test]
async fn news_of_a_wake_come_before_it_and_only_if_it_comes_from_an_event() -> Result<()> {
    let mut fixture = bound().await?;
    fixture.reset("web", Vec::new()).await?;
    let mut listener = fixture.store.listen().await?;
    let before = fixture.store.fleet().await?.now;
    let origin = Origin {
        waited: Duration::from_millis(1500),
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    };
    let stated = fixture.patch("web", vec![slice("one", "web", 1, &["10.0.0.1"])]);
    Box::pin(store::coming_from(Some(origin.clone()), stated)).await?;
    let wakes = heard(&mut listener, &mut fixture.sql).await?;
    let [Wake::News(of, news), wake] = &wakes[..] else {
        panic!("news and a wake: {wakes:?}");
    };
    assert_eq!((of, wake), (&arn("web"), &Wake::Group(arn("web"))));
    assert_eq!(news.trace, origin.trace);
    assert!(news.ingested_at >= before && news.ingested_at <= fixture.store.fleet().await?.now);
    assert_eq!(
        news.ingested_at.duration_since(news.seen_at).as_millis(),
        1500,
        "{news:?}"
    );

    // The same change without an origin, and one that changes nothing.
    fixture
        .patch("web", vec![slice("one", "web", 2, &["10.0.0.2"])])
        .await?;
    let unchanged = fixture.patch("web", vec![slice("one", "web", 2, &["10.0.0.2"])]);
    Box::pin(store::coming_from(Some(origin), unchanged)).await?;
    let wakes = heard(&mut listener, &mut fixture.sql).await?;
    assert_eq!(wakes, [Wake::Group(arn("web"))]);
    Ok(())
}

#[tokio::test]
async fn a_slice_belongs_to_the_service_that_its_label_says_now() -> Result<()> {
    let mut fixture = bound().await?;
    fixture
        .reset("web", vec![slice("moving", "web", 1, &["10.0.0.1"])])
        .await?;
    fixture.reset("api", Vec::new()).await?;
    let mut listener = fixture.store.listen().await?;
    fixture
        .patch("api", vec![slice("moving", "api", 2, &["10.0.0.1"])])
        .await?;
    assert_eq!(
        (fixture.names("web").await?.len(), fixture.names("api").await?),
        (0, vec!["moving".to_owned()])
    );
    let mut wakes = heard(&mut listener, &mut fixture.sql).await?;
    wakes.sort_by_key(|wake| format!("{wake:?}"));
    assert_eq!(wakes, [Wake::Group(arn("api")), Wake::Group(arn("web"))]);

    // The former service's side of the move comes late and takes nothing.
    fixture.slices("web", gone("moving")).await?;
    fixture.reset("web", Vec::new()).await?;
    assert_eq!(fixture.names("api").await?, ["moving"]);

    // To a service that nobody is bound to.
    fixture
        .patch("api", vec![slice("moving", "unbound", 3, &["10.0.0.1"])])
        .await?;
    assert!(fixture.names("api").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn facts_that_are_stated_again_write_nothing_and_wake_nobody() -> Result<()> {
    let mut fixture = bound().await?;
    let slices = vec![
        slice("web-1", "web", 1, &["10.0.0.1"]),
        slice("web-2", "web", 2, &["10.0.0.2"]),
    ];
    let vanished = [Vanished {
        address: "10.0.0.3".parse()?,
        pod: None,
        evidence: Evidence::None,
    }];
    let state = async |fixture: &Fixture| -> Result<()> {
        fixture
            .store
            .ingest_service(fixture.stream, &object("web"), Some(&service("web", 5)))
            .await?;
        fixture.reset("web", slices.clone()).await?;
        fixture.patch("web", slices.clone()).await?;
        fixture
            .store
            .ingest_departures(fixture.stream, &object("web"), &vanished)
            .await?;
        Ok(())
    };
    state(&fixture).await?;
    let mut listener = fixture.store.listen().await?;
    let before = rows(&mut fixture.sql).await?;
    state(&fixture).await?;
    assert_eq!(rows(&mut fixture.sql).await?, before);
    assert_eq!(heard(&mut listener, &mut fixture.sql).await?, []);
    Ok(())
}

#[tokio::test]
async fn an_older_state_of_a_service_is_passed_over() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("web"), Some(&service("web", 10)))
        .await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("web"), Some(&service("web", 9)))
        .await?;
    assert_eq!(
        fixture.facts("web").await?.service,
        Stated::Known(Some(service("web", 10)))
    );
    Ok(())
}

#[tokio::test]
async fn facts_go_with_the_last_binding_and_are_asked_for_anew() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .reset("web", vec![slice("web-1", "web", 1, &["10.0.0.1"])])
        .await?;
    let before = fixture.store.subscriptions(fixture.cluster).await?.services;
    assert_eq!(
        before
            .iter()
            .map(|wanted| wanted.service.name.as_str())
            .collect::<Vec<_>>(),
        ["api", "web"]
    );

    fixture
        .upsert([judged("web", 2, Ok(spec("web", "other")))])
        .await?;
    fixture.upsert([judged("web", 3, Ok(spec("web", "web")))]).await?;
    assert_eq!(fixture.facts("web").await?, ServiceFacts::default());
    let after = fixture.store.subscriptions(fixture.cluster).await?.services;
    assert_eq!(before[0], after[0]);
    assert_eq!(before[1].service, after[1].service);
    assert_ne!(before[1].token, after[1].token);
    Ok(())
}

#[tokio::test]
async fn statements_about_a_service_that_nobody_is_bound_to_are_passed_over() -> Result<()> {
    let mut fixture = bound().await?;
    let before = rows(&mut fixture.sql).await?;
    assert_eq!(
        fixture
            .reset("nobodys", vec![slice("x", "nobodys", 1, &["10.0.0.1"])])
            .await?
            .ignored,
        1
    );
    assert_eq!(
        fixture
            .store
            .ingest_service(fixture.stream, &object("nobodys"), None)
            .await?
            .ignored,
        1
    );
    assert_eq!(rows(&mut fixture.sql).await?, before);
    Ok(())
}

#[tokio::test]
async fn evidence_is_strengthened_and_never_weakened() -> Result<()> {
    let fixture = bound().await?;
    let order = [
        Evidence::None,
        Evidence::PodGone,
        Evidence::NotSelected,
        Evidence::Terminating,
        Evidence::None,
    ];
    let strongest = [
        Evidence::None,
        Evidence::PodGone,
        Evidence::PodGone,
        Evidence::Terminating,
        Evidence::Terminating,
    ];
    for (evidence, strongest) in order.into_iter().zip(strongest) {
        let vanished = [Vanished {
            address: "10.0.0.1".parse()?,
            pod: Some(pod("10.0.0.1")),
            evidence,
        }];
        fixture
            .store
            .ingest_departures(fixture.stream, &object("web"), &vanished)
            .await?;
        let departures = fixture.facts("web").await?.departures;
        assert_eq!((departures.len(), departures[0].evidence), (1, strongest));
    }
    Ok(())
}

/// A relist of `web` that names the pod of 10.0.0.1.
async fn asked(fixture: &Fixture) -> Result<u64> {
    let request = RelistRequest {
        cluster: fixture.cluster,
        service: object("web"),
        pods: vec![pod("10.0.0.1")],
        nodes: Vec::new(),
    };
    fixture.store.request_relists(&[request]).await?;
    Ok(fixture.store.relists(fixture.cluster).await?[0].id)
}

fn confirm(relist_id: u64, slices: Vec<EndpointSlice>) -> Confirm {
    Confirm {
        relist_id,
        object: object("web"),
        service: Some(service("web", 5)),
        slices,
        pods: Vec::new(),
        nodes: Vec::new(),
    }
}

#[tokio::test]
async fn a_confirmation_of_what_is_stored_counts_and_ends_its_relist() -> Result<()> {
    let mut fixture = bound().await?;
    let slices = vec![slice("web-1", "web", 8, &["10.0.0.2"])];
    fixture
        .store
        .ingest_service(fixture.stream, &object("web"), Some(&service("web", 5)))
        .await?;
    fixture.reset("web", slices.clone()).await?;
    let fence = fixture.fence().await?;
    let register = Step::Register {
        targets: vec![addition("10.0.0.1", &[fixture.binding(&arn("web")).await?.id])],
    };
    fixture
        .store
        .intend(
            &fence,
            plan_id(),
            &plan("web", vec![register.clone()]),
            &[register],
        )
        .await?;

    let id = asked(&fixture).await?;
    let mut listener = fixture.store.listen().await?;
    let mut answer = confirm(id, slices);
    answer.pods = vec![PodReading {
        pod: pod("10.0.0.1"),
        evidence: Evidence::PodGone,
    }];
    let ingested = fixture.store.ingest_confirm(fixture.stream, &answer).await?;
    assert!(!ingested.needs_reset);
    let facts = fixture.facts("web").await?;
    assert!(facts.confirmed_at.is_some());
    let [departure] = &facts.departures[..] else {
        panic!("{:?}", facts.departures)
    };
    assert_eq!(
        (departure.address, departure.evidence),
        ("10.0.0.1".parse()?, Evidence::PodGone)
    );
    assert!(fixture.store.relists(fixture.cluster).await?.is_empty());
    assert_eq!(
        heard(&mut listener, &mut fixture.sql).await?,
        [Wake::Group(arn("web"))]
    );
    Ok(())
}

#[tokio::test]
async fn a_confirmation_that_is_older_than_what_is_stored_confirms_and_removes_nothing() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .store
        .ingest_service(fixture.stream, &object("web"), Some(&service("web", 5)))
        .await?;
    let stored = vec![
        slice("web-1", "web", 8, &["10.0.0.1"]),
        slice("web-2", "web", 9, &["10.0.0.2"]),
    ];
    fixture.reset("web", stored.clone()).await?;
    // The first was read in an older state, the second before it was made.
    let answer = confirm(asked(&fixture).await?, vec![slice("web-1", "web", 7, &[])]);
    assert!(
        fixture
            .store
            .ingest_confirm(fixture.stream, &answer)
            .await?
            .needs_reset
    );
    let facts = fixture.facts("web").await?;
    assert_eq!(
        (facts.slices, facts.confirmed_at),
        (Stated::Known(stored.clone()), None)
    );

    // Nor does the absence of the Service, while the stream says that it is there.
    let mut answer = confirm(asked(&fixture).await?, stored);
    answer.service = None;
    assert!(
        fixture
            .store
            .ingest_confirm(fixture.stream, &answer)
            .await?
            .needs_reset
    );
    let facts = fixture.facts("web").await?;
    assert_eq!(
        (facts.service, facts.confirmed_at),
        (Stated::Known(Some(service("web", 5))), None)
    );
    Ok(())
}

#[tokio::test]
async fn a_confirmation_removes_a_slice_that_it_would_have_seen() -> Result<()> {
    let fixture = bound().await?;
    fixture
        .reset(
            "web",
            vec![
                slice("web-1", "web", 8, &["10.0.0.1"]),
                slice("web-2", "web", 4, &["10.0.0.2"]),
            ],
        )
        .await?;
    let kept = vec![slice("web-1", "web", 8, &["10.0.0.1"])];
    let answer = confirm(asked(&fixture).await?, kept.clone());
    assert!(
        !fixture
            .store
            .ingest_confirm(fixture.stream, &answer)
            .await?
            .needs_reset
    );
    let facts = fixture.facts("web").await?;
    assert_eq!(facts.slices, Stated::Known(kept));
    assert!(facts.confirmed_at.is_some());
    Ok(())
}

#[tokio::test]
async fn a_relist_is_asked_for_once_and_anew_for_more_pods() -> Result<()> {
    let mut fixture = bound().await?;
    let id = asked(&fixture).await?;
    let before = rows(&mut fixture.sql).await?;
    assert_eq!(asked(&fixture).await?, id);
    assert_eq!(rows(&mut fixture.sql).await?, before);

    let request = RelistRequest {
        cluster: fixture.cluster,
        service: object("web"),
        pods: vec![pod("10.0.0.2")],
        nodes: Vec::new(),
    };
    fixture.store.request_relists(&[request]).await?;
    let relists = fixture.store.relists(fixture.cluster).await?;
    assert_eq!((relists.len(), relists[0].pods.len()), (1, 2));
    assert_ne!(relists[0].id, id);
    // The answer to the smaller question.
    fixture
        .store
        .ingest_confirm(fixture.stream, &confirm(id, Vec::new()))
        .await?;
    assert_eq!(fixture.store.relists(fixture.cluster).await?, relists);
    Ok(())
}
