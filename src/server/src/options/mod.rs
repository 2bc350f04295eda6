//! The command line: one struct per component. Every flag can be an environment variable; nothing unsafe is a default.

mod aws;
mod database;
mod guards;
mod listen;

pub(crate) use self::{aws::Aws, database::Database, guards::Guards, listen::Listen};

use std::{path::PathBuf, time::Duration};

use clap::Args;
use runtime::telemetry::LogFormat;

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(crate) database: Database,
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) aws: Aws,
    #[command(flatten)]
    pub(crate) guards: Guards,
    #[command(flatten)]
    pub(crate) replica: Replica,
    /// A file with a token `elbow_…` that is to be an admin's; its hash alone is stored.
    #[arg(long, env = "ELBOW_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// How often agents say that they live.
    #[arg(long, env = "ELBOW_HEARTBEAT", value_parser = humantime::parse_duration, default_value = "10s")]
    pub(crate) heartbeat: Duration,
    /// How long requests, streams and AWS calls under way may take once a stop was asked for.
    #[arg(long, env = "ELBOW_GRACE", value_parser = humantime::parse_duration, default_value = "20s")]
    pub(crate) grace: Duration,
    /// `text` or `json`.
    #[arg(long, env = "ELBOW_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// This process among its equals.
#[derive(Debug, Args)]
pub(crate) struct Replica {
    /// Tells replicas apart; without it, the host's name and a random word.
    #[arg(long, env = "ELBOW_REPLICA_ID")]
    replica_id: Option<String>,
    /// For how long a replica may write to an AWS account and region before it must renew that right.
    #[arg(long, env = "ELBOW_LEASE_TTL", value_parser = humantime::parse_duration, default_value = "10s")]
    pub(crate) lease_ttl: Duration,
}

impl Replica {
    pub(crate) fn id(&self) -> String {
        self.replica_id.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = if host.trim().is_empty() {
                "elbow"
            } else {
                host.trim()
            };
            format!("{host}-{:08x}", rand::random::<u32>())
        })
    }
}
