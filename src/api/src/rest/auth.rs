//! Who calls: a bearer token becomes a [`control::Principal`]. What they may do is decided in control.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use control::{Control, Error, Principal, Token};

use crate::problem::Problem;

pub(super) async fn authenticate(
    State(control): State<Control>,
    mut request: Request,
    next: Next,
) -> Response {
    match principal(&control, request.headers()).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn principal(control: &Control, headers: &HeaderMap) -> Result<Principal, Error> {
    let header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (scheme, token) = header.split_once(' ').ok_or(Error::Unauthenticated)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::Unauthenticated);
    }
    let token = Token::parse(token.trim()).ok_or(Error::Unauthenticated)?;
    control.authenticate(&token).await
}
