use clap::Args;
use jiff::SignedDuration;
use model::guard;

/// The numbers that guard removals.
#[derive(Debug, Args)]
pub(crate) struct Guards {
    /// How long an unproven absence must last before it counts.
    #[arg(long, env = "ELBOW_GUARD_HOLD_DOWN", value_parser = duration, default_value = "5s")]
    guard_hold_down: SignedDuration,
    /// The sliding window in which `--guard-unproven-percent` counts.
    #[arg(long, env = "ELBOW_GUARD_WINDOW", value_parser = duration, default_value = "60s")]
    guard_window: SignedDuration,
    /// The share of a group's targets that one window may remove without proof; at least one.
    #[arg(long, env = "ELBOW_GUARD_UNPROVEN_PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(0..=100))]
    guard_unproven_percent: u8,
    /// The pause between waves of confirmed removals.
    #[arg(long, env = "ELBOW_GUARD_WAVE_INTERVAL", value_parser = duration, default_value = "5s")]
    guard_wave_interval: SignedDuration,
    /// How long a cluster's confirmation of an absence counts.
    #[arg(long, env = "ELBOW_GUARD_CONFIRMATION_TTL", value_parser = duration, default_value = "60s")]
    guard_confirmation_ttl: SignedDuration,
    /// The share of a group's targets below which "not ready" alone never takes it.
    #[arg(long, env = "ELBOW_GUARD_NOT_READY_FLOOR_PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    guard_not_ready_floor_percent: u8,
    /// A cluster that was not heard of for so long is silent: nothing unproven is removed for it.
    #[arg(long, env = "ELBOW_GUARD_SILENT_AFTER", value_parser = duration, default_value = "30s")]
    guard_silent_after: SignedDuration,
    /// How long an operator's release of a hold counts.
    #[arg(long, env = "ELBOW_GUARD_RELEASE_TTL", value_parser = duration, default_value = "10m")]
    guard_release_ttl: SignedDuration,
    /// How much later than our own write AWS must be asked for its answer to count against it.
    #[arg(long, env = "ELBOW_GUARD_CONSISTENCY_GRACE", value_parser = duration, default_value = "15s")]
    guard_consistency_grace: SignedDuration,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    SignedDuration::try_from(duration).map_err(|error| error.to_string())
}

impl From<Guards> for guard::Guards {
    fn from(guards: Guards) -> Self {
        let Guards {
            guard_hold_down: hold_down,
            guard_window: window,
            guard_unproven_percent: unproven_percent,
            guard_wave_interval: wave_interval,
            guard_confirmation_ttl: confirmation_ttl,
            guard_not_ready_floor_percent: not_ready_floor_percent,
            guard_silent_after: silent_after,
            guard_release_ttl: release_ttl,
            guard_consistency_grace: consistency_grace,
        } = guards;
        Self {
            hold_down,
            window,
            unproven_percent,
            wave_interval,
            confirmation_ttl,
            not_ready_floor_percent,
            silent_after,
            release_ttl,
            consistency_grace,
        }
    }
}
