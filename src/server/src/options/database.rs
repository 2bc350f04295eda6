use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

/// Where the database is.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// postgres://USER@HOST:PORT/DATABASE
    #[arg(long, env = "ELBOW_DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
    /// Connections of this process beside the one that listens.
    #[arg(long, env = "ELBOW_DATABASE_CONNECTIONS", default_value_t = 16)]
    database_connections: u32,
    /// How long one operation may take.
    #[arg(long, env = "ELBOW_DATABASE_TIMEOUT", value_parser = humantime::parse_duration, default_value = "5s")]
    database_timeout: Duration,
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        self.database_url.expose_secret()
    }

    pub(crate) fn pool(&self) -> store::Options {
        store::Options {
            max_connections: self.database_connections,
            timeout: self.database_timeout,
        }
    }
}
