//! How long changes gather before a call, so that one call carries many.
//!
//! A rolling restart is hundreds of changes in one target group. One call for each would spend the account's whole
//! budget, so changes that come close together gather; a change that comes alone never waits for company. The changes
//! of a group gather in two [`Batch`]es, each for itself:
//!
//! - A change goes *at once*, unless another of its batch came within [`Gather::still`] before it.
//! - Otherwise it is part of a movement, and gathers until nothing has followed for `still`, or until the first of the
//!   batch has waited for as long as the batch may: [`Gather::proven_at_most`], [`Gather::others_at_most`].
//! - Movements have pauses, and small ones follow each other. So each batch has [`Gather::calls_at_once`] calls, and
//!   gets [`Gather::calls_per_second`] back; once they are spent, only a pause of the longest wait counts as one.
//! - *Scarcity* is on top: the emptier the shard's bucket, the longer everybody gathers. A full one makes nobody wait.
//!
//! So a proven removal waits only where another came shortly before it, and while there are tokens never longer than
//! `proven_at_most`. The numbers are chosen by M1, M3 and M4 together; `tests.rs` plays a recorded restart.

use std::time::Duration;

use tokio::time::Instant;

use super::{lanes::Lane, settings::Gather};

/// Changes of a target group that gather together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Batch {
    /// Removals of targets whose end is proven. Until they are out, clients get errors.
    Proven,
    /// Everything else: a removal that waits for what replaces it must not go before it.
    Others,
}

impl From<Lane> for Batch {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::RemoveTerminating => Self::Proven,
            Lane::Add | Lane::RemoveOther | Lane::Delete | Lane::Rules | Lane::Tags | Lane::Describe => {
                Self::Others
            }
        }
    }
}

impl Batch {
    fn at_most(self, settings: &Gather) -> Duration {
        match self {
            Self::Proven => settings.proven_at_most,
            Self::Others => settings.others_at_most,
        }
    }
}

/// The wait that a bucket at `level` (0 to 1) asks for.
pub(super) fn scarcity(level: f64, settings: &Gather) -> Duration {
    let missing = ((settings.full_above - level) / settings.full_above).clamp(0.0, 1.0);
    settings.when_empty.mul_f64(missing * missing)
}

/// One batch of one target group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathering {
    at_most: Duration,
    /// What waits.
    waiting: Option<Waiting>,
    /// When the last change came.
    changed: Option<Instant>,
    /// Calls that may be made one right after the other.
    calls: f64,
    /// When `calls` was true.
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Instant,
    targets: usize,
    /// Nothing came shortly before it.
    alone: bool,
}

impl Gathering {
    pub(super) fn rested(batch: Batch, settings: &Gather, now: Instant) -> Self {
        Self {
            at_most: batch.at_most(settings),
            waiting: None,
            changed: None,
            calls: settings.calls_at_once,
            at: now,
        }
    }

    /// So many `targets` wait. How much longer they should; zero lets them go, and what comes then is a new batch.
    pub(super) fn wait(
        &mut self,
        targets: usize,
        scarcity: Duration,
        settings: &Gather,
        now: Instant,
    ) -> Duration {
        let still = self.still(settings, now);
        let mut waiting = self.waiting.unwrap_or(Waiting {
            since: now,
            targets: 0,
            alone: self
                .changed
                .is_none_or(|changed| now.duration_since(changed) >= still),
        });
        if targets > waiting.targets {
            self.changed = Some(now);
        }
        waiting.targets = targets;
        let company = if waiting.alone {
            Duration::ZERO
        } else {
            let quiet = self
                .changed
                .map_or(Duration::ZERO, |changed| now.duration_since(changed));
            still.saturating_sub(quiet).min(waiting.left(self.at_most, now))
        };
        let wait = company.max(waiting.left(scarcity, now));
        if wait.is_zero() {
            self.waiting = None;
            self.calls = self.calls_at(settings, now) - 1.0;
            self.at = now;
        } else {
            self.waiting = Some(waiting);
        }
        wait
    }

    /// Whether it makes nobody wait any more, so that it need not be remembered.
    pub(super) fn is_rested(&self, settings: &Gather, now: Instant) -> bool {
        let quiet = self
            .changed
            .is_none_or(|changed| now.duration_since(changed) >= self.at_most);
        quiet && self.waiting.is_none() && self.calls_at(settings, now) >= settings.calls_at_once
    }

    /// The pause that ends a movement.
    fn still(&self, settings: &Gather, now: Instant) -> Duration {
        if self.calls_at(settings, now) >= 1.0 {
            settings.still
        } else {
            self.at_most
        }
    }

    fn calls_at(&self, settings: &Gather, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.calls + passed * settings.calls_per_second).min(settings.calls_at_once)
    }
}

impl Waiting {
    /// What is left of a wait of this `length`.
    fn left(&self, length: Duration, now: Instant) -> Duration {
        length.saturating_sub(now.duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_emptier_the_bucket_the_longer_the_wait_and_a_full_one_makes_nobody_wait() {
        let settings = Gather::default();
        assert_eq!(scarcity(1.0, &settings), AT_ONCE);
        assert_eq!(scarcity(0.9, &settings), AT_ONCE);
        assert_eq!(scarcity(0.0, &settings), settings.when_empty);
        let waits: Vec<_> = (0..=10u8)
            .rev()
            .map(|level| scarcity(f64::from(level) / 10.0, &settings))
            .collect();
        assert!(waits.is_sorted(), "{waits:?}");
    }

    #[test]
    fn a_change_that_comes_alone_goes_at_once() {
        let (settings, start) = (Gather::default(), Instant::now());
        let mut gathering = Gathering::rested(Batch::Proven, &settings, start);
        for change in 0..5 {
            let now = after(start, change * 350);
            assert_eq!(
                gathering.wait(1, AT_ONCE, &settings, now),
                AT_ONCE,
                "change {change}"
            );
        }
    }

    #[test]
    fn what_comes_shortly_after_a_change_gathers_until_nothing_follows() {
        let still = Duration::from_millis(300);
        let settings = Gather {
            still,
            ..Gather::default()
        };
        let start = Instant::now();
        let mut gathering = Gathering::rested(Batch::Proven, &settings, start);
        let mut wait = |targets, millis| gathering.wait(targets, AT_ONCE, &settings, after(start, millis));
        assert_eq!(wait(1, 0), AT_ONCE);
        assert_eq!(wait(1, 100), still);
        assert_eq!(wait(2, 300), still, "it has grown");
        assert_eq!(wait(2, 400), Duration::from_millis(200), "a look is no change");
        assert_eq!(wait(2, 600), AT_ONCE);
        assert_eq!(wait(1, 901), AT_ONCE, "the movement is over");
    }

    #[test]
    fn a_movement_that_goes_on_makes_its_first_change_wait_no_longer_than_it_may() {
        let (settings, start) = (Gather::default(), Instant::now());
        for (batch, at_most) in [
            (Batch::Proven, settings.proven_at_most),
            (Batch::Others, settings.others_at_most),
        ] {
            let mut gathering = Gathering::rested(batch, &settings, start);
            let mut first = start;
            let mut targets = 0;
            for change in 0..1000 {
                let now = after(start, change * 50);
                targets += 1;
                assert!(now.duration_since(first) <= at_most, "change {change}");
                if gathering.wait(targets, AT_ONCE, &settings, now).is_zero() {
                    (first, targets) = (after(now, 50), 0);
                }
            }
        }
    }

    #[test]
    fn a_group_that_has_spent_its_calls_gathers_across_pauses_and_gets_them_back() {
        let (settings, start) = (Gather::default(), Instant::now());
        let mut gathering = Gathering::rested(Batch::Proven, &settings, start);
        let mut now = start;
        while gathering.wait(1, AT_ONCE, &settings, now).is_zero() {
            now += Duration::from_millis(400);
        }
        assert_eq!(
            gathering.wait(1, AT_ONCE, &settings, now),
            settings.proven_at_most
        );
        now += settings.proven_at_most;
        assert_eq!(gathering.wait(1, AT_ONCE, &settings, now), AT_ONCE);
        assert!(!gathering.is_rested(&settings, now));
        now += Duration::from_mins(1);
        assert!(gathering.is_rested(&settings, now));
        assert_eq!(gathering.wait(1, AT_ONCE, &settings, now), AT_ONCE);
    }

    #[test]
    fn scarcity_makes_also_a_change_wait_that_comes_alone() {
        let (settings, start) = (Gather::default(), Instant::now());
        let mut gathering = Gathering::rested(Batch::Proven, &settings, start);
        let scarce = Duration::from_secs(1);
        assert_eq!(gathering.wait(1, scarce, &settings, start), scarce);
        let half = after(start, 500);
        assert_eq!(
            gathering.wait(1, scarce, &settings, half),
            Duration::from_millis(500)
        );
        assert_eq!(
            gathering.wait(1, Duration::from_millis(400), &settings, half),
            AT_ONCE,
            "it got better"
        );
    }
}
