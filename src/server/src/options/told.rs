use clap::Args;
use runtime::telemetry::{self, LogFormat, LogLevel, Otlp, Tracing};

use super::Replica;

/// What the process tells of itself.
#[derive(Debug, Args)]
pub(crate) struct Told {
    /// `text` or `json`.
    #[arg(long, env = "ELBOW_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Which log lines and spans there are: a level, or levels by crate such as `info,aws=debug`.
    #[arg(long, env = "ELBOW_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// Where traces are sent: an OTLP collector over gRPC, http://HOST:4317. Without it, none are. What share of them is
    /// said by `OTEL_TRACES_SAMPLER`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
}

impl Told {
    /// Begins to tell.
    pub(crate) fn init(self, replica: &Replica) -> anyhow::Result<Tracing> {
        let Self {
            log_format,
            log_level,
            otlp_endpoint,
        } = self;
        let otlp = otlp_endpoint
            .filter(|endpoint| !endpoint.is_empty())
            .map(|endpoint| Otlp {
                endpoint,
                service: "elbow-server",
                version: env!("CARGO_PKG_VERSION"),
                instance: replica.name(),
            });
        telemetry::init(&log_level, log_format, otlp.as_ref())
    }
}
