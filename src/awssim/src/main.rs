//! The `awssim` binary.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use awssim::{ClockMode, Fixture, Latency, Settings, Simulator, Throttling, Tls};
use clap::Parser;

const AFTER_HELP: &str = "\
Point an SDK at it by its endpoint URL; any access key and secret do. The region and the service come from the
signature's scope, the account from the access key (twelve digits are that account).

Admin API on the same port, JSON:
  GET|PUT|PATCH /_awssim/settings        quotas, buckets, latency, health timing, page sizes
  GET|PUT       /_awssim/clock           {\"mode\":\"real\"} or {\"mode\":\"manual\"}
  POST          /_awssim/clock/advance   {\"by\":\"5s\"}
  GET|DELETE    /_awssim/journal         ?since=N&wait=5s&action=RegisterTargets
  GET           /_awssim/counters
  GET|POST|DELETE /_awssim/faults[/ID]   {\"when\":{\"action\":\"RegisterTargets\",\"nth\":1},\"fault\":{\"kind\":\"throttle\"}}
  PUT           /_awssim/accounts        {\"AKIAEXAMPLE\":\"111122223333\"}
  PUT           /_awssim/roles           {\"arn:aws:iam::111122223333:role/x\":{\"external_id\":\"y\"}}
  PUT           /_awssim/policies        {\"AKIAEXAMPLE\":{\"Version\":\"2012-10-17\",\"Statement\":[…]}}
  POST          /_awssim/fixtures        VPCs, subnets, instances, target groups, load balancers
  POST          /_awssim/drift           {\"do\":\"remove_targets\",…}
  GET           /_awssim/target-groups, /_awssim/targets?arn=…
  POST          /_awssim/reset
The README of the crate describes each.";

/// An AWS (ELBv2, EC2, STS) that speaks the real wire protocol on loopback.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "AWSSIM_LISTEN", default_value = "127.0.0.1:4570")]
    listen: SocketAddr,
    /// Account of access keys that nothing is known of.
    #[arg(long, env = "AWSSIM_ACCOUNT", default_value = "111122223333")]
    account: String,
    /// Settings as a JSON file, as the admin API takes them.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Fixture to load at the start, a JSON file; may be given several times.
    #[arg(long)]
    fixture: Vec<PathBuf>,
    /// Switch request limits off.
    #[arg(long)]
    no_throttling: bool,
    /// Hold every answer back for this long, such as 50ms.
    #[arg(long, value_parser = humantime::parse_duration)]
    latency: Option<Duration>,
    /// Let simulated time stand still until it is advanced.
    #[arg(long)]
    manual_clock: bool,
    /// Make ids and random choices the same in every run.
    #[arg(long)]
    seed: Option<u64>,
    /// Certificate chain as a PEM file; serves TLS together with --tls-key.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key as a PEM file.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut settings: Settings = arguments
        .settings
        .as_deref()
        .map(read)
        .transpose()?
        .unwrap_or_default();
    if arguments.no_throttling {
        settings.throttling = Throttling::off();
    }
    if let Some(latency) = arguments.latency {
        settings.latency.default = Latency::fixed(latency);
    }
    let mut builder = Simulator::builder()
        .settings(settings)
        .default_account(arguments.account);
    if arguments.manual_clock {
        builder = builder.clock(ClockMode::Manual { at: None });
    }
    if let Some(seed) = arguments.seed {
        builder = builder.seed(seed);
    }
    if let (Some(cert), Some(key)) = (arguments.tls_cert, arguments.tls_key) {
        builder = builder.tls(Tls { cert, key });
    }
    let running = builder.start(arguments.listen).await?;
    for path in &arguments.fixture {
        let fixture: Fixture = read(path)?;
        running
            .handle()
            .load(&fixture)
            .with_context(|| format!("loading {}", path.display()))?;
    }
    println!("awssim listens on {}", running.url());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    running.stop().await;
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: impl AsRef<std::path::Path>) -> anyhow::Result<T> {
    let path = path.as_ref();
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))
}
