//! The command line: one struct per component. Every flag can be an environment variable; nothing unsafe is a default.

mod aws;
mod database;
mod guards;
mod listen;
mod retention;
mod told;

pub(crate) use self::{
    aws::Aws, database::Database, guards::Guards, listen::Listen, retention::Retention, told::Told,
};

use std::{path::PathBuf, time::Duration};

use clap::Args;

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
    pub(crate) retention: Retention,
    #[command(flatten)]
    pub(crate) replica: Replica,
    /// A file with a token `elbow_…` that is to be an admin's; its hash alone is stored. Without it, and while there is no
    /// admin, a start makes one and prints its token, once.
    #[arg(long, env = "ELBOW_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// How often agents say that they live.
    #[arg(long, env = "ELBOW_HEARTBEAT", value_parser = humantime::parse_duration, default_value = "10s")]
    pub(crate) heartbeat: Duration,
    /// How long requests, streams and AWS calls under way may take once a stop was asked for.
    #[arg(long, env = "ELBOW_GRACE", value_parser = humantime::parse_duration, default_value = "20s")]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) told: Told,
}

/// This process among its equals.
#[derive(Debug, Args)]
pub(crate) struct Replica {
    /// Names this replica to people; without it, the host's name. Each process adds a word of its own.
    #[arg(long = "replica-id", env = "ELBOW_REPLICA_ID")]
    id: Option<String>,
    /// For how long a replica may write to an AWS account and region before it must renew that right. After a crash,
    /// another replica waits this long.
    #[arg(long, env = "ELBOW_LEASE_TTL", value_parser = humantime::parse_duration, default_value = "6s")]
    lease_ttl: Duration,
    /// How often all target groups are looked at, even if nobody woke them.
    #[arg(long, env = "ELBOW_SWEEP", value_parser = humantime::parse_duration, default_value = "30s")]
    sweep: Duration,
    /// How old what AWS said may grow before it is asked again.
    #[arg(long, env = "ELBOW_OBSERVE_EVERY", value_parser = humantime::parse_duration, default_value = "2m")]
    observe_every: Duration,
    /// The same of a target group while a pod with a readiness gate, or old targets that others replace, wait for healthy
    /// ones. Such reads take at most half of the budget.
    #[arg(long, env = "ELBOW_OBSERVE_WAITING_EVERY", value_parser = humantime::parse_duration, default_value = "5s")]
    observe_waiting_every: Duration,
    /// How many ingress rules AWS lets a security group have: its quota "Inbound or outbound rules per security group".
    #[arg(long, env = "ELBOW_RULES_PER_SECURITY_GROUP", default_value_t = 60)]
    rules_per_security_group: usize,
}

/// Renewals in the time of a lease.
const RENEWALS: u32 = 4;

impl Replica {
    /// What people call it.
    pub(crate) fn name(&self) -> String {
        self.id.clone().unwrap_or_else(host)
    }

    pub(crate) fn settings(
        self,
        attempt_timeout: Duration,
        guards: model::guard::Guards,
    ) -> anyhow::Result<reconcile::Settings> {
        let Self {
            id: _,
            lease_ttl,
            sweep,
            observe_every,
            observe_waiting_every,
            rules_per_security_group,
        } = self;
        let lease_renewal = lease_ttl / RENEWALS;
        // A call starts only if its timeout fits into what is left of the lease.
        anyhow::ensure!(
            attempt_timeout + lease_renewal * 2 <= lease_ttl,
            "--lease-ttl leaves no room for an AWS call: it must be at least twice --aws-attempt-timeout"
        );
        // A restarted process is another holder: what the former one had under way is fenced like anybody's.
        let replica = format!("{}/{:08x}", self.name(), rand::random::<u32>());
        Ok(reconcile::Settings {
            lease_ttl,
            lease_renewal,
            attempt_timeout,
            sweep,
            observe_every,
            observe_waiting_every,
            rules_per_security_group,
            guards,
            ..reconcile::Settings::new(replica)
        })
    }
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() {
        "elbow".to_owned()
    } else {
        host.trim().to_owned()
    }
}
