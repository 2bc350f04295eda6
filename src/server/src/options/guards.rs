use clap::Args;
use jiff::SignedDuration;
use model::guard;

/// The numbers that guard removals.
#[derive(Debug, Args)]
pub(crate) struct Guards {
    /// How long an unproven absence must last before it counts.
    #[arg(long = "guard-hold-down", env = "ELBOW_GUARD_HOLD_DOWN", value_parser = duration, default_value = "5s")]
    hold_down: SignedDuration,
    /// The sliding window in which `--guard-unproven-percent` counts.
    #[arg(long = "guard-window", env = "ELBOW_GUARD_WINDOW", value_parser = duration, default_value = "60s")]
    window: SignedDuration,
    /// The share of a group's targets that one window may remove without proof; at least one.
    #[arg(long = "guard-unproven-percent", env = "ELBOW_GUARD_UNPROVEN_PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(0..=100))]
    unproven_percent: u8,
    /// The pause between waves of confirmed removals.
    #[arg(long = "guard-wave-interval", env = "ELBOW_GUARD_WAVE_INTERVAL", value_parser = duration, default_value = "5s")]
    wave_interval: SignedDuration,
    /// How long a cluster's confirmation of an absence counts.
    #[arg(long = "guard-confirmation-ttl", env = "ELBOW_GUARD_CONFIRMATION_TTL", value_parser = duration, default_value = "60s")]
    confirmation_ttl: SignedDuration,
    /// The share of a group's targets below which "not ready" alone never takes it.
    #[arg(long = "guard-not-ready-floor-percent", env = "ELBOW_GUARD_NOT_READY_FLOOR_PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    not_ready_floor_percent: u8,
    /// A cluster that was not heard of for so long is silent: nothing unproven is removed for it.
    #[arg(long = "guard-silent-after", env = "ELBOW_GUARD_SILENT_AFTER", value_parser = duration, default_value = "30s")]
    silent_after: SignedDuration,
    /// More than this share of the clusters, fallen silent together, freezes removals without proof everywhere.
    #[arg(long = "guard-fleet-percent", env = "ELBOW_GUARD_FLEET_PERCENT", default_value_t = 15, value_parser = clap::value_parser!(u8).range(0..=100))]
    fleet_percent: u8,
    /// … if they are at least so many.
    #[arg(
        long = "guard-fleet-least",
        env = "ELBOW_GUARD_FLEET_LEAST",
        default_value_t = 3
    )]
    fleet_least: u32,
    /// How far apart the moments may lie at which clusters fall silent together.
    #[arg(long = "guard-fleet-window", env = "ELBOW_GUARD_FLEET_WINDOW", value_parser = duration, default_value = "60s")]
    fleet_window: SignedDuration,
    /// How long an operator's release of a hold counts.
    #[arg(long = "guard-release-ttl", env = "ELBOW_GUARD_RELEASE_TTL", value_parser = duration, default_value = "10m")]
    release_ttl: SignedDuration,
    /// How much later than our own write AWS must be asked for its answer to count against it.
    #[arg(long = "guard-consistency-grace", env = "ELBOW_GUARD_CONSISTENCY_GRACE", value_parser = duration, default_value = "15s")]
    consistency_grace: SignedDuration,
    /// Targets that vanish twice within this time are somebody else's doing: nothing is removed until it is over.
    #[arg(long = "guard-contest-window", env = "ELBOW_GUARD_CONTEST_WINDOW", value_parser = duration, default_value = "1h")]
    contest_window: SignedDuration,
    /// How long new targets wait for the security-group rules that their binding asks for.
    #[arg(long = "guard-opening-wait", env = "ELBOW_GUARD_OPENING_WAIT", value_parser = duration, default_value = "15s")]
    opening_wait: SignedDuration,
    /// The window in which deletions of a cluster's TargetGroupBindings are counted: too many become one hold.
    #[arg(long = "guard-unbinding-window", env = "ELBOW_GUARD_UNBINDING_WINDOW", value_parser = duration, default_value = "60s")]
    unbinding_window: SignedDuration,
    /// The share of a cluster's TargetGroupBindings that one window may delete.
    #[arg(long = "guard-unbinding-percent", env = "ELBOW_GUARD_UNBINDING_PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(0..=100))]
    unbinding_percent: u8,
    /// As many deletions are always taken at their word.
    #[arg(
        long = "guard-unbinding-always-meant",
        env = "ELBOW_GUARD_UNBINDING_ALWAYS_MEANT",
        default_value_t = 3
    )]
    unbinding_always_meant: u32,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    SignedDuration::try_from(duration).map_err(|error| error.to_string())
}

impl From<Guards> for guard::Guards {
    fn from(guards: Guards) -> Self {
        let Guards {
            hold_down,
            window,
            unproven_percent,
            wave_interval,
            confirmation_ttl,
            not_ready_floor_percent,
            silent_after,
            fleet_percent,
            fleet_least,
            fleet_window,
            release_ttl,
            consistency_grace,
            contest_window,
            opening_wait,
            unbinding_window,
            unbinding_percent,
            unbinding_always_meant,
        } = guards;
        Self {
            hold_down,
            window,
            unproven_percent,
            wave_interval,
            confirmation_ttl,
            not_ready_floor_percent,
            silent_after,
            fleet_percent,
            fleet_least,
            fleet_window,
            release_ttl,
            consistency_grace,
            contest_window,
            opening_wait,
            unbinding: guard::Unbinding {
                window: unbinding_window,
                percent: unbinding_percent,
                always_meant: unbinding_always_meant,
            },
        }
    }
}
