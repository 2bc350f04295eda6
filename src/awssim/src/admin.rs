//! The admin API under `/_awssim`: JSON over HTTP, the same as [`Handle`]'s methods.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    clock::ClockMode,
    drift::Drift,
    faults::FaultRule,
    fixture::Fixture,
    handle::{AdminError, Handle},
    iam::Policy,
    journal::JournalFilter,
    place::Place,
    settings::Settings,
    sts::Role,
};

pub(crate) fn router(handle: Handle) -> Router {
    let routes = Router::new()
        .route("/health", get(async || Json(json!({"status": "ok"}))))
        .route("/settings", get(settings).put(set_settings).patch(patch_settings))
        .route("/clock", get(clock).put(set_clock))
        .route("/clock/advance", post(advance))
        .route("/journal", get(journal).delete(reset_journal))
        .route("/counters", get(counters))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/accounts", put(set_accounts))
        .route("/roles", put(set_roles))
        .route("/policies", put(set_policies))
        .route("/fixtures", post(load))
        .route("/drift", post(drift))
        .route("/target-groups", get(target_groups))
        .route("/targets", get(targets))
        .route("/security-group-rules", get(security_group_rules))
        .route("/reset", post(reset))
        .fallback(async || {
            problem(
                StatusCode::NOT_FOUND,
                "no such admin endpoint; see the README of awssim",
            )
        });
    Router::new().nest("/_awssim", routes).with_state(handle)
}

fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    (status, Json(json!({ "error": detail.into() }))).into_response()
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Fixture(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        problem(status, self.to_string())
    }
}

async fn settings(State(handle): State<Handle>) -> Json<Settings> {
    Json(handle.settings())
}

async fn set_settings(State(handle): State<Handle>, Json(settings): Json<Settings>) -> Json<Settings> {
    handle.set_settings(settings);
    Json(handle.settings())
}

/// What the document names is replaced, the rest stays.
async fn patch_settings(State(handle): State<Handle>, Json(patch): Json<Value>) -> Response {
    let mut present = serde_json::to_value(handle.settings()).expect("settings are plain data");
    merge(&mut present, patch);
    match serde_json::from_value(present) {
        Ok(settings) => {
            handle.set_settings(settings);
            Json(handle.settings()).into_response()
        }
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    }
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

async fn clock(State(handle): State<Handle>) -> Response {
    Json(handle.clock()).into_response()
}

async fn set_clock(State(handle): State<Handle>, Json(mode): Json<ClockMode>) -> Response {
    handle.set_clock(&mode);
    Json(handle.clock()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    by: Duration,
}

async fn advance(State(handle): State<Handle>, Json(Advance { by }): Json<Advance>) -> Response {
    handle.advance(by);
    Json(handle.clock()).into_response()
}

/// `wait` is taken apart from the filter, which knows no unknown keys.
async fn journal(
    State(handle): State<Handle>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Response {
    let wait = query
        .remove("wait")
        .map(|text| humantime::parse_duration(&text))
        .transpose();
    let pairs = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    let uri = format!("/?{pairs}")
        .parse()
        .expect("an encoded query makes a URI");
    let (wait, filter) = match (wait, Query::<JournalFilter>::try_from_uri(&uri)) {
        (Ok(wait), Ok(Query(filter))) => (wait.unwrap_or_default(), filter),
        (Err(error), _) => return problem(StatusCode::BAD_REQUEST, format!("wait: {error}")),
        (_, Err(error)) => return problem(StatusCode::BAD_REQUEST, error.to_string()),
    };
    Json(handle.wait_journal(&filter, wait).await).into_response()
}

async fn reset_journal(State(handle): State<Handle>) -> StatusCode {
    handle.reset_journal();
    StatusCode::NO_CONTENT
}

async fn counters(State(handle): State<Handle>) -> Response {
    Json(json!({ "counters": handle.counters() })).into_response()
}

async fn faults(State(handle): State<Handle>) -> Response {
    Json(json!({ "faults": handle.faults() })).into_response()
}

async fn add_fault(State(handle): State<Handle>, Json(rule): Json<FaultRule>) -> Response {
    (StatusCode::CREATED, Json(json!({ "id": handle.add_fault(rule) }))).into_response()
}

async fn remove_fault(State(handle): State<Handle>, Path(id): Path<u64>) -> StatusCode {
    if handle.remove_fault(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn clear_faults(State(handle): State<Handle>) -> StatusCode {
    handle.clear_faults();
    StatusCode::NO_CONTENT
}

async fn set_accounts(
    State(handle): State<Handle>,
    Json(accounts): Json<BTreeMap<String, String>>,
) -> StatusCode {
    for (access_key, account) in accounts {
        handle.set_account(access_key, account);
    }
    StatusCode::NO_CONTENT
}

async fn set_roles(State(handle): State<Handle>, Json(roles): Json<BTreeMap<String, Role>>) -> StatusCode {
    for (arn, role) in roles {
        handle.set_role(arn, role);
    }
    StatusCode::NO_CONTENT
}

async fn set_policies(
    State(handle): State<Handle>,
    Json(policies): Json<BTreeMap<String, Option<Policy>>>,
) -> StatusCode {
    for (principal, policy) in policies {
        handle.set_policy(principal, policy);
    }
    StatusCode::NO_CONTENT
}

async fn load(State(handle): State<Handle>, Json(fixture): Json<Fixture>) -> Response {
    match handle.load(&fixture) {
        Ok(loaded) => (StatusCode::CREATED, Json(loaded)).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn drift(State(handle): State<Handle>, Json(drift): Json<Drift>) -> Response {
    match handle.drift(&drift) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn target_groups(State(handle): State<Handle>) -> Response {
    Json(json!({ "target_groups": handle.target_groups() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfGroup {
    arn: String,
}

async fn targets(State(handle): State<Handle>, Query(OfGroup { arn }): Query<OfGroup>) -> Response {
    match handle.targets(&arn) {
        Ok(targets) => Json(json!({ "targets": targets })).into_response(),
        Err(error) => error.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSecurityGroup {
    account: String,
    region: String,
    id: String,
}

async fn security_group_rules(
    State(handle): State<Handle>,
    Query(OfSecurityGroup { account, region, id }): Query<OfSecurityGroup>,
) -> Response {
    match handle.security_group_rules(&Place::new(account, region), &id) {
        Ok(rules) => Json(json!({ "rules": rules })).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn reset(State(handle): State<Handle>) -> StatusCode {
    handle.reset();
    StatusCode::NO_CONTENT
}
