//! What goes wrong in a use case, in one enum; `api` maps its [`Kind`] to HTTP and gRPC.

use model::{Invalid, Name};

/// Why a use case was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no valid token was given: send `authorization: Bearer elbow_…`, as `elbow-server token create` prints it"
    )]
    Unauthenticated,
    #[error("`{principal}` may not {action}: it needs a token of the role {needed}")]
    Forbidden {
        principal: String,
        action: &'static str,
        needed: &'static str,
    },
    #[error("`{principal}` may not {action} there: its token is for other clusters or namespaces")]
    OutOfScope { principal: String, action: &'static str },
    /// An agent that says another name than its token's.
    #[error(
        "the token belongs to cluster `{token_of}`, but the agent says that it is `{claimed}`: give the agent the \
         token of `{claimed}`, or set its cluster name to `{token_of}`"
    )]
    WrongCluster { token_of: Name, claimed: Name },
    #[error("{kind} `{name}` does not exist")]
    NotFound { kind: &'static str, name: String },
    /// Something in the request is wrong. `field` is a path such as `spec.arn`.
    #[error("{message}")]
    Invalid { field: Option<String>, message: String },
    /// The request is sound, but what is there forbids it.
    #[error("{0}")]
    Conflict(String),
    #[error(
        "the expected version is {expected}, but the resource has version {actual}: read it again and decide anew"
    )]
    VersionMismatch { expected: i64, actual: i64 },
    #[error(
        "the resource does not exist, but the request expects that it does: leave If-Match out to create it"
    )]
    Absent,
    #[error("the agent speaks protocol {given}, but this server understands {oldest} to {newest}: {advice}")]
    Protocol {
        given: u32,
        oldest: u32,
        newest: u32,
        advice: &'static str,
    },
    /// A newer stream of the same cluster exists; this one's statements are not taken.
    #[error("a newer stream of this cluster has begun")]
    Superseded,
    /// No other agent is in the way; this one's stream is of before the database went back in time.
    #[error("the database went back in time: everything is to be stated anew")]
    Forgotten,
    #[error("the database does not answer: try again")]
    Unavailable(#[source] store::Error),
    #[error("an error of this server, not of the request; its log says more")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The classes of [`Error`] that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Unauthenticated,
    Forbidden,
    NotFound,
    Invalid,
    Conflict,
    VersionMismatch,
    Protocol,
    Superseded,
    Unavailable,
    Internal,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Invalid,
        Self::Conflict,
        Self::VersionMismatch,
        Self::Protocol,
        Self::Superseded,
        Self::Unavailable,
        Self::Internal,
    ];
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::Forbidden { .. } | Self::OutOfScope { .. } | Self::WrongCluster { .. } => Kind::Forbidden,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Invalid { .. } => Kind::Invalid,
            Self::Conflict(_) => Kind::Conflict,
            Self::VersionMismatch { .. } | Self::Absent => Kind::VersionMismatch,
            Self::Protocol { .. } => Kind::Protocol,
            Self::Superseded | Self::Forgotten => Kind::Superseded,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// The field of the request that is wrong.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => field.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn not_found(kind: &'static str, name: &impl ToString) -> Self {
        Self::NotFound {
            kind,
            name: name.to_string(),
        }
    }

    pub(crate) fn at(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: Some(field.into()),
            message: message.into(),
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid {
            field: None,
            message: invalid.to_string(),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        match error {
            E::Unavailable(_) => Self::Unavailable(error),
            E::Conflict {
                expected,
                found: Some(actual),
            } => Self::VersionMismatch { expected, actual },
            E::Conflict { found: None, .. } => Self::Absent,
            E::NotFound { what, key } => Self::NotFound {
                kind: what,
                name: key,
            },
            E::StaleEpoch { .. } => Self::Superseded,
            E::Forgotten { .. } => Self::Forgotten,
            E::Constraint(message) => Self::Conflict(message),
            E::OtherCluster { .. } => Self::Conflict(error.to_string()),
            // No use case leases a shard or applies a plan.
            E::LeaseLost { .. }
            | E::PlanStale { .. }
            | E::Paused
            | E::Inconsistent { .. }
            | E::Address(_)
            | E::Migration(_)
            | E::Database(_) => Self::Internal(Box::new(error)),
        }
    }
}
