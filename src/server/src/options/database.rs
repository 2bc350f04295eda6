use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

/// Where the database is.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// postgres://USER@HOST:PORT/DATABASE
    #[arg(long = "database-url", env = "ELBOW_DATABASE_URL", hide_env_values = true)]
    url: SecretString,
    /// Connections of this process beside the one that listens.
    #[arg(
        long = "database-connections",
        env = "ELBOW_DATABASE_CONNECTIONS",
        default_value_t = 16
    )]
    connections: u32,
    /// How long one operation may take.
    #[arg(long = "database-timeout", env = "ELBOW_DATABASE_TIMEOUT", value_parser = humantime::parse_duration, default_value = "5s")]
    timeout: Duration,
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    pub(crate) fn pool(&self) -> store::Options {
        store::Options {
            max_connections: self.connections,
            timeout: self.timeout,
        }
    }
}
