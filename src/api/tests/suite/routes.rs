//! The routes as the OpenAPI document has them: what each makes of what it cannot read, and of names that are no names.

use crate::support::{ARN, Answer, Api, document};
use anyhow::Context;
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

/// An operation of the document, with its path parameters filled in.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) has_body: bool,
    /// Its path parameters and required ones of the query, with their values.
    pub(crate) names: Vec<(String, String)>,
    /// All parameters of its query.
    pub(crate) query: Vec<String>,
}

pub(crate) fn operations(fill: impl Fn(&str) -> String) -> Vec<Operation> {
    let document = document();
    let mut operations = Vec::new();
    for (template, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let (mut path, mut query, mut names) = (template.clone(), Vec::new(), Vec::new());
            let mut pairs = Vec::new();
            for parameter in parameters {
                let name = parameter["name"].as_str().unwrap();
                let required = parameter["required"] == true;
                let value = match (id.as_str(), name) {
                    ("explain", "subject") => "binding/one/shop/web".to_owned(),
                    (_, "subject") => "installation".to_owned(),
                    _ => fill(name),
                };
                match parameter["in"].as_str().unwrap() {
                    "path" => path = path.replace(&format!("{{{name}}}"), &value),
                    "query" => {
                        query.push(name.to_owned());
                        pairs.extend(required.then(|| format!("{name}={value}")));
                    }
                    _ => {}
                }
                names.extend(required.then(|| (name.to_owned(), value)));
            }
            // A stream that ends.
            pairs.extend((id == "followEvents").then(|| "follow=false".to_owned()));
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: [path, pairs.join("&")]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("?"),
                has_body: operation.get("requestBody").is_some(),
                id,
                names,
                query,
            });
        }
    }
    assert!(operations.len() > 15, "{}", operations.len());
    operations
}

fn plausible(parameter: &str) -> String {
    match parameter {
        "plan" | "hold" | "token" => uuid::Uuid::from_u128(7).to_string(),
        "partition" => "aws".to_owned(),
        "account" => "123456789012".to_owned(),
        "region" => "eu-central-1".to_owned(),
        "securityGroup" => "sg-0123456789abcdef0".to_owned(),
        _ => "nothing-here".to_owned(),
    }
}

#[tokio::test]
async fn what_is_no_route_is_answered_as_a_problem() -> anyhow::Result<()> {
    let api = Api::start().await?;
    for (method, path, status, kind) in [
        ("GET", "/", 404, "/problems/no-such-route"),
        ("GET", "/v1/nothing", 404, "/problems/no-such-route"),
        ("PATCH", "/v1/clusters/a", 405, "/problems/method-not-allowed"),
        ("GET", "/v1/clusters/%ff", 400, "/problems/malformed"),
        ("GET", "/v1/clusters/UPPER", 422, "/problems/invalid"),
        ("GET", "/v1/clusters?limit=many", 400, "/problems/malformed"),
        ("GET", "/v1/clusters?limt=1", 400, "/problems/malformed"),
        ("GET", "/v1/clusters?cursor=%00", 422, "/problems/invalid"),
        ("DELETE", "/v1/clusters/a?dryrun=true", 400, "/problems/malformed"),
        (
            "GET",
            "/v1/clusters/a/bindings/x/y?wait=1h",
            422,
            "/problems/invalid",
        ),
        ("GET", "/v1/plans/no-uuid", 422, "/problems/invalid"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", api.bearer());
        let answer = api.send(request.body(Body::empty())?).await?;
        assert_eq!(
            (answer.status.as_u16(), answer.kind()),
            (status, kind),
            "{method} {path}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_answered_with_the_field() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let spec =
        json!({"account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "mode": "full"});
    let with = |field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        json!({ "spec": spec }).to_string()
    };
    let mut without_mode = spec.clone();
    without_mode.as_object_mut().unwrap().remove("mode");
    let json = "application/json";
    for (kind, body, status, field) in [
        (json, "{".to_owned(), 400, None),
        (json, "[1,".to_owned(), 400, None),
        (json, String::new(), 400, None),
        (json, format!("{} x", json!({ "spec": spec })), 400, None),
        (json, "[".repeat(100_000), 400, None),
        (json, "null".to_owned(), 422, None),
        (json, with("account", json!("12")), 422, Some("spec.account")),
        (
            json,
            with("account", json!("1234567890\u{0}2")),
            422,
            Some("spec.account"),
        ),
        (json, with("mode", json!("fast")), 422, Some("spec.mode")),
        (json, with("mode", Value::Null), 422, Some("spec.mode")),
        (json, with("moode", json!("full")), 422, Some("spec.moode")),
        (
            json,
            json!({ "spec": without_mode }).to_string(),
            422,
            Some("spec"),
        ),
        ("text/plain", json!({ "spec": spec }).to_string(), 415, None),
        (
            json,
            with("region", json!("x".repeat(2 * 1024 * 1024))),
            413,
            None,
        ),
    ] {
        let answer = api
            .call("PUT", "/v1/clusters/a", &[("content-type", kind)], body.clone())
            .await?;
        let shown: String = body.chars().take(100).collect();
        assert_eq!(answer.status.as_u16(), status, "{shown}: {answer:?}");
        assert_eq!(answer.body["field"].as_str(), field, "{shown}: {answer:?}");
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        Just("\u{0}".to_owned()),
        Just("'; drop table clusters; --".to_owned()),
        Just("123456789012".to_owned()),
        Just("eu-central-1".to_owned()),
        Just("vpc-0a1b2c3d".to_owned()),
        Just("full".to_owned()),
        Just(ARN.to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("spec".to_owned()),
        Just("account".to_owned()),
        Just("region".to_owned()),
        Just("vpcId".to_owned()),
        Just("mode".to_owned()),
        Just("arn".to_owned()),
        Just("clusters".to_owned()),
        Just("targetGroup".to_owned()),
        Just("targetGroupArn".to_owned()),
        Just("service".to_owned()),
        Just("port".to_owned()),
        any::<String>(),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[tokio::test]
async fn no_body_and_no_path_ends_in_an_error_of_the_server() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let mut runner = TestRunner::new(Config::default());
    let hostile = [
        "a",
        "a%00b",
        "%2e%2e",
        "%f0%9f%92%a9",
        "'%20or%201=1",
        "%e2%80%ae",
        "A",
        "-",
        "%25",
        "a%2fb",
    ];
    let mut bodies = 0;
    for round in 0..30 {
        let place = |parameter: &str| match round % 3 {
            0 => plausible(parameter),
            _ => hostile[(round + parameter.len()) % hostile.len()].to_owned(),
        };
        for operation in operations(place) {
            let body = if operation.has_body {
                any_json()
                    .new_tree(&mut runner)
                    .map_err(anyhow::Error::msg)?
                    .current()
                    .to_string()
            } else {
                String::new()
            };
            bodies += usize::from(operation.has_body);
            let headers = [("content-type", "application/json")];
            let answer = api
                .call(operation.method.as_str(), &operation.path, &headers, body.clone())
                .await?;
            assert!(
                !answer.status.is_server_error(),
                "{} {} {body}: {answer:?}",
                operation.id,
                operation.path
            );
            answer.is_problem_or_success()?;
        }
    }
    println!("{bodies} bodies");
    Ok(())
}

#[test]
fn the_committed_document_is_the_one_of_the_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == api::rest::openapi::document(),
        "clients/openapi.json is not what the routes say: run `cargo xtask gen`"
    );
}

#[tokio::test]
async fn the_document_is_served_as_it_is_committed() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let Answer { status, body, .. } = api.call("GET", "/v1/openapi.json", &[], String::new()).await?;
    assert_eq!(status, 200);
    assert_eq!(body, document());
    Ok(())
}

/// Cluster `one`, which may use target group `web`, with a binding in its namespace `shop`.
pub(crate) async fn seed() -> anyhow::Result<Api> {
    let api = Api::start().await?;
    fill(&api).await?;
    Ok(api)
}

/// As [`seed`], where the API is there already.
pub(crate) async fn fill(api: &Api) -> anyhow::Result<()> {
    let group = json!({ "spec": { "arn": ARN, "clusters": ["one"] } });
    let binding = json!({ "spec": { "targetGroupArn": ARN, "service": "web", "port": "80" } });
    for (path, body) in [
        ("/v1/target-groups/web", group),
        ("/v1/clusters/one/bindings/shop/web", binding),
    ] {
        let json = [("content-type", "application/json")];
        let answer = api.call("PUT", path, &json, body.to_string()).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    Ok(())
}

pub(crate) async fn scoped(api: &Api, role: &str, place: &str) -> anyhow::Result<String> {
    let token = api
        .issue(json!({ "name": "scoped", "role": role, "scope": [place] }))
        .await?;
    Ok(token["token"].as_str().context("a token")?.to_owned())
}

pub(crate) fn seeded_names(parameter: &str) -> String {
    match parameter {
        "cluster" => "one".to_owned(),
        "namespace" => "shop".to_owned(),
        "targetGroup" | "name" => "web".to_owned(),
        other => plausible(other),
    }
}

#[tokio::test]
async fn an_editor_declares_bindings_in_the_namespaces_of_its_scope_and_nothing_else() -> anyhow::Result<()> {
    let api = seed().await?;
    let token = scoped(&api, "editor", "one/shop").await?;
    let body = json!({ "spec": { "targetGroupArn": ARN, "service": "web", "port": "http" } }).to_string();
    let put = async |path: &str| -> anyhow::Result<StatusCode> {
        let request = Request::builder()
            .method("PUT")
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        Ok(api.send(request.body(Body::from(body.clone()))?).await?.status)
    };
    assert_eq!(put("/v1/clusters/one/bindings/shop/other").await?, 201);
    assert_eq!(put("/v1/clusters/one/bindings/elsewhere/web").await?, 403);
    // Whether the cluster exists is not told.
    assert_eq!(put("/v1/clusters/nothing-here/bindings/shop/web").await?, 403);
    assert_eq!(put("/v1/target-groups/web").await?, 422);
    let group = json!({ "spec": { "arn": ARN, "clusters": ["one"] } }).to_string();
    let request = Request::builder()
        .method("PUT")
        .uri("/v1/target-groups/mine")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    assert_eq!(api.send(request.body(Body::from(group))?).await?.status, 403);
    Ok(())
}
