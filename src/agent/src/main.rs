//! The `elbow-agent` binary.

use std::time::Duration;

use agent::Config;
use clap::Parser;
use runtime::Lifecycle;

/// How long streams and writes may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Config::refuse_unknown_variables(std::env::vars_os().map(|(key, _)| key))?;
    let config = Config::parse();
    let _tracing = runtime::telemetry::init(&config.log_level, config.log_format, config.otlp().as_ref())?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is already installed"))?;
    let lifecycle = Lifecycle::new();
    agent::start::start(config, &lifecycle.tasks()).await?;
    lifecycle.run(GRACE).await
}
