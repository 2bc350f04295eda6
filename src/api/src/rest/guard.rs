//! What ends a request from the outside: time, a panic, a method that the resource does not have.

use std::{any::Any, time::Duration};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use control::Kind as Refusal;

use crate::problem::{Kind, Problem};

/// Above the longest `wait`.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) async fn time_out(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let detail = format!("the request took longer than {} s", REQUEST_TIMEOUT.as_secs());
            Problem::new(Kind::Timeout, detail).into_response()
        })
}

/// The panic hook has printed where and why.
pub(super) fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    Problem::new(
        Kind::Refused(Refusal::Internal),
        "an error of this server, not of the request",
    )
    .into_response()
}

pub(super) async fn method_not_allowed(request: Request) -> Response {
    let detail = format!(
        "`{}` does not take {}; the header Allow says what it takes",
        request.uri().path(),
        request.method()
    );
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}
