use axum::{Json, extract::State};
use control::Control;
use model::Name;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, page};
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Path, Query},
        resource::{List, endpoint::ServiceEndpoints},
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only Services of this namespace.
    namespace: Option<String>,
    /// Only Services of this name.
    service: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// How many items at most, 1-500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u16>,
}

/// List what a cluster stated about the Services that bindings refer to.
#[utoipa::path(
    get, path = "/v1/clusters/{cluster}/endpoints", operation_id = "listEndpoints", tag = "endpoints",
    params(("cluster" = String, Path, description = "The cluster's name"), ListParams),
    responses(
        (status = 200, description = "A page of Services with their endpoints", body = List<ServiceEndpoints>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(cluster): Path<Name>,
    Query(params): Query<ListParams>,
) -> Answer<Json<List<ServiceEndpoints>>> {
    let ListParams {
        namespace,
        service,
        cursor,
        limit,
    } = params;
    let filter = control::endpoints::Filter { namespace, service };
    let listing = control
        .list_endpoints(&principal, &cluster, &filter, &page(cursor, limit))
        .await?;
    Ok(Json(List::of(listing)))
}
