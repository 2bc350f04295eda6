use axum::{Json, extract::State};
use control::Control;
use model::SecurityGroupId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams};
use crate::{
    problem::Problem,
    rest::{
        extract::{Caller, Path, Query},
        resource::{
            List,
            security_group::{JournaledRulePlan, SecurityGroup},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(plans))
}

/// List the security groups in which bindings need something open or rules are Elbow's.
#[utoipa::path(
    get, path = "/v1/security-groups", operation_id = "listSecurityGroups", tag = "security groups",
    params(PageParams),
    responses(
        (status = 200, description = "A page of security groups, by id", body = List<SecurityGroup>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<SecurityGroup>>> {
    let listing = control.list_security_groups(&principal, &page.into()).await?;
    Ok(Json(List::of(listing)))
}

/// Read a security group: what bindings need open, which rules are Elbow's, what is left to do and what is held back.
#[utoipa::path(
    get, path = "/v1/security-groups/{securityGroup}", operation_id = "getSecurityGroup", tag = "security groups",
    params(("securityGroup" = String, Path, description = "`sg-…`")),
    responses(
        (status = 200, description = "The security group", body = SecurityGroup),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<SecurityGroupId>,
) -> Answer<Json<SecurityGroup>> {
    Ok(Json(control.get_security_group(&principal, &id).await?.into()))
}

/// List the plans that were made for a security group's rules, the newest first.
#[utoipa::path(
    get, path = "/v1/security-groups/{securityGroup}/plans", operation_id = "listRulePlans",
    tag = "security groups",
    params(("securityGroup" = String, Path, description = "`sg-…`"), PageParams),
    responses(
        (status = 200, description = "A page of the journal", body = List<JournaledRulePlan>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn plans(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<SecurityGroupId>,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<JournaledRulePlan>>> {
    let listing = control.list_rule_plans(&principal, &id, &page.into()).await?;
    Ok(Json(List::of(listing)))
}
