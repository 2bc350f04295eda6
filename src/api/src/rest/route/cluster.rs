use axum::{Json, extract::State, http::StatusCode, response::Response};
use control::{Control, Write};
use model::{Name, cluster::Leaving};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, WriteParams, duration, put_status, versioned};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, IfMatch, Path, Query},
        resource::{
            List,
            cluster::{Cluster, NewToken, PutCluster},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(issue_token))
        .routes(routes!(cordon))
        .routes(routes!(uncordon))
}

/// How a cluster is taken away.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteParams {
    /// What becomes of its targets: `drain` (deregister them) or `keep` (leave them in AWS as nobody's).
    #[param(value_type = Option<String>, pattern = "^(drain|keep)$")]
    targets: Option<Leaving>,
    /// Answer what would be, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// List clusters.
#[utoipa::path(
    get, path = "/v1/clusters", operation_id = "listClusters", tag = "clusters", params(PageParams),
    responses(
        (status = 200, description = "A page of clusters, by name", body = List<Cluster>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<Cluster>>> {
    Ok(Json(List::of(
        control.list_clusters(&principal, &page.into()).await?,
    )))
}

/// Read a cluster.
#[utoipa::path(
    get, path = "/v1/clusters/{cluster}", operation_id = "getCluster", tag = "clusters",
    params(("cluster" = String, Path, description = "The cluster's name")),
    responses(
        (status = 200, description = "The cluster", body = Cluster, headers(("ETag" = String, description = "Its version"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
) -> Answer<Response> {
    let cluster = Cluster::from(control.get_cluster(&principal, &name).await?);
    Ok(versioned(StatusCode::OK, cluster.version, &cluster))
}

/// Register a cluster, or change one. The answer that creates it carries the token of its agent.
#[utoipa::path(
    put, path = "/v1/clusters/{cluster}", operation_id = "putCluster", tag = "clusters",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    request_body = PutCluster,
    responses(
        (status = 200, description = "The cluster, changed or as it was", body = Cluster),
        (status = 201, description = "The cluster, new, with the token of its agent", body = Cluster),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
    Body(body): Body<PutCluster>,
) -> Answer<Response> {
    let write = params.expecting(expected);
    let (written, token) = control
        .put_cluster(&principal, name, body.spec.into(), write)
        .await?;
    let mut cluster = Cluster::from(written.value);
    cluster.agent_token = token.map(|token| token.expose().to_owned());
    Ok(versioned(put_status(written.created), cluster.version, &cluster))
}

/// Take a cluster away.
///
/// While it has bindings, `targets` must say what becomes of their targets. The cluster is shown until the last of them
/// is gone; its agent is refused from now on.
#[utoipa::path(
    delete, path = "/v1/clusters/{cluster}", operation_id = "deleteCluster", tag = "clusters",
    params(
        ("cluster" = String, Path, description = "The cluster's name"),
        DeleteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The cluster as it was", body = Cluster),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<DeleteParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<Cluster>> {
    let DeleteParams { targets, dry_run } = params;
    let write = Write { expected, dry_run };
    Ok(Json(
        control
            .delete_cluster(&principal, &name, targets, write)
            .await?
            .into(),
    ))
}

/// Set a cluster aside: it adds no new target, what it has stays and goes by the usual rules, and its silence does not
/// count for the fleet.
#[utoipa::path(
    post, path = "/v1/clusters/{cluster}/cordon", operation_id = "cordonCluster", tag = "clusters",
    params(("cluster" = String, Path, description = "The cluster's name"), WriteParams),
    responses(
        (status = 200, description = "The cluster, cordoned", body = Cluster),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn cordon(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
) -> Answer<Json<Cluster>> {
    let view = control.cordon_cluster(&principal, &name, true, params.dry_run);
    Ok(Json(view.await?.into()))
}

/// Take a cluster back that was set aside.
#[utoipa::path(
    post, path = "/v1/clusters/{cluster}/uncordon", operation_id = "uncordonCluster", tag = "clusters",
    params(("cluster" = String, Path, description = "The cluster's name"), WriteParams),
    responses(
        (status = 200, description = "The cluster, no longer cordoned", body = Cluster),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn uncordon(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
) -> Answer<Json<Cluster>> {
    let view = control.cordon_cluster(&principal, &name, false, params.dry_run);
    Ok(Json(view.await?.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TokenParams {
    /// For how long the tokens that were issued before stay valid, e.g. `24h`; without, they stay so.
    #[param(pattern = "^[0-9]{1,6}[smhd]$")]
    overlap: Option<String>,
}

/// Issue a further token for a cluster's agent.
#[utoipa::path(
    post, path = "/v1/clusters/{cluster}/token", operation_id = "issueAgentToken", tag = "clusters",
    params(("cluster" = String, Path, description = "The cluster's name"), TokenParams),
    responses(
        (status = 201, description = "The token, shown this once", body = NewToken),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn issue_token(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<TokenParams>,
) -> Answer<(StatusCode, Json<NewToken>)> {
    let overlap = duration("overlap", params.overlap.as_deref())?;
    let token = control.issue_agent_token(&principal, &name, overlap).await?;
    Ok((StatusCode::CREATED, Json(token.into())))
}
