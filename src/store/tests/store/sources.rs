use anyhow::Result;
use model::{
    binding::Lifecycle,
    condition::{Problem, Reason},
    guard::Unbinding,
    stream::{Change, Tombstone},
};
use store::Wake;

use crate::support::{Fixture, arn, heard, judged, object, rows, source, spec, uid};

#[tokio::test]
async fn an_object_older_than_the_stored_one_is_passed_over() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([judged("web", 7, Ok(spec("web", "new")))]).await?;
    let older = fixture.upsert([judged("web", 6, Ok(spec("web", "old")))]).await?;
    assert_eq!((older.written, older.ignored), (0, 1));
    assert_eq!(fixture.binding(&arn("web")).await?.spec.unwrap().service, "new");
    Ok(())
}

#[tokio::test]
async fn a_reset_deletes_what_it_lacks() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web"), source("api")]).await?;
    fixture.state(Change::Reset(vec![source("api")])).await?;
    assert!(matches!(
        fixture.binding(&arn("web")).await?.lifecycle,
        Lifecycle::Deleted { .. }
    ));
    assert_eq!(fixture.binding(&arn("api")).await?.lifecycle, Lifecycle::Active);
    Ok(())
}

#[tokio::test]
async fn a_tombstone_of_another_uid_deletes_nothing() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let deleted = vec![Tombstone {
        object: object("web"),
        uid: uid("former"),
    }];
    let ingested = fixture
        .state(Change::Patch {
            upserted: Vec::new(),
            deleted,
        })
        .await?;
    assert_eq!((ingested.written, ingested.ignored), (0, 1));
    assert_eq!(fixture.binding(&arn("web")).await?.lifecycle, Lifecycle::Active);
    Ok(())
}

#[tokio::test]
async fn an_object_with_a_deletion_timestamp_is_deleted() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let mut going = source("web");
    going.source.deleting = true;
    fixture.upsert([going]).await?;
    assert!(matches!(
        fixture.binding(&arn("web")).await?.lifecycle,
        Lifecycle::Deleted { .. }
    ));
    Ok(())
}

#[tokio::test]
async fn a_text_in_error_keeps_what_the_binding_had() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let problem = Problem::new(Reason::Invalid, "no");
    fixture.upsert([judged("web", 2, Err(problem.clone()))]).await?;
    let binding = fixture.binding(&arn("web")).await?;
    assert_eq!(
        (binding.spec, binding.problem),
        (Some(spec("web", "web")), Some(problem))
    );

    fixture
        .upsert([judged("web", 3, Ok(spec("web", "other")))])
        .await?;
    let binding = fixture.binding(&arn("web")).await?;
    assert_eq!(
        (binding.spec, binding.problem),
        (Some(spec("web", "other")), None)
    );
    Ok(())
}

#[tokio::test]
async fn the_target_group_of_an_object_never_changes() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    fixture
        .upsert([judged("web", 2, Ok(spec("other", "web")))])
        .await?;
    let binding = fixture.binding(&arn("web")).await?;
    assert_eq!(binding.problem.unwrap().reason, Reason::ImmutableField);
    assert!(fixture.snapshot(&arn("other")).await?.bindings.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_object_that_was_made_anew_goes_on_with_its_binding() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let before = fixture.binding(&arn("web")).await?;
    fixture.delete([source("web")]).await?;
    let mut anew = judged("web", 9, Ok(spec("web", "web")));
    anew.source.version.uid = uid("anew");
    fixture.upsert([anew]).await?;
    let after = fixture.binding(&arn("web")).await?;
    assert_eq!((after.id, after.lifecycle), (before.id, Lifecycle::Active));
    Ok(())
}

#[tokio::test]
async fn an_object_made_anew_for_another_group_lets_go_of_the_former() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let mut anew = judged("web", 9, Ok(spec("other", "web")));
    anew.source.version.uid = uid("anew");
    fixture.upsert([anew]).await?;
    assert!(matches!(
        fixture.binding(&arn("web")).await?.lifecycle,
        Lifecycle::Deleted { .. }
    ));
    assert_eq!(fixture.binding(&arn("other")).await?.lifecycle, Lifecycle::Active);
    Ok(())
}

#[tokio::test]
async fn a_patch_before_the_first_reset_is_not_taken() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    sqlx::query("update clusters set sources_synced_at = null")
        .execute(&mut fixture.sql)
        .await?;
    let ingested = fixture.upsert([source("web")]).await?;
    assert!(ingested.needs_reset);
    assert!(fixture.snapshot(&arn("web")).await?.bindings.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_statement_that_changes_nothing_writes_nothing_and_wakes_nobody() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let problem = || Err(Problem::new(Reason::TargetGroupNotDeclared, "declare it"));
    let objects = || vec![source("web"), source("api"), judged("lost", 1, problem())];
    fixture.state(Change::Reset(objects())).await?;

    let mut listener = fixture.store.listen().await?;
    let before = rows(&mut fixture.sql).await?;
    let again = fixture.state(Change::Reset(objects())).await?;
    assert_eq!(again.written, 0);
    fixture.upsert(objects()).await?;
    assert_eq!(rows(&mut fixture.sql).await?, before);
    assert_eq!(heard(&mut listener, &mut fixture.sql).await?, []);
    Ok(())
}

#[tokio::test]
async fn only_the_groups_that_a_change_concerns_are_woken() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web"), source("api")]).await?;
    let mut listener = fixture.store.listen().await?;
    fixture
        .upsert([judged("web", 2, Ok(spec("web", "other")))])
        .await?;
    let wakes = heard(&mut listener, &mut fixture.sql).await?;
    assert_eq!(wakes, [Wake::Group(arn("web")), Wake::Cluster(fixture.cluster)]);
    Ok(())
}

#[tokio::test]
async fn an_object_that_names_no_group_is_told_so() -> Result<()> {
    let fixture = Fixture::new().await?;
    let problem = Problem::new(Reason::TargetGroupNotDeclared, "declare it");
    fixture.upsert([judged("web", 1, Err(problem))]).await?;
    let write_backs = fixture.store.write_backs(fixture.cluster, 0, 10).await?;
    assert_eq!(write_backs[0].status.ready.reason, Reason::TargetGroupNotDeclared);
    assert_eq!(write_backs[0].uid, uid("web"));

    // Once the group is declared, the same text is judged anew.
    let binding = write_backs[0].binding;
    let version = fixture.store.binding(binding).await?.unwrap().binding.version;
    assert!(
        fixture
            .store
            .rejudge(binding, version, &Ok(spec("web", "web")))
            .await?
    );
    assert!(
        !fixture
            .store
            .rejudge(binding, version, &Ok(spec("web", "web")))
            .await?
    );
    assert_eq!(fixture.binding(&arn("web")).await?.id, binding);
    Ok(())
}

#[tokio::test]
async fn what_is_bound_in_a_namespace_that_nobody_looks_at_stays_and_is_told_as_unsynced() -> Result<()> {
    let fixture = Fixture::new().await?;
    let elsewhere = |name: &str| {
        let mut judged = source(name);
        judged.source.object.namespace = "elsewhere".into();
        judged
    };
    fixture
        .upsert([source("web"), source("api"), elsewhere("far")])
        .await?;
    let shop = object("web").namespace;
    let of_shop = async |sources| {
        let (stream, guard) = (fixture.stream, Unbinding::default());
        let namespaces = [shop.clone()].into();
        fixture
            .store
            .ingest_sources(stream, &Change::Reset(sources), Some(&namespaces), &guard)
            .await
    };
    let unsynced = async || {
        let state = fixture.store.cluster_by_id(fixture.cluster).await?;
        anyhow::Ok(state.map(|state| state.unsynced).unwrap_or_default())
    };

    of_shop(vec![source("api")]).await?;
    assert!(matches!(
        fixture.binding(&arn("web")).await?.lifecycle,
        Lifecycle::Deleted { .. }
    ));
    assert_eq!(fixture.binding(&arn("far")).await?.lifecycle, Lifecycle::Active);
    let told = unsynced().await?;
    assert!(
        told["TargetGroupBinding in elsewhere"].contains("does not look at"),
        "{told:?}"
    );
    let again = of_shop(vec![source("api")]).await?;
    assert_eq!(again.written, 0);

    // Looked at everywhere again.
    fixture
        .state(Change::Reset(vec![source("api"), elsewhere("far")]))
        .await?;
    assert!(unsynced().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_keeps_no_service_from_being_stated_is_not_told_as_unsynced_any_more() -> Result<()> {
    let fixture = Fixture::new().await?;
    let elsewhere = |name: &str| {
        let mut judged = source(name);
        judged.source.object.namespace = "elsewhere".into();
        judged
    };
    fixture.upsert([source("web"), elsewhere("far")]).await?;
    for kind in ["Service", "EndpointSlice", "Pod", "TargetGroupBinding"] {
        for namespace in [None, Some("shop"), Some("elsewhere")] {
            fixture
                .store
                .ingest_unsynced(fixture.stream, kind, namespace, "403")
                .await?;
        }
    }
    let told = async || -> Result<Vec<String>> {
        let state = fixture.store.cluster_by_id(fixture.cluster).await?;
        Ok(state
            .map(|state| state.unsynced.into_keys().collect())
            .unwrap_or_default())
    };
    assert_eq!(told().await?.len(), 12);
    let fence = fixture.fence().await?;
    fixture.delete([elsewhere("far")]).await?;
    fixture.store.finish_bindings(&fence, &arn("far")).await?;
    let sources = [
        "TargetGroupBinding",
        "TargetGroupBinding in elsewhere",
        "TargetGroupBinding in shop",
    ];
    let of_shop = [
        "EndpointSlice",
        "EndpointSlice in shop",
        "Pod",
        "Pod in shop",
        "Service",
        "Service in shop",
    ];
    let mut expected = [&of_shop[..], &sources[..]].concat();
    expected.sort_unstable();
    assert_eq!(told().await?, expected);
    fixture.delete([source("web")]).await?;
    fixture.store.finish_bindings(&fence, &arn("web")).await?;
    assert_eq!(told().await?, sources);
    Ok(())
}
