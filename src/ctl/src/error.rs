//! What a command ends with, told on one or two lines, and its exit code.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service refused.
    #[error("{0}")]
    Problem(Problem),
    /// Something about the command line, a file or the configuration.
    #[error("{0}")]
    Usage(String),
    /// What is there already is something else.
    #[error("{0}")]
    Conflict(String),
    #[error("{kind} `{name}` does not exist")]
    NotFound { kind: &'static str, name: String },
    #[error("nothing is known of {subject}: no binding's Service has it, and it is no target of Elbow's")]
    NothingKnown { subject: String },
    #[error(
        "{url} cannot be reached: {cause}\nset --url or ELBOW_URL, and --ca-file if its certificate is your own"
    )]
    Unreachable { url: String, cause: String },
    #[error("{0}")]
    InVain(String),
    #[error("{what}: {source}")]
    File {
        what: String,
        #[source]
        source: std::io::Error,
    },
    /// The answer is none that this program understands.
    #[error("the answer to {request} is not understood: {why}\nis {url} the address of Elbow's REST API?")]
    Answer {
        request: String,
        url: String,
        why: String,
    },
    /// Several things were asked for, and some failed; each was told.
    #[error("{failed} of {all} failed")]
    Some { failed: usize, all: usize, code: u8 },
}

/// RFC 9457, as the service sends it.
#[derive(Debug, Deserialize)]
pub struct Problem {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) field: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.detail),
            None => write!(f, "{}: {}", self.title.to_lowercase(), self.detail),
        }
    }
}

impl Error {
    /// What the process ends with; `elbow --help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.exit_code(),
            Self::NotFound { .. } | Self::NothingKnown { .. } => 3,
            Self::Conflict(_) => 4,
            Self::Unreachable { .. } => 6,
            Self::InVain(_) => 7,
            Self::Usage(_) => 2,
            Self::File { .. } | Self::Answer { .. } => 1,
            Self::Some { code, .. } => *code,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::File { what, source }
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == StatusCode::FORBIDDEN.as_u16())
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.exit_code() == 3
    }
}

impl Problem {
    fn exit_code(&self) -> u8 {
        match StatusCode::from_u16(self.status).unwrap_or_default() {
            StatusCode::NOT_FOUND => 3,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => 4,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 5,
            status if status.is_server_error() => 6,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, field: Option<&str>) -> Error {
        Error::Problem(Problem {
            title: "Invalid request".to_owned(),
            status,
            detail: "why and the way out".to_owned(),
            field: field.map(str::to_owned),
        })
    }

    #[test]
    fn a_problem_names_the_field_first() {
        assert_eq!(
            problem(422, Some("spec.mode")).to_string(),
            "spec.mode: why and the way out"
        );
        assert_eq!(
            problem(422, None).to_string(),
            "invalid request: why and the way out"
        );
    }

    #[test]
    fn the_exit_code_says_what_kind_of_failure_it_was() {
        for (status, code) in [
            (422, 1),
            (400, 1),
            (404, 3),
            (409, 4),
            (412, 4),
            (401, 5),
            (403, 5),
            (503, 6),
        ] {
            assert_eq!(problem(status, None).exit_code(), code, "{status}");
        }
    }
}
