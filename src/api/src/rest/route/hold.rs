use axum::{Json, extract::State};
use control::Control;
use model::HoldId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, WriteParams, page};
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Path, Query},
        resource::{List, hold::Hold},
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(release))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Also those that have ended.
    #[serde(default)]
    ended: bool,
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

/// List holds.
#[utoipa::path(
    get, path = "/v1/holds", operation_id = "listHolds", tag = "holds", params(ListParams),
    responses(
        (status = 200, description = "A page of holds", body = List<Hold>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<ListParams>,
) -> Answer<Json<List<Hold>>> {
    let ListParams { ended, cursor, limit } = params;
    Ok(Json(List::of(
        control
            .list_holds(&principal, ended, &page(cursor, limit))
            .await?,
    )))
}

/// Read a hold.
#[utoipa::path(
    get, path = "/v1/holds/{hold}", operation_id = "getHold", tag = "holds",
    params(("hold" = uuid::Uuid, Path, description = "The hold's id")),
    responses(
        (status = 200, description = "The hold", body = Hold),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<HoldId>,
) -> Answer<Json<Hold>> {
    Ok(Json(control.get_hold(&principal, id).await?.into()))
}

/// Release a hold: the removals that it lists may be done.
#[utoipa::path(
    post, path = "/v1/holds/{hold}/release", operation_id = "releaseHold", tag = "holds",
    params(("hold" = uuid::Uuid, Path, description = "The hold's id"), WriteParams),
    responses(
        (status = 200, description = "The hold, released", body = Hold),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn release(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<HoldId>,
    Query(params): Query<WriteParams>,
) -> Answer<Json<Hold>> {
    Ok(Json(
        control.release_hold(&principal, id, params.dry_run).await?.into(),
    ))
}
