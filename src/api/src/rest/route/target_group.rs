use axum::{Json, extract::State, http::StatusCode, response::Response};
use control::{Control, Write};
use model::{Name, managed::Ending};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, WriteParams, put_status, versioned};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, IfMatch, Path, Query},
        resource::{
            List,
            managed::JournaledGroupPlan,
            target_group::{PutTargetGroup, TargetGroup},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(plans))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeleteParams {
    /// Answer what would be, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// What becomes of a group that Elbow manages.
    #[param(inline)]
    in_aws: Option<InAws>,
}

/// What becomes of a managed target group in AWS.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum InAws {
    /// It is deleted, once nothing forwards to it and nothing is in it.
    Delete,
    /// It stays, without Elbow's tags.
    Keep,
}

impl From<InAws> for Ending {
    fn from(in_aws: InAws) -> Self {
        match in_aws {
            InAws::Delete => Self::Delete,
            InAws::Keep => Self::Keep,
        }
    }
}

/// List declared target groups.
#[utoipa::path(
    get, path = "/v1/target-groups", operation_id = "listTargetGroups", tag = "target groups", params(PageParams),
    responses(
        (status = 200, description = "A page of target groups, by name", body = List<TargetGroup>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<TargetGroup>>> {
    Ok(Json(List::of(
        control.list_target_groups(&principal, &page.into()).await?,
    )))
}

/// Read a target group, with what AWS said of it last.
#[utoipa::path(
    get, path = "/v1/target-groups/{targetGroup}", operation_id = "getTargetGroup", tag = "target groups",
    params(("targetGroup" = String, Path, description = "The name it was declared by")),
    responses(
        (status = 200, description = "The target group", body = TargetGroup, headers(("ETag" = String, description = "Its version"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
) -> Answer<Response> {
    let group = TargetGroup::from(control.get_target_group(&principal, &name).await?);
    Ok(versioned(StatusCode::OK, group.version, &group))
}

/// Declare a target group, or change which clusters may use it and what a managed one is to be.
///
/// Without `spec.managed` it is somebody else's, and only targets of bindings are put into it. With it, Elbow makes the group
/// in AWS, or takes over the one of `spec.arn`, and keeps it as it is declared. A managed group that is put without
/// `spec.managed` is let go: it stays in AWS, as somebody else's.
#[utoipa::path(
    put, path = "/v1/target-groups/{targetGroup}", operation_id = "putTargetGroup", tag = "target groups",
    params(
        ("targetGroup" = String, Path, description = "The name to declare it by"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    request_body = PutTargetGroup,
    responses(
        (status = 200, description = "The target group, changed or as it was", body = TargetGroup),
        (status = 201, description = "The target group, new", body = TargetGroup),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
    Body(body): Body<PutTargetGroup>,
) -> Answer<Response> {
    let write = params.expecting(expected);
    let written = control
        .put_target_group(&principal, name, body.spec.try_into()?, write)
        .await?;
    let group = TargetGroup::from(written.value);
    Ok(versioned(put_status(written.created), group.version, &group))
}

/// Take a declaration back. Refused while bindings use the group or targets of theirs are in it.
///
/// AWS is not touched, unless Elbow manages the group: then `inAws` must say what becomes of it, and the declaration goes
/// when that is done.
#[utoipa::path(
    delete, path = "/v1/target-groups/{targetGroup}", operation_id = "deleteTargetGroup", tag = "target groups",
    params(
        ("targetGroup" = String, Path, description = "The name it was declared by"),
        DeleteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The target group as it was", body = TargetGroup),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(params): Query<DeleteParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<TargetGroup>> {
    let DeleteParams { dry_run, in_aws } = params;
    let write = Write { expected, dry_run };
    Ok(Json(
        control
            .delete_target_group(&principal, &name, in_aws.map(Into::into), write)
            .await?
            .into(),
    ))
}

/// List the plans that were made for a managed target group itself, the newest first.
///
/// Those for what is in it are listed by `GET /v1/plans`.
#[utoipa::path(
    get, path = "/v1/target-groups/{targetGroup}/plans", operation_id = "listGroupPlans", tag = "target groups",
    params(("targetGroup" = String, Path, description = "The name it was declared by"), PageParams),
    responses(
        (status = 200, description = "A page of the journal", body = List<JournaledGroupPlan>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn plans(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(name): Path<Name>,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<JournaledGroupPlan>>> {
    let listing = control.list_group_plans(&principal, &name, &page.into()).await?;
    Ok(Json(List::of(listing)))
}
