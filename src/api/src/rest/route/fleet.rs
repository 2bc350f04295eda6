use axum::{Json, extract::State};
use control::Control;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, WriteParams};
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Query},
        resource::fleet::Fleet,
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(release))
}

/// Read whether so many clusters are silent that nothing is removed without proof.
#[utoipa::path(
    get, path = "/v1/fleet", operation_id = "getFleet", tag = "fleet",
    responses(
        (status = 200, description = "The fleet", body = Fleet),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(State(control): State<Control>, Caller(principal): Caller) -> Answer<Json<Fleet>> {
    Ok(Json(control.get_fleet(&principal).await?.into()))
}

/// Give up on the clusters that are silent now: they no longer keep removals elsewhere back.
#[utoipa::path(
    post, path = "/v1/fleet/release", operation_id = "releaseFleet", tag = "fleet", params(WriteParams),
    responses(
        (status = 200, description = "The fleet, released", body = Fleet),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn release(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<WriteParams>,
) -> Answer<Json<Fleet>> {
    Ok(Json(
        control.release_fleet(&principal, params.dry_run).await?.into(),
    ))
}
