use axum::{Json, extract::State, http::StatusCode, response::Response};
use control::Control;
use model::Name;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, WriteParams, put_status, versioned};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, IfMatch, Path, Query},
        resource::{
            List,
            team::{PutTeam, Team},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
}

/// List teams. A caller with a scope is told its own.
#[utoipa::path(
    get, path = "/v1/teams", operation_id = "listTeams", tag = "teams", params(PageParams),
    responses(
        (status = 200, description = "A page of teams, by name", body = List<Team>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<Team>>> {
    Ok(Json(List::of(
        control.list_teams(&principal, &page.into()).await?,
    )))
}

/// Read a team.
#[utoipa::path(
    get, path = "/v1/teams/{team}", operation_id = "getTeam", tag = "teams",
    params(("team" = String, Path, description = "The team's name")),
    responses(
        (status = 200, description = "The team", body = Team, headers(("ETag" = String, description = "Its version"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
) -> Answer<Response> {
    let team = Team::from(control.get_team(&principal, &name).await?);
    Ok(versioned(StatusCode::OK, team.version, &team))
}

/// Make a team or change what it has: for all of its tokens, at once.
#[utoipa::path(
    put, path = "/v1/teams/{team}", operation_id = "putTeam", tag = "teams",
    params(
        ("team" = String, Path, description = "The team's name"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    request_body = PutTeam,
    responses(
        (status = 200, description = "The team, changed or as it was", body = Team),
        (status = 201, description = "The team, new", body = Team),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
    Body(body): Body<PutTeam>,
) -> Answer<Response> {
    let write = params.expecting(expected);
    let written = control
        .put_team(&principal, name, body.spec.into(), write)
        .await?;
    let team = Team::from(written.value);
    Ok(versioned(put_status(written.created), team.version, &team))
}

/// Forget a team. Refused while it has tokens.
#[utoipa::path(
    delete, path = "/v1/teams/{team}", operation_id = "deleteTeam", tag = "teams",
    params(
        ("team" = String, Path, description = "The team's name"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The team as it was", body = Team),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<Team>> {
    let write = params.expecting(expected);
    Ok(Json(control.delete_team(&principal, &name, write).await?.into()))
}
