//! What a process tells of itself: logs, traces, and the registry of its metrics, which [`crate::admin`] serves.
//!
//! Metrics are structs that constructors take. Spans are `tracing`'s: they give log lines their context, and where an
//! OTLP endpoint is set they are sent there as OpenTelemetry traces.

mod trace;

use prometheus_client::{encoding::EncodeLabelSet, metrics::info::Info};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

pub use prometheus_client::registry::Registry;
pub use trace::{Otlp, Tracing, continue_trace, traceparent};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log stores.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is not a log format: use `text` or `json`")),
        }
    }
}

/// Which log lines and spans there are, such as `info` or `info,aws=debug`.
#[derive(Clone, Debug)]
pub struct LogLevel(String);

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!(
                "{error}: use a level such as `info`, or levels by crate such as `info,aws=debug`"
            )),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// The registry of a process of this version. Every name begins with `elbow_`.
pub fn registry(version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("elbow");
    registry.register(
        "build",
        "The version that runs",
        Info::new(BuildLabels { version }),
    );
    registry
}

/// Logs to standard error, and sends traces if `otlp` says where. Needs the async runtime. What is returned ends with the
/// process: it sends what is left.
pub fn init(level: &LogLevel, format: LogFormat, otlp: Option<&Otlp>) -> anyhow::Result<Tracing> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let tracing = otlp.map_or_else(|| Ok(Tracing::default()), Tracing::to)?;
    let set = tracing_subscriber::registry()
        .with(EnvFilter::builder().parse(&level.0)?)
        .with(lines)
        .with(tracing.layer())
        .try_init();
    // Only a second call can fail, and then logs go where the first one said.
    set.ok();
    Ok(tracing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_would_hide_everything_by_a_misspelling_is_refused() {
        for good in ["info", "warn,aws=debug", "info,h2=off"] {
            assert!(good.parse::<LogLevel>().is_ok(), "{good}");
        }
        for bad in ["info,aws=loud", "aws=deb ug"] {
            assert!(bad.parse::<LogLevel>().is_err(), "{bad}");
        }
    }
}
