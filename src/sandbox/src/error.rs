//! Why a part of the sandbox could not be started, stopped or asked.

use std::path::PathBuf;
use std::time::Duration;

/// What a launcher returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a launcher failed. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not on this machine.
    #[error("{tool} was not found: {remedy}")]
    Missing {
        /// The program.
        tool: &'static str,
        /// The command or setting that helps.
        remedy: String,
    },
    /// A file or folder could not be used.
    #[error("check {}: {action} failed", path.display())]
    File {
        /// What was tried, as a noun: "writing", "creating".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program could not be started at all.
    #[error("check that {} may be executed by this user", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program ended by itself although it was needed.
    #[error("{name} ended ({status}); the end of its log says why:\n{log}")]
    Ended {
        /// The process's name in the sandbox.
        name: String,
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {limit:?}; last seen: {last}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// The last answer, or a process's last log lines.
        last: String,
    },
    /// A signal could not be sent.
    #[error("the signal for {name} could not be sent; it may have ended already")]
    Signal {
        /// The process's name in the sandbox.
        name: String,
        /// The system's answer.
        source: nix::errno::Errno,
    },
    /// Postgres refused or did not answer.
    #[error("Postgres refused \"{statement}\"; read its log and the cause below")]
    Postgres {
        /// The statement, or "connect".
        statement: String,
        /// Postgres's answer.
        source: tokio_postgres::Error,
    },
    /// The simulated AWS could not be set up.
    #[error("the simulated AWS refused its set-up: {0}")]
    Aws(String),
    /// Elbow's own programs refused or did not answer.
    #[error("Elbow did not do what the sandbox asked: {0}")]
    Elbow(String),
    /// Something was asked of a server that somebody else runs.
    #[error("{what} needs a Postgres of the sandbox's own: unset ELBOW_TEST_DATABASE_URL")]
    NotOurs {
        /// What was asked.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("a certificate for {subject} could not be made; check the names that it is for")]
    Certificate {
        /// Whom the certificate was for.
        subject: String,
        /// The generator's answer.
        source: rcgen::Error,
    },
    /// The Kubernetes API refused a request of the launcher.
    #[error("the API server of {cluster} refused {action}; see the cause below and its log")]
    Kubernetes {
        /// The cluster.
        cluster: String,
        /// What was asked.
        action: String,
        /// The client's answer.
        source: Box<kube::Error>,
    },
    /// A kubeconfig that this crate wrote could not be read back.
    #[error("the kubeconfig of {cluster} cannot be used; remove KUBECONFIG overrides and try again")]
    Kubeconfig {
        /// The cluster.
        cluster: String,
        /// The client's answer.
        source: kube::config::KubeconfigError,
    },
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
