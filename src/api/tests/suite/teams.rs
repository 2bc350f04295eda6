//! Teams, and the tokens that people make for people.

use std::time::Duration;

use anyhow::{Context, ensure};
use axum::{body::Body, http::Request};
use control::events::News;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, transport::Endpoint};
use tower::ServiceExt;
use wire::v1::{FollowEventsRequest, insight_service_client::InsightServiceClient};

use crate::{
    agents::Service,
    routes::{fill, scoped, seed},
    support::{ARN, Answer, Api},
};

const LIMIT: Duration = Duration::from_secs(20);

const BINDING: &str = "/v1/clusters/one/bindings/shop/web";

async fn get(api: &Api, token: &str, path: &str) -> anyhow::Result<Answer> {
    api.send_as(token, "GET", path, None).await
}

async fn put(api: &Api, path: &str, spec: Value) -> anyhow::Result<Answer> {
    let body = json!({ "spec": spec });
    let answer = api.send_as(&api.admin, "PUT", path, Some(&body)).await?;
    ensure!(answer.status.is_success(), "{path}: {answer:?}");
    Ok(answer)
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value[field]
        .as_str()
        .with_context(|| format!("no {field} in {value}"))
}

#[tokio::test]
async fn a_team_s_tokens_have_what_the_team_has_at_that_time() -> anyhow::Result<()> {
    let api = seed().await?;
    put(&api, "/v1/teams/shop", json!({ "scope": ["one/shop"] })).await?;
    let token = api
        .issue(json!({ "name": "portal", "role": "viewer", "team": "shop" }))
        .await?;
    let token = text(&token, "token")?;
    assert_eq!(get(&api, token, BINDING).await?.status, 200);
    // It is told as a scope, which servers that know nothing of teams obey as well.
    let listed = get(&api, &api.admin, "/v1/tokens").await?;
    let rows = listed.body["items"].as_array().context("a list")?;
    let row = rows
        .iter()
        .find(|row| row["team"] == "shop")
        .context("not listed")?;
    assert_eq!(row["scope"], json!(["one/shop"]), "{row}");
    put(&api, "/v1/teams/shop", json!({ "scope": ["one/other"] })).await?;
    assert_eq!(get(&api, token, BINDING).await?.status, 403);
    // What a token is narrowed to and the team has no more is nobody's.
    put(
        &api,
        "/v1/teams/shop",
        json!({ "scope": ["one/shop", "one/other"] }),
    )
    .await?;
    let narrow = json!({ "name": "narrow", "role": "viewer", "team": "shop", "scope": ["one/shop"] });
    let narrow = api.issue(narrow).await?;
    let narrow = text(&narrow, "token")?;
    assert_eq!(get(&api, narrow, BINDING).await?.status, 200);
    put(&api, "/v1/teams/shop", json!({ "scope": ["one/other"] })).await?;
    assert_eq!(get(&api, narrow, BINDING).await?.status, 403);
    let refused = api.send_as(&api.admin, "DELETE", "/v1/teams/shop", None).await?;
    assert_eq!(
        (refused.status.as_u16(), refused.kind()),
        (409, "/problems/conflict"),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_gives_no_more_than_the_one_that_made_it() -> anyhow::Result<()> {
    let api = seed().await?;
    for team in ["shop", "foreign"] {
        put(
            &api,
            &format!("/v1/teams/{team}"),
            json!({ "scope": ["one/shop", "one/other"] }),
        )
        .await?;
    }
    let maker = json!({ "name": "maker", "role": "editor", "team": "shop", "scope": ["one/shop"], "expiresIn": "1h" });
    let maker = api.issue(maker).await?;
    let token = text(&maker, "token")?;
    let wish = json!({ "name": "made", "role": "viewer" });
    for (field, value, status) in [
        ("role", json!("admin"), 403),
        ("scope", json!(["one"]), 403),
        ("scope", json!(["one/other"]), 403),
        ("scope", json!(["two/shop"]), 403),
        ("scope", json!(["one/shop", "two"]), 403),
        ("scope", json!([]), 422),
        ("scope", json!(["one//"]), 422),
        ("scope", Value::Null, 422),
        ("team", json!("foreign"), 403),
        ("team", json!("nobody"), 403),
        ("expiresIn", json!("0s"), 422),
        ("lifetime", json!("1h"), 422),
    ] {
        let mut wish = wish.clone();
        wish[field] = value.clone();
        let answer = api.send_as(token, "POST", "/v1/tokens", Some(&wish)).await?;
        assert_eq!(answer.status, status, "{field}: {value}: {answer:?}");
    }
    for wish in [
        wish.clone(),
        json!({ "name": "made", "role": "editor", "expiresIn": "9d" }),
    ] {
        let made = api.issue_by(token, wish).await?;
        // Neither longer, nor elsewhere, nor of nobody.
        assert_eq!(made["expiresAt"], maker["expiresAt"]);
        let listed = get(&api, token, "/v1/tokens").await?;
        let row = listed.body["items"]
            .as_array()
            .context("a list")?
            .iter()
            .find(|row| row["id"] == made["id"]);
        let row = row.with_context(|| format!("not listed: {listed:?}"))?;
        assert_eq!(
            (&row["team"], &row["scope"]),
            (&json!("shop"), &json!(["one/shop"])),
            "{row}"
        );
        assert_eq!(row["issuer"], maker["id"]);
        assert_eq!(row["name"], "maker/made", "nobody acts in another's name");
        assert!(
            !listed.body.to_string().contains(text(&made, "token")?),
            "a secret is shown again"
        );
        assert_eq!(get(&api, text(&made, "token")?, BINDING).await?.status, 200);
    }
    let viewer = api
        .send_as(&api.viewer, "POST", "/v1/tokens", Some(&wish))
        .await?;
    assert_eq!(viewer.status, 403, "{viewer:?}");
    Ok(())
}

#[tokio::test]
async fn a_token_ends_with_its_maker_and_is_rotated_with_overlap() -> anyhow::Result<()> {
    let api = seed().await?;
    let maker = api
        .issue(json!({ "name": "maker", "role": "editor", "scope": ["one"] }))
        .await?;
    let made = api
        .issue_by(
            text(&maker, "token")?,
            json!({ "name": "made", "role": "editor" }),
        )
        .await?;
    let grandchild = api
        .issue_by(
            text(&made, "token")?,
            json!({ "name": "third", "role": "viewer" }),
        )
        .await?;
    let foreign = api
        .issue(json!({ "name": "foreign", "role": "editor", "scope": ["one"] }))
        .await?;
    let path = |token: &Value, rest: &str| {
        Ok::<_, anyhow::Error>(format!("/v1/tokens/{}{rest}", text(token, "id")?))
    };
    let valid = async |token: &Value| {
        Ok::<_, anyhow::Error>(get(&api, text(token, "token")?, BINDING).await?.status == 200)
    };
    for (method, rest) in [("POST", "/rotate"), ("DELETE", "")] {
        let answer = api
            .send_as(text(&foreign, "token")?, method, &path(&maker, rest)?, None)
            .await?;
        assert_eq!(answer.status, 404, "{method}: somebody else's token: {answer:?}");
    }
    // The successor takes over what the former made.
    let rotated = api
        .send_as(
            text(&maker, "token")?,
            "POST",
            &path(&maker, "/rotate?overlap=1h")?,
            None,
        )
        .await?;
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let successor = rotated.body;
    assert!(
        valid(&maker).await? && valid(&successor).await?,
        "both are valid during the overlap"
    );
    let again = api
        .send_as(&api.admin, "POST", &path(&maker, "/rotate")?, None)
        .await?;
    assert_eq!(again.status, 409, "a successor of what ends already: {again:?}");
    let ended = api
        .send_as(&api.admin, "DELETE", &path(&maker, "")?, None)
        .await?;
    assert_eq!(ended.status, 204, "{ended:?}");
    assert!(!valid(&maker).await? && valid(&made).await? && valid(&grandchild).await?);
    let dry = api
        .send_as(&api.admin, "DELETE", &path(&successor, "?dryRun=true")?, None)
        .await?;
    assert!(dry.status == 204 && valid(&successor).await?, "{dry:?}");
    let ended = api
        .send_as(&api.admin, "DELETE", &path(&successor, "")?, None)
        .await?;
    assert_eq!(ended.status, 204, "{ended:?}");
    for token in [&successor, &made, &grandchild] {
        assert!(!valid(token).await?, "{token}");
    }
    let agents = get(&api, &api.admin, "/v1/tokens").await?;
    let agent = agents.body["items"]
        .as_array()
        .context("a list")?
        .iter()
        .find(|row| row["role"] == "agent");
    let agent = agent.context("the agent's token")?;
    let refused = api
        .send_as(&api.admin, "POST", &path(agent, "/rotate")?, None)
        .await?;
    assert_eq!(refused.status, 409, "{refused:?}");
    let rows = get(&api, &api.admin, "/v1/audit?limit=500")
        .await?
        .body
        .to_string();
    for secret in [&maker, &made, &successor] {
        assert!(
            !rows.contains(text(secret, "token")?),
            "a secret is in the audit log"
        );
    }
    for action in ["token.add", "token.rotate", "token.expire"] {
        assert!(rows.contains(action), "{action}");
    }
    Ok(())
}

#[tokio::test]
async fn it_is_told_when_a_token_was_last_used() -> anyhow::Result<()> {
    let api = seed().await?;
    let token = api.issue(json!({ "name": "used", "role": "viewer" })).await?;
    let row = async || {
        let listed = get(&api, &api.admin, "/v1/tokens").await?;
        let rows = listed.body["items"].as_array().context("a list")?.clone();
        rows.into_iter()
            .find(|row| row["id"] == token["id"])
            .context("not listed")
    };
    assert_eq!(row().await?["lastUsedAt"], Value::Null);
    get(&api, text(&token, "token")?, "/v1/clusters").await?;
    assert!(row().await?["lastUsedAt"].is_string());
    Ok(())
}

#[tokio::test]
async fn a_scoped_caller_follows_and_audits_what_is_done_in_its_scope_alone() -> anyhow::Result<()> {
    let api = seed().await?;
    let mut portals = Vec::new();
    for (scope, sees_shop, sees_other, sees_cluster) in [
        ("one/shop", true, false, false),
        ("one", true, true, true),
        ("two", false, false, false),
    ] {
        let token = scoped(&api, "viewer", scope).await?;
        portals.push((scope, token, sees_shop, sees_other, sees_cluster));
    }
    let body = json!({ "spec": { "targetGroupArn": ARN, "service": "api", "port": "80" } });
    let other = "/v1/clusters/one/bindings/other/api";
    let declared = api.send_as(&api.admin, "PUT", other, Some(&body)).await?;
    assert_eq!(declared.status, 201, "{declared:?}");
    until_told(&api, "other/api").await?;
    for (scope, token, sees_shop, sees_other, sees_cluster) in portals {
        let events = events(&api, &token).await?;
        let audit = get(&api, &token, "/v1/audit").await?.body.to_string();
        for (told, what) in [(&events, "events"), (&audit, "audit")] {
            assert_eq!(told.contains("shop/web"), sees_shop, "{scope}, {what}: {told}");
            assert_eq!(told.contains("other/api"), sees_other, "{scope}, {what}: {told}");
            assert_eq!(
                told.contains("cluster.put"),
                sees_cluster,
                "{scope}, {what}: {told}"
            );
            assert!(!told.contains("token.add"), "{scope}, {what}: {told}");
        }
    }
    Ok(())
}

/// Waits until everything from before this binding's last change is told: events wait for every transaction of the
/// server that began before them, those of other tests, too.
async fn until_told(api: &Api, object: &str) -> anyhow::Result<()> {
    let admin = control::Token::parse(&api.admin).context("a token")?;
    let admin = api.control.authenticate(&admin).await?;
    let mut follower = api.control.follow(&admin, Some("0-0")).await?;
    let told = |news: &News| matches!(news, News::Event(event) if event.change == "binding.put" && event.object == object);
    timeout(LIMIT, async {
        while !follower.next().await?.iter().any(told) {}
        anyhow::Ok(())
    })
    .await?
}

/// All events from the beginning.
async fn events(api: &Api, token: &str) -> anyhow::Result<String> {
    let request = Request::get("/v1/events?follow=false")
        .header("authorization", format!("Bearer {token}"))
        .header("last-event-id", "0-0");
    Ok(api.send(request.body(Body::empty())?).await?.body.to_string())
}

#[tokio::test]
async fn whoever_follows_is_let_go_when_the_token_ends() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let api = &service.api;
    fill(api).await?;
    let token = api
        .issue(json!({ "name": "portal", "role": "viewer", "scope": ["one/shop"] }))
        .await?;
    let bearer = format!("Bearer {}", text(&token, "token")?);
    let request = Request::get("/v1/events").header("authorization", &bearer);
    let answer = api.router().oneshot(request.body(Body::empty())?).await?;
    let mut sent = answer.into_body().into_data_stream();
    let channel = Endpoint::from_shared(service.url.clone())?.connect().await?;
    let mut request = tonic::Request::new(FollowEventsRequest::default());
    request.metadata_mut().insert("authorization", bearer.parse()?);
    let mut streamed = InsightServiceClient::new(channel)
        .follow_events(request)
        .await?
        .into_inner();
    // Both follow.
    let body = json!({ "spec": { "targetGroupArn": ARN, "service": "web", "port": "8080" } });
    let changed = api.send_as(&api.admin, "PUT", BINDING, Some(&body)).await?;
    ensure!(changed.status == 200, "{changed:?}");
    timeout(LIMIT, async {
        loop {
            let told = sent.next().await.context("it ended")??;
            if String::from_utf8_lossy(&told).contains("binding.put") {
                return anyhow::Ok(());
            }
        }
    })
    .await??;
    let event = timeout(LIMIT, streamed.message()).await??;
    ensure!(event.is_some(), "it ended");

    let path = format!("/v1/tokens/{}", text(&token, "id")?);
    let ended = api.send_as(&api.admin, "DELETE", &path, None).await?;
    ensure!(ended.status == 204, "{ended:?}");
    timeout(LIMIT, async {
        while let Some(told) = sent.next().await {
            told?;
        }
        anyhow::Ok(())
    })
    .await
    .context("over REST it goes on")??;
    let refused = timeout(LIMIT, async {
        loop {
            match streamed.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status.code()),
            }
        }
    })
    .await
    .context("over gRPC it goes on")?;
    assert_eq!(refused, Some(Code::Unauthenticated));
    service.stop().await;
    Ok(())
}
