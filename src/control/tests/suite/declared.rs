//! What people and portals declare: versions, dry runs, problems.

use crate::support::{ARN, Fixture, WRITE, arn, cluster_spec, name};
use control::{
    Error, Expected, Kind, Page, Token, TokenSpec, Write,
    bindings::{ApiSpec, BindingName, GroupRef},
    target_groups::GroupSpec,
};
use model::{cluster::Mode, fact::ObjectName, target_group::TargetGroupSpec};

const DRY: Write = Write {
    expected: Expected::Anything,
    dry_run: true,
};

fn binding(object: &str) -> BindingName {
    BindingName {
        cluster: name("one"),
        object: ObjectName::new("default", object),
    }
}

fn spec(service: &str) -> ApiSpec {
    ApiSpec {
        target_group: GroupRef::Arn(arn(ARN)),
        service: service.to_owned(),
        port: "80".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_new_cluster_comes_with_a_token_that_is_shown_once() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let put = async || {
        fixture
            .control
            .put_cluster(&fixture.admin, name("one"), cluster_spec(), WRITE)
            .await
    };
    let (written, token) = put().await?;
    assert!(written.created && token.unwrap().expose().starts_with("elbow_"));
    let (written, token) = put().await?;
    assert!(!written.created && token.is_none());
    assert_eq!(written.value.cluster.version, 1, "nothing changed");
    Ok(())
}

#[tokio::test]
async fn a_write_is_refused_when_the_version_is_not_the_one_that_was_seen() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    let mut changed = cluster_spec();
    changed.mode = Mode::Observe;
    let put = async |expected| {
        let write = Write {
            expected,
            dry_run: false,
        };
        fixture
            .control
            .put_cluster(&fixture.admin, name("one"), changed.clone(), write)
            .await
    };
    assert_eq!(
        put(Expected::Version(7)).await.unwrap_err().kind(),
        Kind::VersionMismatch
    );
    assert_eq!(put(Expected::Version(1)).await?.0.value.cluster.version, 2);
    let missing = fixture
        .control
        .put_cluster(
            &fixture.admin,
            name("two"),
            cluster_spec(),
            Write {
                expected: Expected::Something,
                dry_run: false,
            },
        )
        .await;
    assert!(matches!(missing, Err(Error::Absent)));
    Ok(())
}

#[tokio::test]
async fn a_dry_run_answers_what_would_be_and_changes_nothing() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let (written, token) = fixture
        .control
        .put_cluster(&fixture.admin, name("one"), cluster_spec(), DRY)
        .await?;
    assert!(written.created && token.is_none());
    let got = fixture.control.get_cluster(&fixture.admin, &name("one")).await;
    assert_eq!(got.unwrap_err().kind(), Kind::NotFound);
    fixture.cluster("one").await?;
    let group = TargetGroupSpec {
        arn: arn(ARN),
        clusters: vec![name("one")],
        grants: Vec::new(),
    };
    fixture
        .control
        .put_target_group(&fixture.admin, name("web"), GroupSpec::External(group), DRY)
        .await?;
    assert_eq!(
        fixture
            .control
            .get_target_group(&fixture.admin, &name("web"))
            .await
            .unwrap_err()
            .kind(),
        Kind::NotFound
    );
    fixture.declare("web", ARN, &["one"]).await?;
    assert!(
        fixture
            .control
            .put_binding(&fixture.admin, &binding("web"), spec("web"), DRY)
            .await?
            .created
    );
    assert!(fixture.bindings().await?.is_empty());
    fixture
        .control
        .delete_cluster(&fixture.admin, &name("one"), None, DRY)
        .await?;
    fixture.control.get_cluster(&fixture.admin, &name("one")).await?;
    Ok(())
}

#[tokio::test]
async fn a_viewer_reads_and_writes_nothing() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    fixture.control.get_cluster(&fixture.viewer, &name("one")).await?;
    let put = fixture
        .control
        .put_cluster(&fixture.viewer, name("two"), cluster_spec(), DRY)
        .await;
    assert_eq!(put.unwrap_err().kind(), Kind::Forbidden, "not even as a dry run");
    let issued = fixture
        .control
        .issue_agent_token(&fixture.viewer, &name("one"), None)
        .await;
    assert_eq!(issued.unwrap_err().kind(), Kind::Forbidden);
    Ok(())
}

#[tokio::test]
async fn a_target_group_is_of_the_account_and_region_of_its_clusters() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    for (arn, clusters) in [
        (ARN.replace("eu-central-1", "us-east-1"), vec!["one"]),
        (ARN.replace("123456789012", "210987654321"), vec!["one"]),
        (ARN.replace("arn:aws:", "arn:aws-cn:"), vec!["one"]),
        (ARN.to_owned(), vec!["nobody"]),
        (ARN.to_owned(), vec![]),
    ] {
        let error = fixture.declare("web", &arn, &clusters).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (Kind::Invalid, Some("spec.clusters")),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_binding_needs_a_declared_target_group_that_admits_its_cluster() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    fixture.cluster("two").await?;
    let put = async || {
        fixture
            .control
            .put_binding(&fixture.admin, &binding("web"), spec("web"), WRITE)
            .await
    };
    let error = put().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (Kind::Invalid, Some("spec.targetGroupArn")),
        "{error}"
    );
    fixture.declare("web", ARN, &["two"]).await?;
    let error = put().await.unwrap_err();
    assert!(error.to_string().contains("of cluster `one`"), "{error}");
    fixture.declare("web", ARN, &["one", "two"]).await?;
    assert!(put().await?.created);
    assert!(!put().await?.created);
    Ok(())
}

#[tokio::test]
async fn hostile_names_are_refused_before_the_database() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    fixture.declare("web", ARN, &["one"]).await?;
    for hostile in [
        "",
        "\0",
        "a\0",
        "A",
        "../x",
        "a b",
        "'; drop table bindings",
        &"a".repeat(300),
        "\u{202e}",
    ] {
        let put = async |binding: BindingName, spec: ApiSpec| {
            fixture
                .control
                .put_binding(&fixture.admin, &binding, spec, WRITE)
                .await
        };
        assert_eq!(
            put(binding(hostile), spec("web")).await.unwrap_err().kind(),
            Kind::Invalid,
            "{hostile:?}"
        );
        assert_eq!(
            put(binding("web"), spec(hostile)).await.unwrap_err().kind(),
            Kind::Invalid,
            "{hostile:?}"
        );
        let page = Page {
            cursor: Some(hostile.to_owned()),
            limit: 1,
        };
        let listed = fixture.control.list_bindings(&fixture.viewer, None, &page).await;
        assert_eq!(listed.unwrap_err().kind(), Kind::Invalid, "{hostile:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_no_item_is_missed() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    for cluster in ["a", "b", "c", "d", "e"] {
        fixture.cluster(cluster).await?;
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let listing = fixture
            .control
            .list_clusters(&fixture.viewer, &Page { cursor, limit: 2 })
            .await?;
        assert!(listing.items.len() <= 2);
        seen.extend(
            listing
                .items
                .into_iter()
                .map(|view| view.cluster.name.to_string()),
        );
        cursor = listing.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    Ok(())
}

#[tokio::test]
async fn every_write_is_in_the_audit_log_with_its_author() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    fixture.cluster("one").await?;
    fixture.declare("web", ARN, &["one"]).await?;
    fixture
        .control
        .put_binding(&fixture.admin, &binding("web"), spec("web"), WRITE)
        .await?;
    fixture
        .control
        .delete_binding(&fixture.admin, &binding("web"), WRITE)
        .await?;
    fixture
        .control
        .issue_agent_token(&fixture.admin, &name("one"), None)
        .await?;
    let log = fixture.store.audit(None, None, None, None, 100).await?;
    let by_admin: Vec<_> = log
        .iter()
        .rev()
        .filter(|entry| entry.actor == "Admin")
        .map(|it| it.action.as_str())
        .collect();
    assert_eq!(
        by_admin,
        [
            "cluster.put",
            "token.add",
            "targetGroup.put",
            "binding.put",
            "binding.delete",
            "token.add"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_known_already_is_not_written_again() -> anyhow::Result<()> {
    let fixture = Fixture::new().await?;
    let token = Token::generate();
    for _start in 0..3 {
        fixture
            .control
            .register_token(TokenSpec::admin("admin token file"), &token)
            .await?;
    }
    let log = fixture
        .store
        .audit(None, None, Some("admin token file"), None, 100)
        .await?;
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["token.add"]);
    Ok(())
}
