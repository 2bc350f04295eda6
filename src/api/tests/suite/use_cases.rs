//! Every use case is reached by REST and by `elbow`.

use std::{
    collections::BTreeSet,
    io::Cursor,
    sync::{Arc, Mutex},
};

use api::use_case;
use axum::{
    extract::{MatchedPath, Request},
    middleware::{Next, from_fn},
};
use clap::Parser;
use tokio::net::TcpListener;

use crate::support::{Api, document};

/// What a command that reads a manifest is given.
const MANIFESTS: &str = r#"
apiVersion: elbow.dev/v1
kind: TargetGroup
metadata: {name: web}
spec:
  arn: arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb
  clusters: [east]
---
apiVersion: elbow.dev/v1
kind: Binding
metadata: {cluster: east, namespace: shop, name: web}
spec:
  targetGroupArn: arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb
  service: web
  port: "80"
---
apiVersion: elbow.dev/v1
kind: Team
metadata: {name: shop}
spec: {scope: [east/shop]}
---
apiVersion: elbow.dev/v1
kind: Account
metadata: {name: "210987654321"}
spec:
  role: {arn: "arn:aws:iam::210987654321:role/elbow", externalId: of-shop}
"#;

/// `GET /v1/clusters/{cluster}` → `getCluster`.
fn operation(method: &str, template: &str) -> Option<String> {
    let document = document();
    let operation = &document["paths"][template][method.to_lowercase()]["operationId"];
    operation.as_str().map(str::to_owned)
}

#[test]
fn the_table_and_the_routes_have_the_same_operations() {
    let document = document();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let routes: BTreeSet<_> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
    let table: BTreeSet<_> = use_case::ALL.iter().map(|it| it.operation).collect();
    assert_eq!(table.len(), use_case::ALL.len(), "a row stands twice");
    assert_eq!(table, routes, "`api::use_case::ALL` and the routes differ");
}

#[tokio::test]
async fn each_use_case_is_reached_by_its_command() -> anyhow::Result<()> {
    let api = Api::start().await?;
    let reached = Arc::new(Mutex::new(Vec::new()));
    let record = {
        let reached = reached.clone();
        from_fn(move |request: Request, next: Next| {
            let template = request.extensions().get::<MatchedPath>().cloned();
            let method = request.method().clone();
            let reached = reached.clone();
            async move {
                let response = next.run(request).await;
                let called = template.and_then(|template| operation(method.as_str(), template.as_str()));
                reached.lock().unwrap().push((called, response.status().as_u16()));
                response
            }
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = api.router().layer(record);
    let server = axum::serve(listener, router).into_future();
    let commands = async {
        for case in use_case::ALL {
            let words = case.command.split(' ');
            let arguments = ["elbow", "--url", &url, "--token", &api.admin]
                .into_iter()
                .chain(words);
            let cli = ctl::Cli::try_parse_from(arguments).unwrap();
            let now = "2026-11-25T12:00:00Z".parse().unwrap();
            let mut console = ctl::Console::new(Vec::new(), Cursor::new(MANIFESTS), now);
            reached.lock().unwrap().clear();
            let done = ctl::run(cli, &mut console).await;
            let reached = reached.lock().unwrap().clone();
            // What the fixture does not have is answered 404 by the operation itself.
            let hit = reached
                .iter()
                .find(|(called, _)| called.as_deref() == Some(case.operation));
            let Some((_, status)) = hit else {
                panic!(
                    "`elbow {}` does not come to {}: {reached:?}, {done:?}",
                    case.command, case.operation
                )
            };
            assert!(
                matches!(status, 200..300 | 404),
                "`elbow {}`: {status}, {done:?}",
                case.command
            );
            assert_eq!(done.is_ok(), *status != 404, "`elbow {}`: {done:?}", case.command);
        }
    };
    tokio::select! {
        () = commands => Ok(()),
        served = server => Ok(served?),
    }
}
