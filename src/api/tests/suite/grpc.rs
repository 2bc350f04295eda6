//! `elbow.v1` over a real socket: the same operations, fields and refusals as REST.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use api::use_case;
use prost_types::DescriptorProto;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use wire::v1::{
    self, ClusterSpec, DeleteClusterRequest, DeleteTargetGroupRequest, ExplainRequest, FollowEventsRequest,
    GetClusterRequest, ListRequest, PauseRequest, PutClusterRequest, PutTargetGroupRequest, ResumeRequest,
    cluster_service_client::ClusterServiceClient, insight_service_client::InsightServiceClient,
    operation_service_client::OperationServiceClient, target_group_service_client::TargetGroupServiceClient,
};

use crate::{agents::Service, raw::package, support::document};

#[test]
fn the_table_and_the_services_have_the_same_operations() {
    let package = package();
    let methods: BTreeSet<_> = package
        .service
        .iter()
        .flat_map(|service| {
            let methods = service.method.iter();
            methods.map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect();
    let table: BTreeSet<_> = use_case::ALL.iter().map(|case| case.rpc.to_owned()).collect();
    assert_eq!(table.len(), use_case::ALL.len(), "a method stands twice");
    assert_eq!(table, methods, "`api::use_case::ALL` and proto/elbow/v1 differ");
}

/// The fields of a message as JSON names them.
fn fields(message: &DescriptorProto) -> BTreeSet<String> {
    message
        .field
        .iter()
        .map(|field| field.json_name().to_owned())
        .collect()
}

#[test]
fn a_resource_has_the_same_fields_in_both_transports() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let package = package();
    let messages: BTreeMap<_, _> = package
        .message_type
        .iter()
        .map(|it| (it.name(), fields(it)))
        .collect();
    let mut compared = 0;
    for (name, schema) in schemas {
        let lists_and_bodies = ["List_", "Put", "Post", "PreviewPlan", "Manifests", "Problem"];
        if schema["type"] != "object" || lists_and_bodies.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let rest: BTreeSet<_> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let message = messages.get(name.as_str());
        assert_eq!(message, Some(&rest), "{name}: proto/elbow/v1 and REST differ");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

struct Caller {
    channel: Channel,
    token: String,
}

impl Caller {
    async fn new(service: &Service, token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(service.url.clone())?.connect().await?;
        Ok(Self {
            channel,
            token: token.to_owned(),
        })
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let bearer = MetadataValue::try_from(format!("Bearer {}", self.token)).unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    fn clusters(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    async fn put(&self, name: &str, mode: &str, expected: Option<i64>) -> Result<v1::Cluster, Status> {
        let spec = ClusterSpec {
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            vpc_id: "vpc-0a1b2c3d".to_owned(),
            mode: mode.to_owned(),
            ..ClusterSpec::default()
        };
        let put = PutClusterRequest {
            name: name.to_owned(),
            spec: Some(spec),
            expected_version: expected,
            dry_run: false,
        };
        Ok(self.clusters().put_cluster(self.request(put)).await?.into_inner())
    }
}

#[tokio::test]
async fn a_cluster_is_registered_changed_read_listed_and_deleted() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let caller = Caller::new(&service, &service.api.admin).await?;
    let created = caller.put("east", "observe", None).await?;
    assert!(created.agent_token().starts_with("elbow_"), "{created:?}");
    assert_eq!(created.version, 1);
    let changed = caller.put("east", "full", Some(1)).await?;
    assert_eq!((changed.version, changed.agent_token), (2, None));
    let stale = caller.put("east", "add-only", Some(1)).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted, "{stale}");
    let name = "east".to_owned();
    let read = caller
        .clusters()
        .get_cluster(caller.request(GetClusterRequest { name: name.clone() }))
        .await?;
    let read = read.into_inner();
    assert_eq!(read.spec.as_ref().map(|spec| spec.mode.as_str()), Some("full"));
    assert!(read.metadata.context("metadata")?.created_at.is_some());
    let page = ListRequest {
        cursor: String::new(),
        limit: 1,
    };
    let listed = caller
        .clusters()
        .list_clusters(caller.request(page))
        .await?
        .into_inner();
    assert_eq!((listed.items.len(), listed.next.as_deref()), (1, Some("east")));
    let delete = DeleteClusterRequest {
        name,
        expected_version: None,
        dry_run: false,
        targets: String::new(),
    };
    caller.clusters().delete_cluster(caller.request(delete)).await?;
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_managed_target_group_is_declared_changed_and_ended() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let caller = Caller::new(&service, &service.api.admin).await?;
    let mut client = TargetGroupServiceClient::new(caller.channel.clone());
    let mut request = PutTargetGroupRequest {
        name: "web".to_owned(),
        spec: Some(v1::TargetGroupSpec {
            clusters: vec!["one".to_owned()],
            managed: Some(v1::ManagedTargetGroup {
                account: "123456789012".to_owned(),
                region: "eu-central-1".to_owned(),
                vpc_id: "vpc-0a1b2c3d".to_owned(),
                name: "web".to_owned(),
                target_type: "ip".to_owned(),
                protocol: "TCP".to_owned(),
                port: 80,
                tags: [("empty".to_owned(), String::new())].into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let created = client
        .put_target_group(caller.request(request.clone()))
        .await?
        .into_inner();
    let managed = |group: &v1::TargetGroup| {
        group
            .spec
            .clone()
            .and_then(|spec| spec.managed)
            .context("managed")
    };
    let told = managed(&created)?;
    assert_eq!(told.deletion_protection, Some(true));
    assert_eq!(told.tags.get("empty").map(String::as_str), Some(""));
    let status = created
        .status
        .clone()
        .and_then(|status| status.managed)
        .context("a status")?;
    assert_eq!(
        status.ready.map(|ready| ready.reason).as_deref(),
        Some("AwaitingAws")
    );

    // What was read can be put again, with a change.
    request.spec = created.spec;
    let to_change = request
        .spec
        .as_mut()
        .and_then(|spec| spec.managed.as_mut())
        .context("managed")?;
    to_change.deletion_protection = Some(false);
    to_change
        .attributes
        .get_or_insert_default()
        .deregistration_delay_seconds = Some(0);
    let changed = client
        .put_target_group(caller.request(request.clone()))
        .await?
        .into_inner();
    assert_eq!(changed.version, 2);
    let told = managed(&changed)?;
    assert_eq!(told.deletion_protection, Some(false));
    assert_eq!(
        told.attributes
            .and_then(|attributes| attributes.deregistration_delay_seconds),
        Some(0)
    );
    let mut end = DeleteTargetGroupRequest {
        name: "web".to_owned(),
        ..Default::default()
    };
    let unsaid = client
        .delete_target_group(caller.request(end.clone()))
        .await
        .unwrap_err();
    assert_eq!(unsaid.metadata().get("elbow-field").unwrap(), "inAws");
    end.in_aws = "delete".to_owned();
    client.delete_target_group(caller.request(end)).await?;
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_refusal_has_the_code_of_the_one_table_and_names_the_field() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let admin = Caller::new(&service, &service.api.admin).await?;
    let viewer = Caller::new(&service, &service.api.viewer).await?;
    let agent = Caller::new(&service, &service.api.agent).await?;
    let nobody = Caller::new(&service, "nonsense").await?;
    let invalid = admin.put("east", "fast", None).await.unwrap_err();
    assert_eq!(invalid.code(), Code::InvalidArgument, "{invalid}");
    assert_eq!(invalid.metadata().get("elbow-field").unwrap(), "spec.mode");
    assert_eq!(
        invalid.metadata().get("elbow-problem").unwrap(),
        "/problems/invalid"
    );
    for (caller, code) in [
        (&viewer, Code::PermissionDenied),
        (&agent, Code::PermissionDenied),
        (&nobody, Code::Unauthenticated),
    ] {
        let refused = caller.put("east", "full", None).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        let follow = FollowEventsRequest {
            after: String::new(),
            no_follow: true,
        };
        let followed = InsightServiceClient::new(caller.channel.clone())
            .follow_events(caller.request(follow))
            .await;
        assert_eq!(
            followed.err().map(|status| status.code()),
            (code != Code::PermissionDenied || caller.token == service.api.agent).then_some(code)
        );
    }
    for (name, code) in [
        ("nothing-here", Code::NotFound),
        ("", Code::InvalidArgument),
        ("../shards", Code::InvalidArgument),
    ] {
        let request = admin.request(GetClusterRequest {
            name: name.to_owned(),
        });
        let refused = admin.clusters().get_cluster(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}: {refused}");
    }
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn pauses_events_and_explanations_are_told_over_grpc() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let caller = Caller::new(&service, &service.api.admin).await?;
    let mut operation = OperationServiceClient::new(caller.channel.clone());
    let mut insight = InsightServiceClient::new(caller.channel.clone());
    let pause = PauseRequest {
        subject: "cluster/one".to_owned(),
        reason: "maintenance".to_owned(),
        dry_run: false,
    };
    let pauses = operation.pause(caller.request(pause)).await?.into_inner().items;
    assert_eq!(pauses.len(), 1);
    assert_eq!(
        (pauses[0].subject.as_str(), pauses[0].paused_by.as_str()),
        ("cluster/one", "admin")
    );
    let resume = ResumeRequest {
        subject: "cluster/one".to_owned(),
        dry_run: false,
    };
    assert!(
        operation
            .resume(caller.request(resume))
            .await?
            .into_inner()
            .items
            .is_empty()
    );
    let follow = FollowEventsRequest {
        after: "0-0".to_owned(),
        no_follow: false,
    };
    let mut events = insight.follow_events(caller.request(follow)).await?.into_inner();
    let mut missing = BTreeSet::from(["cluster.put", "pause.set", "pause.end"]);
    // Told once nothing that began before them is under way, in other tests' databases either.
    let told = tokio::time::timeout(std::time::Duration::from_mins(1), async {
        while !missing.is_empty() {
            let Some(told) = events.message().await? else {
                break;
            };
            let change = told.event.map(|event| event.change);
            missing.remove(change.as_deref().unwrap_or_default());
        }
        anyhow::Ok(())
    });
    told.await??;
    assert_eq!(missing, BTreeSet::new());
    let explain = ExplainRequest {
        subject: "10.0.0.1".to_owned(),
        cluster: String::new(),
    };
    assert!(
        insight
            .explain(caller.request(explain))
            .await?
            .into_inner()
            .items
            .is_empty()
    );
    service.stop().await;
    Ok(())
}
