use std::time::Duration;

use clap::Args;

/// For how long the records for people are kept. They are forgotten in small batches.
#[derive(Debug, Args)]
pub(crate) struct Retention {
    /// Who changed what.
    #[arg(long = "retention-audit", env = "ELBOW_RETENTION_AUDIT", value_parser = humantime::parse_duration, default_value = "400d")]
    audit: Duration,
    /// Plans with what became of them; of each target group, the last 50 at most.
    #[arg(long = "retention-plans", env = "ELBOW_RETENTION_PLANS", value_parser = humantime::parse_duration, default_value = "90d")]
    plans: Duration,
    /// Events: how long somebody who follows them may be away and miss none.
    #[arg(long = "retention-events", env = "ELBOW_RETENTION_EVENTS", value_parser = humantime::parse_duration, default_value = "7d")]
    events: Duration,
}

impl From<Retention> for control::Retention {
    fn from(retention: Retention) -> Self {
        let Retention { audit, plans, events } = retention;
        Self { audit, plans, events }
    }
}
