use std::time::Duration;

use anyhow::Result;
use model::{
    AccountId, BindingId,
    account::{AccountSpec, AssumableRole},
    binding::Lifecycle,
    cluster::{Leaving, Mode},
    guard::Unbinding,
    plan::Step,
    scope::Scope,
    stream::Change,
    target_group::{Grant, TargetGroupSpec},
};
use serde_json::json;
use store::{BindingFilter, Error, Fence, NewToken, Put, Role, Wake};

use crate::support::{
    Fixture, addition, arn, cluster_spec, group_spec, heard, key, name_of, object, plan, plan_id, source,
    spec,
};

#[tokio::test]
async fn a_write_that_expects_another_version_is_refused() -> Result<()> {
    let fixture = Fixture::new().await?;
    let (name, spec) = (name_of("web"), group_spec("web"));
    let nothing = fixture
        .store
        .put_target_group("test", &name, &spec, Some(1))
        .await;
    assert!(
        matches!(
            nothing,
            Err(Error::Conflict {
                expected: 1,
                found: None
            })
        ),
        "{nothing:?}"
    );
    assert!(matches!(
        fixture.store.put_target_group("test", &name, &spec, None).await?,
        Put::Created(_)
    ));
    let mut wider = spec.clone();
    wider.clusters.push(name_of("beta"));
    let stale = fixture
        .store
        .put_target_group("test", &name, &wider, Some(7))
        .await;
    assert!(
        matches!(
            stale,
            Err(Error::Conflict {
                expected: 7,
                found: Some(1)
            })
        ),
        "{stale:?}"
    );
    let Put::Updated(group) = fixture
        .store
        .put_target_group("test", &name, &wider, Some(1))
        .await?
    else {
        panic!("it was there")
    };
    assert_eq!((group.version, group.spec), (2, wider));
    Ok(())
}

#[tokio::test]
async fn a_target_group_keeps_its_arn_and_an_arn_its_name() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), None)
        .await?;
    for (name, group) in [("web", "other"), ("second", "web")] {
        let refused = fixture
            .store
            .put_target_group("test", &name_of(name), &group_spec(group), None)
            .await;
        assert!(matches!(refused, Err(Error::Constraint(_))), "{refused:?}");
    }
    let shard = cluster_spec().shard();
    assert_eq!(
        fixture
            .store
            .target_groups_by_aws_name(&shard, "web")
            .await?
            .len(),
        1
    );
    assert_eq!(
        fixture
            .store
            .target_group_by_arn(&arn("web"))
            .await?
            .unwrap()
            .name,
        name_of("web")
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_deleted_that_is_still_used() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), None)
        .await?;
    fixture.upsert([source("web")]).await?;
    fixture.delete([source("web")]).await?;
    let group = fixture
        .store
        .delete_target_group("test", &name_of("web"), None)
        .await;
    assert!(matches!(group, Err(Error::Constraint(_))), "{group:?}");
    let cluster = fixture
        .store
        .delete_cluster("test", &name_of("alpha"), None, None)
        .await;
    assert!(matches!(cluster, Err(Error::Constraint(_))), "{cluster:?}");

    fixture
        .store
        .finish_bindings(&fixture.fence().await?, &arn("web"))
        .await?;
    fixture
        .store
        .delete_target_group("test", &name_of("web"), None)
        .await?;
    fixture
        .store
        .delete_cluster("test", &name_of("alpha"), None, Some(1))
        .await?;
    assert!(fixture.store.cluster(&name_of("alpha")).await?.is_none());
    assert!(fixture.store.clusters(None, None, 10).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_cluster_stays_in_its_account_and_region_and_a_new_mode_wakes_its_groups() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let mut spec = cluster_spec();
    spec.account = "000000000001".parse()?;
    let moved = fixture
        .store
        .put_cluster("test", &name_of("alpha"), &spec, None)
        .await;
    assert!(matches!(moved, Err(Error::Constraint(_))), "{moved:?}");

    let mut listener = fixture.store.listen().await?;
    let spec = model::cluster::ClusterSpec {
        mode: Mode::AddOnly,
        ..cluster_spec()
    };
    fixture
        .store
        .put_cluster("test", &name_of("alpha"), &spec, None)
        .await?;
    let wakes = heard(&mut listener, &mut fixture.sql).await?;
    assert_eq!(wakes, [Wake::Group(arn("web")), Wake::Cluster(fixture.cluster)]);
    assert_eq!(
        fixture.snapshot(&arn("web")).await?.bindings[0].cluster.spec.mode,
        Mode::AddOnly
    );
    Ok(())
}

#[tokio::test]
async fn a_declared_binding_lives_beside_an_object_of_its_name() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.upsert([source("web")]).await?;
    let text = json!({ "service": "web" });
    let put = async |expected, service| {
        fixture
            .store
            .put_binding(
                "test",
                fixture.cluster,
                &object("web"),
                &text,
                &Ok(spec("web", service)),
                expected,
            )
            .await
    };
    let created = put(None, "web").await?;
    assert!(matches!(created, Put::Created(_)));
    assert!(matches!(put(Some(1), "web").await?, Put::Unchanged(_)));
    assert_eq!(put(Some(1), "api").await?.into_inner().version, 2);
    assert_eq!(fixture.snapshot(&arn("web")).await?.bindings.len(), 2);
    let services = fixture.store.subscriptions(fixture.cluster).await?.services;
    assert_eq!(
        services
            .iter()
            .map(|wanted| wanted.service.name.as_str())
            .collect::<Vec<_>>(),
        ["api", "web"]
    );

    fixture
        .store
        .delete_binding("test", fixture.cluster, &object("web"), Some(2))
        .await?;
    let deleted = fixture
        .store
        .binding(created.into_inner().id)
        .await?
        .unwrap()
        .binding;
    assert!(matches!(deleted.lifecycle, Lifecycle::Deleted { .. }));
    let again = fixture
        .store
        .delete_binding("test", fixture.cluster, &object("web"), None)
        .await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
    let actions: Vec<_> = fixture
        .store
        .audit(None, None, None, None, 3)
        .await?
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(actions, ["binding.delete", "binding.put", "binding.put"]);
    Ok(())
}

fn new_token<'a>(hash: &'a [u8; 32], name: &'a str, role: Role) -> NewToken<'a> {
    NewToken {
        hash,
        name,
        role,
        scope: None,
        team: None,
        issuer: None,
        lifetime: None,
    }
}

#[tokio::test]
async fn what_a_token_makes_while_it_is_ended_does_not_outlast_it() -> Result<()> {
    let fixture = Fixture::new().await?;
    let store = &fixture.store;
    for round in 0..20 {
        let hash = [round; 32];
        let maker = store
            .add_token("admin", new_token(&hash, "maker", Role::Editor))
            .await?
            .expect("it is new");
        // Some come before the end and some after.
        let made = (0..4).map(async |number| {
            let hash = [100 + round * 4 + number; 32];
            let token = NewToken {
                issuer: Some(maker.id),
                ..new_token(&hash, "made", Role::Editor)
            };
            match store.add_token("maker", token).await {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        });
        let end = store.expire_token("admin", maker.id, None, Duration::ZERO, false);
        futures::future::try_join(futures::future::try_join_all(made), end).await?;
    }
    let left = store.tokens(None, None, 500).await?;
    let left: Vec<_> = left
        .into_iter()
        .filter(|token| token.issuer.is_some() && token.expires_at.is_none())
        .collect();
    assert_eq!(left, []);
    Ok(())
}

#[tokio::test]
async fn what_a_token_made_ends_with_it_also_by_a_server_that_knows_nothing_of_it() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let (maker, made, third) = ([1; 32], [2; 32], [3; 32]);
    let mut issuer = None;
    for hash in [&maker, &made, &third] {
        let token = NewToken {
            issuer,
            ..new_token(hash, "token", Role::Editor)
        };
        issuer = fixture
            .store
            .add_token("admin", token)
            .await?
            .map(|added| added.id);
    }
    assert!(fixture.store.principal(&third).await?.is_some());
    sqlx::query("update tokens set expires_at = now() where hash = $1")
        .bind(&maker[..])
        .execute(&mut fixture.sql)
        .await?;
    for hash in [&maker, &made, &third] {
        assert_eq!(fixture.store.principal(hash).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_done_to_a_former_cluster_of_the_name_is_not_told_to_who_has_this_one() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let cluster = fixture
        .store
        .cluster_by_id(fixture.cluster)
        .await?
        .expect("it is there")
        .cluster;
    let scope: Scope = serde_json::from_value(serde_json::json!([cluster.name]))?;
    let told = async |fixture: &Fixture| fixture.store.audit(Some(&scope), None, None, None, 10).await;
    assert_eq!(told(&fixture).await?[0].action, "cluster.put");
    sqlx::query("update clusters set created_at = clock_timestamp()")
        .execute(&mut fixture.sql)
        .await?;
    assert_eq!(told(&fixture).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_token_is_known_by_its_hash_and_goes_with_its_cluster() -> Result<()> {
    let fixture = Fixture::new().await?;
    let hash = [7; 32];
    assert!(!fixture.store.has_admin().await?);
    fixture
        .store
        .add_token("test", new_token(&[1; 32], "root", Role::Admin))
        .await?;
    assert!(fixture.store.has_admin().await?);
    fixture
        .store
        .add_token("test", new_token(&hash, "alpha", Role::Agent(fixture.cluster)))
        .await?;
    assert_eq!(
        fixture.store.principal(&hash).await?.unwrap().role,
        Role::Agent(fixture.cluster)
    );
    assert_eq!(fixture.store.principal(&[8; 32]).await?, None);
    fixture
        .store
        .delete_cluster("test", &name_of("alpha"), None, None)
        .await?;
    assert_eq!(fixture.store.principal(&hash).await?, None);
    Ok(())
}

/// The cluster `alpha` with one target, and the writer's word.
async fn with_a_target(fixture: &Fixture) -> Result<(Fence, BindingId)> {
    fixture
        .store
        .put_target_group("test", &name_of("web"), &group_spec("web"), None)
        .await?;
    fixture.upsert([source("web")]).await?;
    let binding = fixture.binding(&arn("web")).await?.id;
    let fence = fixture.fence().await?;
    let step = Step::Register {
        targets: vec![addition("10.0.0.1", &[binding])],
    };
    let plan = plan("web", vec![step]);
    fixture
        .store
        .intend(&fence, plan_id(), &plan, &plan.steps)
        .await?;
    Ok((fence, binding))
}

async fn forget_the_target(fixture: &Fixture, fence: &Fence) -> Result<()> {
    let step = Step::Forget {
        targets: vec![key("10.0.0.1")],
    };
    let plan = plan("web", vec![step]);
    fixture.store.intend(fence, plan_id(), &plan, &plan.steps).await?;
    fixture.store.finish_bindings(fence, &arn("web")).await?;
    Ok(())
}

#[tokio::test]
async fn a_cluster_with_targets_leaves_only_when_their_fate_is_chosen_and_goes_with_the_last_of_them()
-> Result<()> {
    for (leaving, lifecycle) in [(Leaving::Drain, "deleted"), (Leaving::Keep, "relinquished")] {
        let fixture = Fixture::new().await?;
        let alpha = name_of("alpha");
        let (fence, binding) = with_a_target(&fixture).await?;
        let hash = [7; 32];
        fixture
            .store
            .add_token("test", new_token(&hash, "alpha", Role::Agent(fixture.cluster)))
            .await?;
        let unsaid = fixture.store.delete_cluster("test", &alpha, None, None).await;
        assert!(
            matches!(&unsaid, Err(Error::Constraint(message)) if message.contains("targets=drain")),
            "{unsaid:?}"
        );

        fixture
            .store
            .delete_cluster("test", &alpha, Some(leaving), None)
            .await?;
        let stored = fixture.store.binding(binding).await?.unwrap().binding;
        let told = match stored.lifecycle {
            Lifecycle::Deleted { .. } => "deleted",
            Lifecycle::Relinquished { .. } => "relinquished",
            other => panic!("{other:?}"),
        };
        assert_eq!(told, lifecycle);
        let state = fixture.store.cluster(&alpha).await?.unwrap();
        assert_eq!(state.leaving, Some(leaving));
        assert_eq!(
            fixture.store.principal(&hash).await?,
            None,
            "its agent is nobody's"
        );
        let late = fixture
            .store
            .ingest_sources(
                fixture.stream,
                &Change::Reset(Vec::new()),
                None,
                &Unbinding::default(),
            )
            .await;
        assert!(matches!(late, Err(Error::StaleEpoch { .. })), "{late:?}");

        fixture.store.finish_bindings(&fence, &arn("web")).await?;
        assert!(fixture.store.cluster(&alpha).await?.is_some(), "a target is left");
        forget_the_target(&fixture, &fence).await?;
        assert!(fixture.store.cluster(&alpha).await?.is_none());
        assert!(fixture.store.binding(binding).await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn only_clusters_that_were_heard_of_and_are_not_set_aside_count_for_the_fleet() -> Result<()> {
    let fixture = Fixture::new().await?;
    let store = &fixture.store;
    for name in ["beta", "gamma"] {
        store
            .put_cluster("test", &name_of(name), &cluster_spec(), None)
            .await?;
    }
    assert_eq!(
        store.fleet().await?.last_seen.len(),
        1,
        "alpha alone was heard of"
    );
    assert!(store.cordon_cluster("test", &name_of("alpha"), true).await?);
    assert!(!store.cordon_cluster("test", &name_of("alpha"), true).await?);
    assert!(store.cluster(&name_of("alpha")).await?.unwrap().cluster.cordoned);
    assert_eq!(store.fleet().await?.last_seen.len(), 0);
    assert!(store.cordon_cluster("test", &name_of("alpha"), false).await?);
    let before = store.fleet().await?;
    assert_eq!((before.last_seen.len(), before.released_at), (1, None));
    store.release_fleet("test").await?;
    let after = store.fleet().await?;
    assert!(
        after
            .released_at
            .is_some_and(|released| released >= after.last_seen[0])
    );
    Ok(())
}

#[tokio::test]
async fn an_account_says_by_which_role_it_is_entered() -> Result<()> {
    let fixture = Fixture::new().await?;
    let store = &fixture.store;
    let id: AccountId = "210987654321".parse()?;
    let spec = |external_id: &str| AccountSpec {
        role: AssumableRole {
            arn: "arn:aws:iam::210987654321:role/elbow".parse().unwrap(),
            external_id: Some(external_id.to_owned()),
        },
    };
    let put = store.put_account("test", &id, &spec("one"), None).await?;
    assert!(matches!(put, Put::Created(_)));
    let put = store.put_account("test", &id, &spec("one"), Some(1)).await?;
    assert!(matches!(put, Put::Unchanged(_)));
    let put = store.put_account("test", &id, &spec("two"), Some(1)).await?;
    assert_eq!(put.into_inner().version, 2);
    assert_eq!(store.account_roles().await?[&id], spec("two").role);
    assert_eq!(store.accounts(None, 10).await?.len(), 1);
    store.delete_account("test", &id, Some(2)).await?;
    assert!(store.account(&id).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn lists_hold_only_what_is_in_scope() -> Result<()> {
    let fixture = Fixture::new().await?;
    let store = &fixture.store;
    store
        .put_cluster("test", &name_of("beta"), &cluster_spec(), None)
        .await?;
    let granted = TargetGroupSpec {
        clusters: Vec::new(),
        grants: vec![Grant {
            cluster: name_of("beta"),
            namespaces: vec!["shop".to_owned()],
        }],
        ..group_spec("granted")
    };
    for (name, spec) in [("web", group_spec("web")), ("granted", granted)] {
        store
            .put_target_group("test", &name_of(name), &spec, None)
            .await?;
    }
    fixture.upsert([source("web")]).await?;
    for (place, clusters, groups, bindings) in [
        ("alpha", vec!["alpha"], vec!["web"], 1),
        ("alpha/shop", vec!["alpha"], vec!["web"], 1),
        ("alpha/other", vec!["alpha"], vec!["web"], 0),
        ("beta", vec!["beta"], vec!["granted"], 0),
        ("beta/shop", vec!["beta"], vec!["granted"], 0),
        ("beta/other", vec!["beta"], vec![], 0),
        ("gamma", vec![], vec![], 0),
    ] {
        let scope = Scope(vec![place.parse()?]);
        let found = store.clusters(Some(&scope), None, 10).await?;
        let names: Vec<_> = found.iter().map(|state| state.cluster.name.to_string()).collect();
        assert_eq!(names, clusters, "{place}");
        let found = store.declared_groups(Some(&scope), None, 10).await?;
        let names: Vec<_> = found.iter().map(|group| group.name.to_string()).collect();
        assert_eq!(names, groups, "{place}");
        let filter = BindingFilter {
            scope: Some(scope),
            ..BindingFilter::default()
        };
        assert_eq!(
            store.bindings(&filter, None, 10).await?.len(),
            bindings,
            "{place}"
        );
    }
    Ok(())
}
