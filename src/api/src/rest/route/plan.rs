use axum::{Json, extract::State};
use control::Control;
use model::{Name, PlanId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, page};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, Path, Query},
        resource::{
            List,
            plan::{JournaledPlan, Plan, PreviewPlan},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list, preview))
        .routes(routes!(get))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// The name of a declared target group.
    #[param(value_type = String)]
    target_group: Name,
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

/// List the plans that were made for a target group, the newest first.
#[utoipa::path(
    get, path = "/v1/plans", operation_id = "listPlans", tag = "plans", params(ListParams),
    responses(
        (status = 200, description = "A page of the journal", body = List<JournaledPlan>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<ListParams>,
) -> Answer<Json<List<JournaledPlan>>> {
    let ListParams {
        target_group,
        cursor,
        limit,
    } = params;
    let listing = control
        .list_plans(&principal, &target_group, &page(cursor, limit))
        .await?;
    Ok(Json(List::of(listing)))
}

/// Read a plan of the journal.
#[utoipa::path(
    get, path = "/v1/plans/{plan}", operation_id = "getPlan", tag = "plans",
    params(("plan" = uuid::Uuid, Path, description = "The plan's id")),
    responses(
        (status = 200, description = "The plan", body = JournaledPlan),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<PlanId>,
) -> Answer<Json<JournaledPlan>> {
    Ok(Json(control.get_plan(&principal, id).await?.into()))
}

/// What would be done to a target group now, on what is known. Nothing is done and AWS is not asked.
#[utoipa::path(
    post, path = "/v1/plans", operation_id = "previewPlan", tag = "plans", request_body = PreviewPlan,
    responses(
        (status = 200, description = "The plan", body = Plan),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn preview(
    State(control): State<Control>,
    Caller(principal): Caller,
    Body(body): Body<PreviewPlan>,
) -> Answer<Json<Plan>> {
    Ok(Json(
        control.preview_plan(&principal, &body.target_group).await?.into(),
    ))
}
