//! REST: `/v1`, as OpenAPI says it.

mod auth;
mod extract;
mod guard;
mod manifest;
pub mod openapi;
mod resource;
mod route;
pub mod server;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use control::Control;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};

use crate::problem::{Kind, Problem};

/// No request body is longer.
const BODY_LIMIT: usize = 1024 * 1024;

/// The whole REST API over `control`.
pub fn router(control: Control) -> Router {
    let (routes, document) = openapi::build();
    let document = axum::Json(document);
    let authenticated = from_fn_with_state(control.clone(), auth::authenticate);
    let outside = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(from_fn(guard::time_out));
    routes
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || async move { document }),
        )
        // Before the routes are looked up nobody is asked who they are: what does not exist is no secret.
        .route_layer(authenticated)
        // What is explained is no secret either.
        .merge(crate::runbook::routes())
        .method_not_allowed_fallback(guard::method_not_allowed)
        .fallback(no_such_route)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(outside)
        .with_state(control)
}

/// An event in the form that both transports tell.
pub(crate) fn event(event: control::Event) -> impl serde::Serialize {
    resource::operate::Event::from(event)
}

async fn no_such_route(request: Request) -> Response {
    let detail = format!(
        "there is no `{}`; GET /v1/openapi.json says what there is",
        request.uri().path()
    );
    Problem::new(Kind::NoSuchRoute, detail).into_response()
}

fn span(request: &Request) -> tracing::Span {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    // The query is left out: it is the caller's text, and the path names the resource.
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}
