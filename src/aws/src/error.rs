//! Why AWS could not be set up or read.

use std::{io, path::PathBuf};

use model::condition::{Problem, Reason};

use crate::{Failure, metrics::Action};

/// Why AWS could not be set up or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CA file cannot be read, or is none.
    #[error("the AWS CA file {} cannot be used: name a file with PEM certificates", path.display())]
    CaFile {
        /// As it was set.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TLS settings make no client.
    #[error("the TLS settings for AWS cannot be used: check the CA file")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A read failed.
    #[error(transparent)]
    Read(#[from] Failure),
    /// An answer that lacks what AWS documents, or has a value that this version cannot read.
    #[error("AWS's answer to {action} cannot be used, {what}: check the endpoint, or update Elbow")]
    Answer {
        /// The call.
        action: Action,
        /// What is wrong with the answer.
        what: String,
    },
}

impl Error {
    /// The error in the words of a condition.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Read(failure) => failure.problem(),
            Self::CaFile { .. } | Self::Tls(_) | Self::Answer { .. } => {
                Problem::new(Reason::AwsError, self.to_string())
            }
        }
    }

    pub(crate) fn answer(action: Action, what: impl Into<String>) -> Self {
        Self::Answer {
            action,
            what: what.into(),
        }
    }
}
