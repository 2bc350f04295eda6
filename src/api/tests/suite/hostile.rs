//! S24: hostile input to REST, `elbow.v1` and the agents' stream. Nothing is an error of the server, nobody reads or
//! changes what is somebody else's, and whoever is honest is served afterwards.

use std::time::Duration;

use anyhow::{Context, ensure};
use api::use_case;
use axum::{
    body::Body,
    http::{Request, header},
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use prost::{Message as _, bytes::Bytes};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status};
use wire::agent::v1::{AgentMessage, Hello, ServerMessage, agent_message, server_message};

use crate::{
    agents::Service,
    raw::{self, Client},
    routes::{Operation, operations, scoped, seed, seeded_names},
    support::{ARN, Api},
};

const CONNECT: &str = "/elbow.agent.v1.AgentService/Connect";
const PATIENCE: Duration = Duration::from_secs(20);
const MEGABYTES_5: usize = 5 * 1024 * 1024;
/// Random messages per method.
const GARBAGE: usize = 25;

/// An error of the caller, as gRPC tells it; the others are of the server.
fn is_refusal(status: &Status) -> bool {
    let of_the_server = [
        Code::Internal,
        Code::Unknown,
        Code::Unavailable,
        Code::DataLoss,
        Code::DeadlineExceeded,
        // No route of REST for a method that there is.
        Code::Unimplemented,
    ];
    // Tonic's own word for what is no protobuf.
    let undecodable = status.code() == Code::Internal && status.message().contains("failed to decode");
    undecodable || !of_the_server.contains(&status.code())
}

/// A binding with a CIDR, in a manifest.
fn manifest(cidr: &str) -> String {
    let from = format!("[{{ipBlock: {{cidr: {cidr}}}}}]");
    format!(
        "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata: {{name: web, namespace: shop}}\nspec:\n  \
         targetGroupARN: {ARN}\n  serviceRef: {{name: web, port: 80}}\n  networking: {{ingress: [{{from: {from}, ports: [{{}}]}}]}}\n"
    )
}

#[tokio::test]
async fn hostile_bodies_are_refused_by_every_route_that_takes_one() -> anyhow::Result<()> {
    let api = seed().await?;
    let deep = |open: &str| open.repeat(200_000).into_bytes();
    let bomb = format!(
        "a: &a [{}]\nb: &b [{}]\nc: [{}]\n",
        "1,".repeat(99),
        "*a,".repeat(99),
        "*b,".repeat(99)
    );
    let mut told = 0;
    for operation in operations(seeded_names)
        .into_iter()
        .filter(|operation| operation.has_body)
    {
        for (media_type, body) in [
            ("application/json", vec![b' '; MEGABYTES_5]),
            ("application/json", vec![b'"'; MEGABYTES_5]),
            ("application/json", deep("[")),
            ("application/json", deep("{\"a\":")),
            ("application/json", b"{\"spec\":\"\xff\xfe\"}".to_vec()),
            ("application/json", b"\xef\xbb\xbf{}".to_vec()),
            ("application/yaml", vec![b'a'; MEGABYTES_5]),
            ("application/yaml", deep("[")),
            ("application/yaml", deep("- ")),
            ("application/yaml", deep("{a: ")),
            ("application/yaml", b"a: \xff\xfe\n".to_vec()),
            ("application/yaml", bomb.clone().into_bytes()),
            ("\u{e9}\u{0}", b"{}".to_vec()),
        ] {
            let Ok(media_type) = header::HeaderValue::from_bytes(media_type.as_bytes()) else {
                continue;
            };
            let request = Request::builder()
                .method(operation.method.clone())
                .uri(&operation.path)
                .header(header::AUTHORIZATION, api.bearer())
                .header(header::CONTENT_TYPE, media_type)
                .body(Body::from(body))?;
            let answer = timeout(PATIENCE, api.send(request))
                .await
                .context("no answer")??;
            answer.is_problem_or_success()?;
            ensure!(answer.status.is_client_error(), "{}: {answer:?}", operation.id);
            told += 1;
        }
    }
    println!("{told} hostile bodies");
    Ok(())
}

#[tokio::test]
async fn a_manifest_with_an_impossible_cidr_is_told_the_field() -> anyhow::Result<()> {
    let api = seed().await?;
    for cidr in [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "::1/64",
        "10.0.0.0",
        "\"\"",
        "0x0a.0.0.0/8",
        "\"10.0.0.0/8\\0\"",
    ] {
        let yaml = [("content-type", "application/yaml")];
        let answer = api
            .call("POST", "/v1/plans?cluster=one", &yaml, manifest(cidr))
            .await?;
        answer.is_problem_or_success()?;
        ensure!(!answer.status.is_server_error(), "{cidr}: {answer:?}");
        ensure!(answer.body.to_string().contains("cidr"), "{cidr}: {answer:?}");
    }
    let good = [("content-type", "application/yaml")];
    let answer = api
        .call("POST", "/v1/plans?cluster=one", &good, manifest("10.0.0.0/8"))
        .await?;
    ensure!(
        answer.status == 200 && !answer.body.to_string().contains("cidr"),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn no_bytes_make_a_method_of_people_fail_or_stop() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let client = Client::new(&service.url).await?;
    let package = raw::package();
    let mut runner = TestRunner::new(Config::default());
    let mut sent = 0;
    for case in use_case::ALL {
        let message = raw::request_of(&package, case.rpc);
        // A string that is no UTF-8, a length beyond the end, a group without one, a tag of no field, and noise.
        let mut hostile: Vec<Bytes> = [
            &b"\x0a\x02\xff\xfe"[..],
            b"\x0a\xff\xff\xff\xff\x0f",
            b"\x0b",
            b"\x00",
            b"\x0a\x7f",
        ]
        .map(Bytes::from_static)
        .into();
        let text = message
            .field
            .iter()
            .find(|field| field.r#type() == prost_types::field_descriptor_proto::Type::String);
        if let Some(field) = text {
            let value = json!({ field.json_name(): "a\u{0}\u{202e}/../%2e%2e".repeat(20_000) });
            hostile.push(raw::encode(&package, &message, &value));
        }
        for _ in 0..GARBAGE {
            let bytes = prop::collection::vec(any::<u8>(), 0..200);
            hostile.push(
                bytes
                    .new_tree(&mut runner)
                    .map_err(anyhow::Error::msg)?
                    .current()
                    .into(),
            );
        }
        for bytes in hostile {
            // An empty message that is taken is not hostile, and following has no end.
            let shown = format!("{}: {bytes:?}", case.rpc)
                .chars()
                .take(200)
                .collect::<String>();
            let call = client.call(case.rpc, Some(&service.api.viewer), bytes);
            match timeout(PATIENCE, call).await {
                Ok(Err(status)) => ensure!(is_refusal(&status), "{shown}: {status:?}"),
                Ok(Ok(_)) => {}
                Err(_) => ensure!(case.operation == "followEvents", "{shown}: no answer"),
            }
            sent += 1;
            if case.operation == "followEvents" {
                break;
            }
        }
        let large = Bytes::from(vec![0x0a; MEGABYTES_5]);
        let refused = client
            .call(case.rpc, Some(&service.api.admin), large)
            .await
            .unwrap_err();
        ensure!(is_refusal(&refused), "{}: {refused:?}", case.rpc);
    }
    println!("{sent} hostile messages");
    let list = client
        .call(
            "ClusterService/ListClusters",
            Some(&service.api.viewer),
            Bytes::new(),
        )
        .await;
    ensure!(
        list.is_ok_and(|clusters| !clusters.is_empty()),
        "whoever is honest is not served any more"
    );
    service.stop().await;
    Ok(())
}

fn hello(cluster: &str) -> Bytes {
    let hello = Hello {
        cluster: cluster.to_owned(),
        instance: "agent-0".to_owned(),
        protocol: 1,
        version: "0.1.0".to_owned(),
        last_epoch: 0,
        cluster_uid: "uid".to_owned(),
    };
    let message = AgentMessage {
        message: Some(agent_message::Message::Hello(hello)),
        ..AgentMessage::default()
    };
    message.encode_to_vec().into()
}

#[tokio::test]
async fn no_bytes_make_the_stream_of_agents_fail_or_stop() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let client = Client::new(&service.url).await?;
    let mut runner = TestRunner::new(Config::default());
    let mut hostile = vec![
        Bytes::from_static(b"\x0a\x02\xff\xfe"),
        Bytes::from_static(b"\x0a\xff\xff\xff\xff\x0f"),
        Bytes::from(vec![0x0a; wire::MAX_MESSAGE_BYTES + 1]),
        // A name that is no UTF-8, in a Hello.
        Bytes::from_static(b"\x0a\x04\x0a\x02\xff\xfe"),
    ];
    for _ in 0..GARBAGE * 4 {
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        hostile.push(
            bytes
                .new_tree(&mut runner)
                .map_err(anyhow::Error::msg)?
                .current()
                .into(),
        );
    }
    for bytes in hostile {
        let shown = format!("{bytes:?}").chars().take(200).collect::<String>();
        for messages in [vec![bytes.clone()], vec![hello("one"), bytes.clone()]] {
            let call = client.send(CONNECT, Some(&service.api.agent), messages);
            let heard = timeout(PATIENCE, call)
                .await
                .with_context(|| format!("{shown}: no answer"))?;
            if let Err(status) = heard {
                ensure!(is_refusal(&status), "{shown}: {status:?}");
            }
        }
    }
    let heard = client
        .send(CONNECT, Some(&service.api.agent), vec![hello("one")])
        .await?;
    let heard = ServerMessage::decode(heard)?.message;
    ensure!(
        matches!(heard, Some(server_message::Message::Welcome(_))),
        "{heard:?}"
    );
    service.stop().await;
    Ok(())
}

/// Every operation on what is cluster `one`'s, as far as it takes no body.
fn on_one() -> impl Iterator<Item = Operation> {
    operations(seeded_names)
        .into_iter()
        .filter(|operation| !operation.has_body)
}

#[tokio::test]
async fn tokens_that_are_wrong_ended_or_of_another_cluster_read_and_change_nothing() -> anyhow::Result<()> {
    let api = seed().await?;
    let path = "/v1/clusters/one/bindings/shop/web";
    let before = api.call("GET", path, &[], String::new()).await?;
    let ended = api.issue(json!({ "name": "ended", "role": "admin" })).await?;
    end(&api, &ended).await?;
    let ended = ended["token"].as_str().context("a token")?;
    let mut nearly = api.admin.clone();
    nearly.pop();
    let strangers = [
        "",
        "elbow_",
        &nearly,
        &format!("{}x", api.admin),
        &api.admin.to_uppercase(),
        &"elbow_".repeat(10_000),
        ended,
    ]
    .map(str::to_owned);
    for token in &strangers {
        for operation in on_one() {
            let answer = send(&api, &operation, token).await?;
            ensure!(
                answer.status == 401,
                "{} with {token:.60}: {answer:?}",
                operation.id
            );
        }
    }
    for role in ["viewer", "editor"] {
        let token = scoped(&api, role, "two").await?;
        for operation in on_one() {
            let answer = send(&api, &operation, &token).await?;
            ensure!(!answer.status.is_server_error(), "{}: {answer:?}", operation.id);
            let told = answer.body.to_string();
            ensure!(
                !told.contains(ARN) && !told.contains("\"shop\""),
                "{}: {told}",
                operation.id
            );
        }
    }
    let after = api.call("GET", path, &[], String::new()).await?;
    ensure!(before.body == after.body, "{before:?} {after:?}");
    Ok(())
}

async fn send(api: &Api, operation: &Operation, token: &str) -> anyhow::Result<crate::support::Answer> {
    let request = Request::builder()
        .method(operation.method.clone())
        .uri(&operation.path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = api.send(request.body(Body::empty())?).await?;
    answer
        .is_problem_or_success()
        .with_context(|| operation.id.clone())?;
    Ok(answer)
}

/// Ends a token, now.
async fn end(api: &Api, token: &Value) -> anyhow::Result<()> {
    let id = token["id"].as_str().context("an id")?;
    let ended = api
        .call("DELETE", &format!("/v1/tokens/{id}"), &[], String::new())
        .await?;
    ensure!(ended.status == 204, "{ended:?}");
    Ok(())
}
