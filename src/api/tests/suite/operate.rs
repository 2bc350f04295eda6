//! What operators do: pauses, tokens, audit, events, explanations, previews of manifests.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{ARN, Api};

const LIMIT: Duration = Duration::from_mins(1);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const YAML: [(&str, &str); 1] = [("content-type", "application/yaml")];

async fn put(api: &Api, path: &str, body: Value) -> anyhow::Result<Value> {
    let answer = api.call("PUT", path, &JSON, body.to_string()).await?;
    assert!(answer.status.is_success(), "PUT {path}: {answer:?}");
    Ok(answer.body)
}

pub(crate) async fn get(api: &Api, path: &str) -> anyhow::Result<Value> {
    let answer = api.call("GET", path, &[], String::new()).await?;
    assert!(answer.status.is_success(), "GET {path}: {answer:?}");
    Ok(answer.body)
}

pub(crate) async fn declared() -> anyhow::Result<Api> {
    let api = Api::start().await?;
    put(
        &api,
        "/v1/target-groups/web",
        json!({"spec": {"arn": ARN, "clusters": ["one"]}}),
    )
    .await?;
    let spec = json!({"targetGroupArn": ARN, "service": "web", "port": "80"});
    put(
        &api,
        "/v1/clusters/one/bindings/shop/web",
        json!({ "spec": spec }),
    )
    .await?;
    Ok(api)
}

#[tokio::test]
async fn a_pause_says_who_and_why_and_is_told_on_the_binding() -> anyhow::Result<()> {
    let api = declared().await?;
    let shard = "shard/aws/123456789012/eu-central-1";
    for subject in ["installation", shard, "cluster/one", "binding/one/shop/web"] {
        let path = format!("/v1/pauses?subject={subject}");
        let dry = put(
            &api,
            &format!("{path}&dryRun=true"),
            json!({"reason": "maintenance"}),
        )
        .await?;
        assert_eq!(dry["items"], json!([]), "a dry run pauses nothing");
        put(&api, &path, json!({"reason": "maintenance"})).await?;
        // Again: nothing changes, and nothing stands twice.
        let pauses = put(&api, &path, json!({"reason": "maintenance"})).await?;
        assert_eq!(pauses["items"].as_array().unwrap().len(), 1);
        assert_eq!(pauses["items"][0]["subject"], *subject);
        assert_eq!(pauses["items"][0]["pausedBy"], "admin");
        let explained = get(&api, "/v1/explanations?subject=binding/one/shop/web").await?;
        let binding = &explained["items"][0]["bindings"][0];
        assert_eq!(
            (&binding["pausedBy"], &binding["pauseReason"]),
            (&json!("admin"), &json!("maintenance"))
        );
        assert_eq!(binding["ready"]["reason"], "Paused", "{explained}");
        let resumed = api.call("DELETE", &path, &[], String::new()).await?;
        assert_eq!(resumed.body["items"], json!([]));
    }
    let audit = get(&api, "/v1/audit?object=cluster/one").await?;
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["action"])
        .collect();
    assert_eq!(actions, ["pause.end", "pause.set"]);
    for wrong in [
        "nothing",
        "cluster/nothing-here",
        "shard/aws/123456789012/eu-west-1",
        "binding/one/shop/other",
    ] {
        let answer = api
            .call(
                "PUT",
                &format!("/v1/pauses?subject={wrong}"),
                &JSON,
                json!({"reason": "x"}).to_string(),
            )
            .await?;
        assert!(
            [404, 422].contains(&answer.status.as_u16()),
            "{wrong}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_token_is_replaced_with_an_overlap_and_ends() -> anyhow::Result<()> {
    let api = declared().await?;
    let issued = api
        .call(
            "POST",
            "/v1/tokens",
            &JSON,
            json!({"name": "portal", "role": "viewer", "expiresIn": "90d"}).to_string(),
        )
        .await?;
    assert_eq!(issued.status, 201);
    let token = control::Token::parse(issued.body["token"].as_str().unwrap()).unwrap();
    assert!(api.control.authenticate(&token).await.is_ok());
    let listed = get(&api, "/v1/tokens").await?;
    let portal = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "portal")
        .unwrap()
        .clone();
    assert!(portal["expiresAt"].is_string() && !listed.to_string().contains(token.expose()));
    let path = format!("/v1/tokens/{}", portal["id"].as_str().unwrap());
    assert_eq!(
        api.call("DELETE", &format!("{path}?overlap=1h"), &[], String::new())
            .await?
            .status,
        204
    );
    assert!(
        api.control.authenticate(&token).await.is_ok(),
        "within the overlap"
    );
    assert_eq!(api.call("DELETE", &path, &[], String::new()).await?.status, 204);
    assert!(api.control.authenticate(&token).await.is_err(), "it has ended");

    let agent = control::Token::parse(&api.agent).unwrap();
    let rotate = async |overlap: &str| {
        api.call(
            "POST",
            &format!("/v1/clusters/one/token{overlap}"),
            &[],
            String::new(),
        )
        .await
    };
    rotate("").await?;
    rotate("?overlap=1h").await?;
    assert!(
        api.control.authenticate(&agent).await.is_ok(),
        "within the overlap"
    );
    let last = rotate("?overlap=0s").await?;
    assert!(
        api.control.authenticate(&agent).await.is_err(),
        "the former tokens have ended"
    );
    let last = control::Token::parse(last.body["token"].as_str().unwrap()).unwrap();
    assert!(api.control.authenticate(&last).await.is_ok());
    assert_eq!(rotate("?overlap=soon").await?.status, 422);
    Ok(())
}

#[tokio::test]
async fn the_first_start_makes_one_admin_and_no_second() -> anyhow::Result<()> {
    let api = Api::empty().await?;
    let first = api.bootstrap().await?.unwrap();
    assert!(api.bootstrap().await?.is_none());
    let principal = api.authenticate(&first).await?;
    assert_eq!(
        (principal.name.as_str(), principal.role),
        ("bootstrap", control::Role::Admin)
    );
    Ok(())
}

#[tokio::test]
async fn manifests_are_planned_as_they_are_and_nothing_is_stored() -> anyhow::Result<()> {
    let api = declared().await?;
    let object = |name: &str, arn: &str, port: &str| {
        format!(
            "apiVersion: elbv2.k8s.aws/v1beta1\nkind: TargetGroupBinding\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  targetGroupARN: {arn}\n  serviceRef: {{name: web, port: {port}}}\n---\n"
        )
    };
    let elsewhere = ARN.replace("eu-central-1", "eu-west-1");
    let text = object("good", ARN, "80") + &object("elsewhere", &elsewhere, "80") + &object("bad", ARN, "[]");
    let answer = api
        .call("POST", "/v1/plans?cluster=one", &YAML, text.clone())
        .await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: Vec<_> = answer.body["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["ready"]["reason"].as_str().unwrap())
        .collect();
    // The cluster has a binding to the group already, which came earlier.
    assert_eq!(
        told,
        ["TargetGroupNotShared", "WrongShard", "Invalid"],
        "{answer:?}"
    );
    assert_eq!(answer.body["plans"].as_array().unwrap().len(), 1);
    assert_eq!(
        get(&api, "/v1/bindings").await?["items"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "nothing was stored"
    );
    for (path, headers, body, status) in [
        ("/v1/plans", &YAML, text.clone(), 422),
        ("/v1/plans?cluster=nothing-here", &YAML, text.clone(), 404),
        (
            "/v1/plans?cluster=one",
            &JSON,
            json!({"targetGroup": "web"}).to_string(),
            422,
        ),
        ("/v1/plans?cluster=one", &YAML, "[".repeat(200_000), 400),
        ("/v1/plans?cluster=one", &YAML, "a: ".repeat(1000), 400),
        ("/v1/plans?cluster=one", &YAML, "# \n".repeat(2_000_000), 413),
        (
            "/v1/plans?cluster=one",
            &YAML,
            object("good", ARN, "80").replace("name: good", "name: ../good"),
            422,
        ),
    ] {
        let answer = api.call("POST", path, headers, body).await?;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.is_problem_or_success()?;
    }
    Ok(())
}

#[tokio::test]
async fn events_go_on_where_they_ended_and_tell_each_change_once() -> anyhow::Result<()> {
    let api = declared().await?;
    let viewer = api
        .control
        .authenticate(&control::Token::parse(&api.viewer).unwrap())
        .await?;
    let mut follower = api.control.follow(&viewer, Some("0-0")).await?;
    let mut ids = Vec::new();
    let mut changes = Vec::new();
    // An event waits for every transaction of the server that began before its own, those of other tests, too.
    timeout(LIMIT, async {
        while !changes.contains(&"binding.put".to_owned()) {
            for news in follower.next().await? {
                if let control::events::News::Event(event) = news {
                    ids.push(event.id);
                    changes.push(event.change);
                }
            }
        }
        anyhow::Ok(())
    })
    .await??;
    assert!(ids.is_sorted());
    let mut again = api.control.follow(&viewer, Some(&ids[0].to_string())).await?;
    let rest = again.ready().await?;
    assert_eq!(rest.len(), ids.len() - 1, "everything after the given one, once");
    let mut from_now = api.control.follow(&viewer, None).await?;
    assert!(from_now.ready().await?.is_empty());
    put(&api, "/v1/pauses?subject=installation", json!({"reason": "x"})).await?;
    let told = timeout(LIMIT, async {
        loop {
            match from_now.next().await? {
                quiet if matches!(&quiet[..], [control::events::News::Quiet]) => {}
                told => return anyhow::Ok(told),
            }
        }
    })
    .await??;
    assert!(
        matches!(&told[..], [control::events::News::Event(event)] if event.change == "pause.set"),
        "{told:?}"
    );
    let answer = api
        .call(
            "GET",
            "/v1/events?follow=false",
            &[("last-event-id", "nonsense")],
            String::new(),
        )
        .await?;
    assert_eq!(
        (answer.status.as_u16(), answer.body["field"].as_str()),
        (422, Some("Last-Event-ID"))
    );
    Ok(())
}
