use axum::{Json, extract::State};
use control::Control;
use model::Name;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Answer;
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Query},
        resource::{List, explanation::Explanation},
    },
    subject,
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(explain))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExplainParams {
    /// An IP address, `pod/NAMESPACE/NAME` or `binding/CLUSTER/NAMESPACE/NAME`.
    subject: String,
    /// Only the pod of this cluster.
    #[param(value_type = Option<String>)]
    cluster: Option<Name>,
}

/// Say why targets are or are not registered: what the cluster states, what was done, what AWS said, what comes next.
///
/// One item per target group. From what is stored; AWS is not asked.
#[utoipa::path(
    get, path = "/v1/explanations", operation_id = "explain", tag = "explanations", params(ExplainParams),
    responses(
        (status = 200, description = "One item per target group", body = List<Explanation>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn explain(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<ExplainParams>,
) -> Answer<Json<List<Explanation>>> {
    let ExplainParams { subject, cluster } = params;
    let subject = subject::of_explanation(&subject, cluster)?;
    Ok(Json(List::all(control.explain(&principal, &subject).await?)))
}
