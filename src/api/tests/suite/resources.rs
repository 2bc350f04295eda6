//! The life of resources over REST.

use crate::support::{ARN, Answer, Api};
use axum::http::header;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn put(api: &Api, path: &str, spec: Value) -> anyhow::Result<Answer> {
    api.call("PUT", path, &[JSON], json!({ "spec": spec }).to_string())
        .await
}

fn cluster(mode: &str) -> Value {
    json!({"account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "mode": mode})
}

#[tokio::test]
async fn a_put_creates_once_then_updates_and_an_old_version_is_refused() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let created = put(&api, "/v1/clusters/two", cluster("full")).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert!(created.body["agentToken"].as_str().unwrap().starts_with("elbow_"));
    assert_eq!(created.headers[header::ETAG], "\"1\"");
    let same = put(&api, "/v1/clusters/two", cluster("full")).await?;
    assert_eq!(
        (same.status.as_u16(), same.body["version"].as_i64()),
        (200, Some(1))
    );
    assert_eq!(same.body.get("agentToken"), None, "shown once");
    let changed = put(&api, "/v1/clusters/two", cluster("observe")).await?;
    assert_eq!(changed.headers[header::ETAG], "\"2\"");
    let body = json!({ "spec": cluster("full") }).to_string();
    let stale = api
        .call(
            "PUT",
            "/v1/clusters/two",
            &[JSON, ("if-match", "\"1\"")],
            body.clone(),
        )
        .await?;
    assert_eq!(
        (stale.status.as_u16(), stale.kind()),
        (412, "/problems/version-mismatch")
    );
    let fresh = api
        .call(
            "PUT",
            "/v1/clusters/two",
            &[JSON, ("if-match", "\"2\"")],
            body.clone(),
        )
        .await?;
    assert_eq!(fresh.status, 200);
    let odd = api
        .call("PUT", "/v1/clusters/two", &[JSON, ("if-match", "3")], body)
        .await?;
    assert_eq!(
        (odd.status.as_u16(), odd.body["field"].as_str()),
        (400, Some("If-Match"))
    );
    Ok(())
}

#[tokio::test]
async fn a_binding_goes_from_its_declaration_to_its_deletion() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let path = "/v1/clusters/one/bindings/default/web";
    let spec = json!({"targetGroupArn": ARN, "service": "web", "port": "http"});
    let early = put(&api, path, spec.clone()).await?;
    assert_eq!(
        (early.status.as_u16(), early.body["field"].as_str()),
        (422, Some("spec.targetGroupArn"))
    );
    let group = put(
        &api,
        "/v1/target-groups/web",
        json!({"arn": ARN, "clusters": ["one"]}),
    )
    .await?;
    assert_eq!(
        (group.status.as_u16(), group.body["status"]["observed"].as_str()),
        (201, Some("unknown"))
    );
    let created = put(&api, path, spec.clone()).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.body["spec"], spec);
    assert_eq!(created.body["origin"], "api");
    let got = api
        .call("GET", &format!("{path}?wait=1s"), &[], String::new())
        .await?;
    assert_eq!(got.body["status"]["ready"]["status"], "Unknown", "{got:?}");
    let plan = api
        .call(
            "POST",
            "/v1/plans",
            &[JSON],
            json!({"targetGroup": "web"}).to_string(),
        )
        .await?;
    assert_eq!(plan.status, 200, "{plan:?}");
    assert_eq!(
        plan.body["plans"][0]["steps"],
        json!([]),
        "nothing is known, so nothing is done"
    );
    let used = api
        .call("DELETE", "/v1/target-groups/web", &[], String::new())
        .await?;
    assert_eq!((used.status.as_u16(), used.kind()), (409, "/problems/conflict"));
    let deleted = api.call("DELETE", path, &[], String::new()).await?;
    assert_eq!(deleted.status, 200);
    let listed = api
        .call("GET", "/v1/bindings?cluster=one", &[], String::new())
        .await?;
    assert_eq!(listed.body["items"][0]["status"]["lifecycle"], "deleted");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_writes_nothing() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let would_be = put(&api, "/v1/clusters/two?dryRun=true", cluster("full")).await?;
    assert_eq!(would_be.status, 201);
    assert_eq!(would_be.body["metadata"].get("createdAt"), None);
    let got = api.call("GET", "/v1/clusters/two", &[], String::new()).await?;
    assert_eq!((got.status.as_u16(), got.kind()), (404, "/problems/not-found"));
    Ok(())
}

#[tokio::test]
async fn a_list_says_where_it_goes_on() -> anyhow::Result<()> {
    let api = Api::start().await?;
    put(&api, "/v1/clusters/two", cluster("full")).await?;
    let first = api
        .call("GET", "/v1/clusters?limit=1", &[], String::new())
        .await?;
    let next = first.body["next"].as_str().unwrap();
    let second = api
        .call(
            "GET",
            &format!("/v1/clusters?limit=1&cursor={next}"),
            &[],
            String::new(),
        )
        .await?;
    assert_eq!(second.body["items"][0]["name"], "two");
    assert_eq!(second.body.get("next"), None);
    Ok(())
}
