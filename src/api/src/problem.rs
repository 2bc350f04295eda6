//! RFC 9457 problems: the one form in which REST says what went wrong, and the one table from error kind to HTTP status,
//! problem type and gRPC code.

use std::error::Error as _;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{Error, Kind as Refusal};
use serde::Serialize;
use tonic::Code;
use utoipa::ToSchema;

/// Everything that can go wrong with a call: what the use cases refuse, and what is wrong before one is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Refused(Refusal),
    /// The request cannot be read: no JSON, no UTF-8, an unknown query parameter.
    Malformed,
    NoSuchRoute,
    MethodNotAllowed,
    UnsupportedMediaType,
    TooLarge,
    Timeout,
}

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let transport = [
            Self::Malformed,
            Self::NoSuchRoute,
            Self::MethodNotAllowed,
            Self::UnsupportedMediaType,
            Self::TooLarge,
            Self::Timeout,
        ];
        Refusal::ALL.into_iter().map(Self::Refused).chain(transport)
    }

    /// The kind of a problem of this type.
    pub(crate) fn of_type(kind: &str) -> Option<Self> {
        let slug = kind.strip_prefix("/problems/")?;
        Self::all().find(|kind| kind.row().slug == slug)
    }

    /// The table. Types are API: they are never renamed.
    pub fn row(self) -> Row {
        let (status, slug, title, code) = match self {
            Self::Refused(Refusal::Unauthenticated) => {
                (401, "unauthenticated", "Not authenticated", Code::Unauthenticated)
            }
            Self::Refused(Refusal::Forbidden) => (403, "forbidden", "Not permitted", Code::PermissionDenied),
            Self::Refused(Refusal::NotFound) => (404, "not-found", "Not found", Code::NotFound),
            Self::Refused(Refusal::Invalid) => (422, "invalid", "Invalid request", Code::InvalidArgument),
            Self::Refused(Refusal::Conflict) => (409, "conflict", "Conflict", Code::FailedPrecondition),
            Self::Refused(Refusal::VersionMismatch) => {
                (412, "version-mismatch", "Version mismatch", Code::Aborted)
            }
            Self::Refused(Refusal::Protocol) => (
                426,
                "protocol",
                "Protocol not understood",
                Code::FailedPrecondition,
            ),
            Self::Refused(Refusal::Superseded) => {
                (409, "superseded", "Superseded by a newer stream", Code::Aborted)
            }
            Self::Refused(Refusal::Unavailable) => (503, "unavailable", "Unavailable", Code::Unavailable),
            Self::Refused(Refusal::Internal) => (500, "internal", "Internal error", Code::Internal),
            Self::Malformed => (400, "malformed", "Malformed request", Code::InvalidArgument),
            Self::NoSuchRoute => (404, "no-such-route", "No such route", Code::Unimplemented),
            Self::MethodNotAllowed => (
                405,
                "method-not-allowed",
                "Method not allowed",
                Code::Unimplemented,
            ),
            Self::UnsupportedMediaType => (
                415,
                "unsupported-media-type",
                "Unsupported media type",
                Code::InvalidArgument,
            ),
            Self::TooLarge => (413, "too-large", "Request too large", Code::ResourceExhausted),
            Self::Timeout => (503, "timeout", "Timed out", Code::DeadlineExceeded),
        };
        let status = StatusCode::from_u16(status).expect("the table holds valid statuses");
        Row {
            status,
            slug,
            title,
            code,
        }
    }
}

/// How one [`Kind`] is told.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub status: StatusCode,
    /// The last segment of the problem's `type`.
    pub slug: &'static str,
    pub title: &'static str,
    pub code: Code,
}

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A stable path that names the kind of problem, e.g. `/problems/not-found`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, and the way out.
    detail: String,
    /// The field that is wrong, as a path such as `spec.arn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let Row {
            status, slug, title, ..
        } = kind.row();
        let kind = format!("/problems/{slug}");
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
        }
    }

    pub(crate) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field| !field.is_empty());
        self
    }

    /// The stable type, e.g. `/problems/not-found`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// Logs what the caller cannot mend. The one place where such an error of a use case is logged.
pub(crate) fn log(error: &Error) {
    if matches!(error.kind(), Refusal::Unavailable | Refusal::Internal) {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = chain, "a request failed");
    }
}

impl Problem {
    /// Something that is wrong with what was declared.
    pub(crate) fn of_spec(problem: model::condition::Problem) -> Self {
        let model::condition::Problem {
            reason: _,
            field,
            message,
        } = problem;
        Self::new(Kind::Refused(Refusal::Invalid), message).at(field.unwrap_or_default())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        log(&error);
        let problem = Self::new(Kind::Refused(error.kind()), error.to_string());
        problem.at(error.field().unwrap_or_default())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("the table holds valid statuses");
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_type_an_error_status_and_an_error_code() {
        let mut slugs = HashSet::new();
        for kind in Kind::all() {
            let Row {
                status,
                slug,
                title,
                code,
            } = kind.row();
            assert!(slugs.insert(slug), "{slug} is used twice");
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert_ne!(code, Code::Ok, "{kind:?}");
            assert!(!title.is_empty());
        }
        assert_eq!(slugs.len(), Refusal::ALL.len() + 6);
    }

    #[tokio::test]
    async fn every_kind_is_answered_as_problem_json() {
        for kind in Kind::all() {
            let response = Problem::new(kind, "why").at("spec.x").into_response();
            assert_eq!(response.status(), kind.row().status);
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["type"], format!("/problems/{}", kind.row().slug));
            assert_eq!(body["status"], kind.row().status.as_u16());
            assert_eq!(body["field"], "spec.x");
        }
    }
}
