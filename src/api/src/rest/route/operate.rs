//! Audit, pauses and tokens.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use control::{Control, TokenSpec, audit, pauses::Subject};
use model::scope::Scope;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, duration, page};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, Path, Query},
        resource::{
            List,
            cluster::NewToken,
            operate::{AuditEntry, Pause, PostToken, PutPause, Token},
        },
    },
    subject,
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list_audit))
        .routes(routes!(list_pauses, pause, resume))
        .routes(routes!(list_tokens, issue_token))
        .routes(routes!(end_token))
        .routes(routes!(rotate_token))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// Only what was done with the token of this name.
    actor: Option<String>,
    /// Only what was done to the object of this name.
    object: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

/// List what was changed, and by whom, the newest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "audit", params(AuditParams),
    responses(
        (status = 200, description = "A page of the audit log", body = List<AuditEntry>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_audit(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<AuditParams>,
) -> Answer<Json<List<AuditEntry>>> {
    let AuditParams {
        actor,
        object,
        cursor,
        limit,
    } = params;
    let filter = audit::Filter { actor, object };
    let listing = control
        .list_audit(&principal, &filter, &page(cursor, limit))
        .await?;
    Ok(Json(List::of(listing)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PauseParams {
    /// `installation`, `shard/PARTITION/ACCOUNT/REGION`, `cluster/NAME` or `binding/CLUSTER/NAMESPACE/NAME`.
    subject: String,
    /// Answer what is paused now, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

impl PauseParams {
    fn subject(&self) -> Answer<Subject> {
        Ok(subject::of_pause(&self.subject)?)
    }
}

/// List what is paused: where nothing is written to AWS.
#[utoipa::path(
    get, path = "/v1/pauses", operation_id = "listPauses", tag = "pauses",
    responses(
        (status = 200, description = "All pauses, the widest first", body = List<Pause>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_pauses(State(control): State<Control>, Caller(principal): Caller) -> Answer<Json<List<Pause>>> {
    Ok(Json(List::all(control.list_pauses(&principal).await?)))
}

/// Stop all writes to AWS for a subject, within a second. Observing and planning go on.
#[utoipa::path(
    put, path = "/v1/pauses", operation_id = "pause", tag = "pauses", params(PauseParams), request_body = PutPause,
    responses(
        (status = 200, description = "All pauses", body = List<Pause>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn pause(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<PauseParams>,
    Body(body): Body<PutPause>,
) -> Answer<Json<List<Pause>>> {
    let subject = params.subject()?;
    let pauses = control
        .pause(&principal, &subject, &body.reason, params.dry_run)
        .await?;
    Ok(Json(List::all(pauses)))
}

/// Let writes for a subject go on. What another pause covers stays paused.
#[utoipa::path(
    delete, path = "/v1/pauses", operation_id = "resume", tag = "pauses", params(PauseParams),
    responses(
        (status = 200, description = "What is still paused", body = List<Pause>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn resume(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<PauseParams>,
) -> Answer<Json<List<Pause>>> {
    let subject = params.subject()?;
    let pauses = control.resume(&principal, &subject, params.dry_run).await?;
    Ok(Json(List::all(pauses)))
}

/// List tokens, without themselves: an admin all, an editor its own and those that it made.
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "listTokens", tag = "tokens", params(PageParams),
    responses(
        (status = 200, description = "A page of tokens, by name", body = List<Token>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list_tokens(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<Token>>> {
    Ok(Json(List::of(
        control.list_tokens(&principal, &page.into()).await?,
    )))
}

/// Make a token for a person or a portal, for no more than its maker has. Those made before under the name stay valid.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "issueToken", tag = "tokens", request_body = PostToken,
    responses(
        (status = 201, description = "The token, shown this once", body = NewToken),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn issue_token(
    State(control): State<Control>,
    Caller(principal): Caller,
    Body(body): Body<PostToken>,
) -> Answer<(StatusCode, Json<NewToken>)> {
    let PostToken {
        name,
        role,
        scope,
        team,
        expires_in,
    } = body;
    let spec = TokenSpec {
        name,
        role: role.into(),
        scope: scope.map(Scope),
        team,
        lifetime: duration("expiresIn", expires_in.as_deref())?,
    };
    let token = control.issue_token(&principal, spec).await?;
    Ok((StatusCode::CREATED, Json(token.into())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EndParams {
    /// For how long it stays valid, e.g. `1h`; without, it ends now.
    #[param(pattern = "^[0-9]{1,6}[smhd]$")]
    overlap: Option<String>,
    /// Look whether it can be ended, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RotateParams {
    /// For how long the former stays valid, e.g. `1h`; without, it ends now.
    #[param(pattern = "^[0-9]{1,6}[smhd]$")]
    overlap: Option<String>,
}

/// End a token and those that it made as an editor's, now or after a time. What an admin's token made stays.
#[utoipa::path(
    delete, path = "/v1/tokens/{token}", operation_id = "endToken", tag = "tokens",
    params(("token" = uuid::Uuid, Path, description = "The token's id"), EndParams),
    responses(
        (status = 204, description = "It has ended, or will"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn end_token(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<uuid::Uuid>,
    Query(params): Query<EndParams>,
) -> Answer<StatusCode> {
    let overlap = duration("overlap", params.overlap.as_deref())?.unwrap_or(Duration::ZERO);
    control.end_token(&principal, id, overlap, params.dry_run).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a successor of a token: the same name, role, scope and team, for as long again. An editor cannot make its own live longer.
#[utoipa::path(
    post, path = "/v1/tokens/{token}/rotate", operation_id = "rotateToken", tag = "tokens",
    params(("token" = uuid::Uuid, Path, description = "The token's id"), RotateParams),
    responses(
        (status = 201, description = "The successor, shown this once", body = NewToken),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn rotate_token(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<uuid::Uuid>,
    Query(params): Query<RotateParams>,
) -> Answer<(StatusCode, Json<NewToken>)> {
    let overlap = duration("overlap", params.overlap.as_deref())?.unwrap_or(Duration::ZERO);
    let token = control.rotate_token(&principal, id, overlap).await?;
    Ok((StatusCode::CREATED, Json(token.into())))
}
