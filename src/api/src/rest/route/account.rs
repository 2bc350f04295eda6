use axum::{Json, extract::State, http::StatusCode, response::Response};
use control::Control;
use model::AccountId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Answer, PageParams, WriteParams, put_status, versioned};
use crate::{
    problem::Problem,
    rest::{
        extract::{Body, Caller, IfMatch, Path, Query},
        resource::{
            List,
            account::{Account, PutAccount},
        },
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
}

/// List accounts that are entered by a role.
#[utoipa::path(
    get, path = "/v1/accounts", operation_id = "listAccounts", tag = "accounts", params(PageParams),
    responses(
        (status = 200, description = "A page of accounts, by id", body = List<Account>),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(page): Query<PageParams>,
) -> Answer<Json<List<Account>>> {
    Ok(Json(List::of(
        control.list_accounts(&principal, &page.into()).await?,
    )))
}

/// Read how an account is entered.
#[utoipa::path(
    get, path = "/v1/accounts/{account}", operation_id = "getAccount", tag = "accounts",
    params(("account" = String, Path, description = "The account's id, twelve digits")),
    responses(
        (status = 200, description = "The account", body = Account, headers(("ETag" = String, description = "Its version"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn get(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<AccountId>,
) -> Answer<Response> {
    let account = Account::from(control.get_account(&principal, &id).await?);
    Ok(versioned(StatusCode::OK, account.version, &account))
}

/// Say by which role an account is entered.
#[utoipa::path(
    put, path = "/v1/accounts/{account}", operation_id = "putAccount", tag = "accounts",
    params(
        ("account" = String, Path, description = "The account's id, twelve digits"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    request_body = PutAccount,
    responses(
        (status = 200, description = "The account, changed or as it was", body = Account),
        (status = 201, description = "The account, new", body = Account),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<AccountId>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
    Body(body): Body<PutAccount>,
) -> Answer<Response> {
    let write = params.expecting(expected);
    let written = control
        .put_account(&principal, id, body.spec.into(), write)
        .await?;
    let account = Account::from(written.value);
    Ok(versioned(put_status(written.created), account.version, &account))
}

/// Forget how an account is entered: our own credentials are used for it from then on.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}", operation_id = "deleteAccount", tag = "accounts",
    params(
        ("account" = String, Path, description = "The account's id, twelve digits"),
        WriteParams,
        ("If-Match" = Option<String>, Header, description = "The version that the caller has seen"),
    ),
    responses(
        (status = 200, description = "The account as it was", body = Account),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(control): State<Control>,
    Caller(principal): Caller,
    Path(id): Path<AccountId>,
    Query(params): Query<WriteParams>,
    IfMatch(expected): IfMatch,
) -> Answer<Json<Account>> {
    let write = params.expecting(expected);
    Ok(Json(control.delete_account(&principal, &id, write).await?.into()))
}
