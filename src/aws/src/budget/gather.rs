//! How long changes gather before a call, so that one call carries many.
//!
//! Two things make them gather, and the longer wait counts:
//! - *scarcity*: the emptier the shard's bucket, the longer everybody gathers; a full bucket makes nobody wait;
//! - *pace*: a target group that has just made calls gathers, one that was quiet goes at once. A rolling restart is
//!   hundreds of changes in one group, and would otherwise spend the account's whole budget on calls of one target.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::Gather;

/// The wait that a bucket at `level` (0 to 1) asks for.
pub(super) fn scarcity(level: f64, settings: &Gather) -> Duration {
    let missing = ((settings.full_above - level) / settings.full_above).clamp(0.0, 1.0);
    settings.when_empty.mul_f64(missing * missing)
}

/// The calls that one target group may make at present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    calls: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn rested(settings: &Gather, now: Instant) -> Self {
        Self {
            calls: settings.calls_at_once,
            at: now,
        }
    }

    /// How long until the next call.
    pub(super) fn wait(&self, settings: &Gather, now: Instant) -> Duration {
        let missing = 1.0 - self.calls_at(settings, now);
        Duration::try_from_secs_f64(missing.max(0.0) / settings.calls_per_second).unwrap_or(Duration::ZERO)
    }

    /// A call with `targets` was made. A call that carries many is worth its cost: it is the small ones that hurt.
    pub(super) fn called(&mut self, targets: usize, settings: &Gather, now: Instant) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a call has at most some hundred targets"
        )]
        let earned = targets as f64 / settings.targets_per_call;
        self.calls = (self.calls_at(settings, now) - 1.0 + earned).min(settings.calls_at_once);
        self.at = now;
    }

    /// Whether it makes nobody wait any more, so that it need not be remembered.
    pub(super) fn is_rested(&self, settings: &Gather, now: Instant) -> bool {
        self.calls_at(settings, now) >= settings.calls_at_once
    }

    fn calls_at(&self, settings: &Gather, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.calls + passed * settings.calls_per_second).min(settings.calls_at_once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emptier_the_bucket_the_longer_the_wait_and_a_full_one_makes_nobody_wait() {
        let settings = Gather::default();
        assert_eq!(scarcity(1.0, &settings), Duration::ZERO);
        assert_eq!(scarcity(0.9, &settings), Duration::ZERO);
        assert_eq!(scarcity(0.0, &settings), settings.when_empty);
        let waits: Vec<_> = (0..=10u8)
            .rev()
            .map(|level| scarcity(f64::from(level) / 10.0, &settings))
            .collect();
        assert!(waits.is_sorted(), "{waits:?}");
    }

    #[test]
    fn a_group_that_was_quiet_goes_at_once_and_one_that_called_waits() {
        let (settings, start) = (Gather::default(), Instant::now());
        let mut pace = Pace::rested(&settings, start);
        for _ in 0..3 {
            assert_eq!(pace.wait(&settings, start), Duration::ZERO);
            pace.called(1, &settings, start);
        }
        let wait = pace.wait(&settings, start);
        assert!(
            wait > Duration::from_secs(5) && wait < Duration::from_secs(8),
            "{wait:?}"
        );
        assert_eq!(
            pace.wait(&settings, start + wait + Duration::from_millis(1)),
            Duration::ZERO
        );
        assert!(pace.is_rested(&settings, start + Duration::from_mins(1)));
    }

    #[test]
    fn full_calls_cost_a_group_nothing() {
        let (settings, start) = (Gather::default(), Instant::now());
        let mut pace = Pace::rested(&settings, start);
        for _ in 0..10 {
            pace.called(200, &settings, start);
        }
        assert_eq!(pace.wait(&settings, start), Duration::ZERO);
    }
}
