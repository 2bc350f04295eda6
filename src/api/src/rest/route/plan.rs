use axum::{Json, extract::State};
use control::{Control, Kind as Refusal};
use model::{Name, PlanId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, page};
use crate::{
    problem::{Kind, Problem},
    rest::{
        extract::{Caller, Path, Query},
        manifest::{Manifested, Manifests},
        resource::{
            List,
            plan::{JournaledPlan, Preview, PreviewPlan},
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

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewParams {
    /// The cluster that the manifests are meant for.
    #[param(value_type = Option<String>)]
    cluster: Option<Name>,
}

/// What would be done now, on what is known. Nothing is done and AWS is not asked.
///
/// As JSON: to a target group. As YAML: if these TargetGroupBindings were in the cluster, as they are.
#[utoipa::path(
    post, path = "/v1/plans", operation_id = "previewPlan", tag = "plans", params(PreviewParams),
    request_body(content(
        (PreviewPlan = "application/json"),
        (Manifests = "application/yaml"),
    )),
    responses(
        (status = 200, description = "The plans", body = Preview),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn preview(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<PreviewParams>,
    body: Manifested<PreviewPlan>,
) -> Answer<Json<Preview>> {
    let preview = match (body, params.cluster) {
        (Manifested::Json(body), None) => control.preview_plan(&principal, &body.target_group).await?,
        (Manifested::Yaml(objects), Some(cluster)) => {
            control.preview_objects(&principal, &cluster, objects).await?
        }
        (Manifested::Json(_), Some(_)) => {
            let detail = "the target group says which cluster: leave it out, or send manifests";
            return Err(Problem::new(Kind::Refused(Refusal::Invalid), detail).at("cluster"));
        }
        (Manifested::Yaml(_), None) => {
            let detail = "say which cluster the manifests are meant for: `?cluster=NAME`";
            return Err(Problem::new(Kind::Refused(Refusal::Invalid), detail).at("cluster"));
        }
    };
    Ok(Json(preview.into()))
}
