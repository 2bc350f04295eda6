//! What goes wrong with the database, in one enum.

use model::{ClusterId, Shard};

pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is known to be wrong with the request. Whether a write was committed is not known either; every write of
    /// this crate may be sent again.
    #[error("the database does not answer; the operation may be tried again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `found` = `None`: it does not exist.
    #[error("version {expected} was expected, but {}; read it again and decide anew", found_text(*.found))]
    Conflict { expected: i64, found: Option<i64> },
    #[error("{what} `{key}` does not exist")]
    NotFound { what: &'static str, key: String },
    /// A newer stream of the cluster was opened.
    #[error("a newer stream of cluster {cluster} has begun; this one's statements are not taken")]
    StaleEpoch { cluster: ClusterId },
    /// The database went back in time, and no stream was opened since.
    #[error("the database went back in time: the agent of cluster {cluster} is to state everything anew")]
    Forgotten { cluster: ClusterId },
    #[error("the lease of shard {shard} is no longer held; stop writing until it is leased again")]
    LeaseLost { shard: Shard },
    /// The ledger is not what the plan was made from.
    #[error("the ledger of {subject} changed since the plan was made; plan again")]
    PlanStale {
        /// The target group or security group.
        subject: String,
    },
    /// The plan was made before the pause, or what it writes is not of one that was.
    #[error("writing is paused; plan again")]
    Paused,
    #[error(
        "the name belongs to the cluster whose kube-system has UID {stored}, and this one's is {given}; register this \
         cluster by another name"
    )]
    OtherCluster { stored: String, given: String },
    /// What is there forbids it. The text is one sentence with the way out.
    #[error("{0}")]
    Constraint(String),
    /// A row that no version of this program can have written, or a newer one has.
    #[error(
        "`{table}.{column}` of `{key}` is not readable; repair the row, or run the version that wrote it: {reason}"
    )]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        key: String,
        reason: String,
    },
    #[error("the database's address is not usable; expected postgres://USER@HOST:PORT/DATABASE")]
    Address(#[source] sqlx::Error),
    #[error("the database's schema cannot be brought up to date")]
    Migration(#[source] Box<sqlx::migrate::MigrateError>),
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

fn found_text(found: Option<i64>) -> String {
    found.map_or_else(
        || "it does not exist".to_owned(),
        |found| format!("it has version {found}"),
    )
}

impl Error {
    /// Whether trying again, unchanged, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn not_found(what: &'static str, key: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what,
            key: key.to_string(),
        }
    }

    /// A short word for the metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Conflict { .. } => "conflict",
            Self::NotFound { .. } => "not_found",
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::Forgotten { .. } => "forgotten",
            Self::LeaseLost { .. } => "lease_lost",
            Self::PlanStale { .. } => "plan_stale",
            Self::Paused => "paused",
            Self::OtherCluster { .. } => "other_cluster",
            Self::Constraint(_) => "constraint",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Address(_) => "address",
            Self::Migration(_) => "migration",
            Self::Database(_) => "database",
        }
    }
}

/// SQLSTATE classes and codes that say something about the server's or the connection's state and nothing about the
/// statement (<https://www.postgresql.org/docs/15/errcodes-appendix.html>): connection exceptions, resources, operator
/// intervention, lock timeouts, and what the transaction door gave up retrying.
fn is_passing(code: &str) -> bool {
    ["08", "53", "57", "58"]
        .iter()
        .any(|class| code.starts_with(class))
        || code == "55P03"
        || is_contention(code)
}

/// Serialization failure, deadlock, and two writers that create the same row.
fn is_contention(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "23505")
}

/// Whether the transaction may simply be run again: Postgres says that it was rolled back.
pub(crate) fn lost_a_race(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| is_contention(&code))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let passing = match &error {
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                true
            }
            E::Database(error) => error.code().is_some_and(|code| is_passing(&code)),
            _ => false,
        };
        if passing {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Database(error)
        }
    }
}
