//! Reading requests: whatever cannot be read becomes a problem that names what and where.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, RawPathParams, Request, path::ErrorKind, rejection::PathRejection,
    },
    http::{StatusCode, header, request::Parts},
};
use control::{Expected, Kind as Refusal, Principal};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::BODY_LIMIT;
use crate::problem::{Kind, Problem};

/// A JSON body. Unknown fields are an error where `T` denies them.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is(&request, "application/json") {
            let detail = "the body must be JSON: send `content-type: application/json`";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        read(&bytes(request, state).await?).map(Self)
    }
}

pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail =
                format!("a body has at most {BODY_LIMIT} bytes: send what it holds in several requests");
            return Problem::new(Kind::TooLarge, detail);
        }
        Problem::new(Kind::Malformed, rejection.body_text())
    })
}

/// Whether the body is said to be of this media type.
pub(super) fn is(request: &Request, media_type: &str) -> bool {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(media_type)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // What is no JSON is told as that, even where its beginning could be judged as a value.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| {
        Problem::new(
            Kind::Malformed,
            format!("the body is not one JSON value: {error}"),
        )
    })?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let field = path.trim_start_matches('.');
        let error = error.into_inner();
        let (mut detail, place) = (
            error.to_string(),
            format!(" at line {} column {}", error.line(), error.column()),
        );
        // Who wrote YAML has never seen that line.
        if !field.is_empty() && detail.ends_with(&place) {
            detail.truncate(detail.len() - place.len());
        }
        Problem::new(Kind::Refused(Refusal::Invalid), detail).at(field)
    })
}

/// Path parameters.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(failed)) => Err(match failed.into_kind() {
                ErrorKind::DeserializeError { key, message, .. } => {
                    Problem::new(Kind::Refused(Refusal::Invalid), message).at(key)
                }
                // axum does not say which, since there is one alone.
                ErrorKind::Message(message) => {
                    let names = RawPathParams::from_request_parts(parts, state).await;
                    let name = names
                        .ok()
                        .and_then(|names| names.iter().next().map(|(name, _)| name.to_owned()));
                    Problem::new(Kind::Refused(Refusal::Invalid), message).at(name.unwrap_or_default())
                }
                other => Problem::new(Kind::Malformed, other.to_string()),
            }),
            Err(rejection) => Err(Problem::new(Kind::Malformed, rejection.body_text())),
        }
    }
}

/// Query parameters. Unknown ones are an error where `T` denies them: a misspelt `dryRun` must not write.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new(Kind::Malformed, rejection.body_text()))
    }
}

/// `If-Match`: the version that the caller decided on.
pub(super) struct IfMatch(pub(super) Expected);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let malformed = || {
            let detail =
                "If-Match must be one entity tag as an answer's ETag header carries it, e.g. `\"3\"`, or `*`";
            Problem::new(Kind::Malformed, detail).at("If-Match")
        };
        let expected = match (values.next(), values.next()) {
            (None, _) => Expected::Anything,
            (Some(value), None) => match value.to_str().map_err(|_| malformed())?.trim() {
                "*" => Expected::Something,
                tag => {
                    let quoted = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    Expected::Version(
                        quoted
                            .and_then(|version| version.parse().ok())
                            .ok_or_else(malformed)?,
                    )
                }
            },
            (Some(_), Some(_)) => return Err(malformed()),
        };
        Ok(Self(expected))
    }
}

/// The authenticated caller; [`super::auth`] has put it there.
pub(super) struct Caller(pub(super) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>().cloned();
        principal
            .map(Self)
            .ok_or_else(|| control::Error::Unauthenticated.into())
    }
}
