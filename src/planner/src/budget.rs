//! How much of a group may go without proof, and what would be left of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, TargetKey,
    ledger::{Ground, LedgerState, LedgerTarget},
    plan::HoldReason,
    sabotage,
};

use crate::{
    absence::Holder,
    addition::is_missing,
    guard::Candidate,
    input::Input,
    observe::{Sight, later},
};

/// What the guard says about one removal.
pub(crate) enum Verdict {
    Go(Ground),
    /// The next plan decides, once this one's registrations are there. Nobody needs to be told.
    AfterRegistration,
    Hold((HoldReason, Option<Timestamp>)),
}

/// How much more may go without proof.
pub(crate) struct Budget {
    /// Registered targets that this plan has not let go yet.
    standing: BTreeSet<TargetKey>,
    /// Of these, the ones with an endpoint behind them, ready or not.
    with_endpoint: BTreeSet<TargetKey>,
    not_ready_floor: usize,
    window: Portion,
    wave: Portion,
    serving: Serving,
}

/// Who takes traffic, where a binding turned to other pods or another port: nothing of what it had goes before as many of
/// what it has now are healthy, or all of them.
struct Serving {
    /// Not wanted any more, and not given up by AWS's health checks.
    old: BTreeSet<TargetKey>,
    /// How many are wanted, and how many of these AWS calls healthy.
    wanted: usize,
    healthy: usize,
}

impl Serving {
    fn new(
        standing: &BTreeSet<TargetKey>,
        sight: &Sight<'_>,
        holders: &BTreeMap<BindingId, Holder<'_>>,
    ) -> Self {
        // What is not going to be registered, nothing waits for.
        let wanted: BTreeSet<_> = holders
            .values()
            .filter(|holder| holder.only_planned().is_none())
            .flat_map(|holder| {
                let wanted = holder
                    .statement()
                    .into_iter()
                    .flat_map(|stated| stated.wanted.keys());
                wanted.filter(|key| !holder.input.cluster.cordoned || standing.contains(*key))
            })
            .collect();
        let is_old = |key: &&TargetKey| !wanted.contains(key) && sight.serves(key) != Some(false);
        let is_healthy = |key: &&&TargetKey| standing.contains(**key) && sight.serves(key) == Some(true);
        Self {
            old: standing.iter().filter(is_old).cloned().collect(),
            wanted: wanted.len(),
            healthy: wanted.iter().filter(is_healthy).count(),
        }
    }

    /// More old ones than are wanted are of no use. Once enough new ones are healthy they will be for the rest: with each
    /// that goes fewer are needed.
    fn is_spare(&self, key: &TargetKey) -> bool {
        let enough = self.old.len() > self.wanted || self.healthy >= self.old.len();
        enough || !self.old.contains(key) || sabotage::is_on("S6")
    }
}

/// A number of removals per sliding time.
struct Portion {
    left: usize,
    /// When the oldest removal that counts slides out.
    refills_at: Timestamp,
}

impl Portion {
    fn new(allowed: usize, counted: &[Timestamp], now: Timestamp, length: SignedDuration) -> Self {
        let oldest = counted.iter().min().copied().unwrap_or(now);
        Self {
            left: allowed.saturating_sub(counted.len()),
            refills_at: later(oldest, length),
        }
    }
}

impl Budget {
    pub(crate) fn new(
        input: &Input,
        sight: &Sight<'_>,
        holders: &BTreeMap<BindingId, Holder<'_>>,
        gone: &BTreeSet<TargetKey>,
        candidates: &[Candidate<'_>],
    ) -> Self {
        let Input {
            now,
            guards,
            ledger,
            removals,
            ..
        } = input;
        let there = || ledger.iter().filter(|row| !is_missing(row, sight, input));
        let standing: BTreeSet<_> = there()
            .filter(|row| row.state == LedgerState::Registered && !gone.contains(row.key()))
            .map(|row| row.key().clone())
            .collect();
        let absent = |key: &TargetKey| {
            candidates
                .iter()
                .any(|absent| absent.ground != Ground::NotReady && absent.row.key() == key)
        };
        let with_endpoint: BTreeSet<_> = standing.iter().filter(|key| !absent(key)).cloned().collect();

        let within = |length| {
            removals
                .iter()
                .filter(move |removal| *now < later(removal.at, length))
        };
        // As many as there were at the most since the window began. Portions of what is left would never come to an end.
        let live =
            |row: &&LedgerTarget| matches!(row.state, LedgerState::Registering | LedgerState::Registered);
        let most = within(guards.window)
            .map(|removal| removal.live_before as usize)
            .max();
        let size = there().filter(live).count().max(most.unwrap_or(0));
        let allowance = guards.allowance(size);
        let times = |length, counts: fn(&Ground) -> bool| -> Vec<_> {
            within(length)
                .filter(|removal| counts(&removal.ground))
                .map(|removal| removal.at)
                .collect()
        };
        let unproven = times(guards.window, |ground| {
            matches!(ground, Ground::Unproven(_) | Ground::NotReady)
        });
        let confirmed = times(guards.wave_interval, |ground| *ground == Ground::Confirmed);

        // Endpoints that were removed for not being ready still count, or the floor would sink with every window.
        let statements = holders.values().filter_map(Holder::statement);
        let endpoints = statements.flat_map(|stated| stated.wanted.keys().chain(stated.not_ready.keys()));
        let group = with_endpoint
            .iter()
            .chain(endpoints)
            .collect::<BTreeSet<_>>()
            .len()
            .max(size);
        let floor = (group * usize::from(guards.not_ready_floor_percent)).div_ceil(100);
        Self {
            serving: Serving::new(&standing, sight, holders),
            standing,
            with_endpoint,
            not_ready_floor: floor.max(1),
            window: Portion::new(allowance, &unproven, *now, guards.window),
            wave: Portion::new(allowance, &confirmed, *now, guards.wave_interval),
        }
    }

    /// How many registered targets remain if `key` goes.
    fn remaining(set: &BTreeSet<TargetKey>, key: &TargetKey) -> usize {
        set.len() - usize::from(set.contains(key))
    }

    fn take(&mut self, key: &TargetKey) {
        self.standing.remove(key);
        self.with_endpoint.remove(key);
        self.serving.old.remove(key);
    }

    /// Whether what replaces the target takes traffic.
    pub(crate) fn is_spare(&self, row: &LedgerTarget) -> bool {
        self.serving.is_spare(row.key())
    }

    /// A confirmed absence: in waves, to zero.
    pub(crate) fn spend_wave(&mut self, row: &LedgerTarget) -> Verdict {
        if self.wave.left == 0 {
            return Verdict::Hold((HoldReason::GuardWindow, Some(self.wave.refills_at)));
        }
        self.wave.left -= 1;
        self.take(row.key());
        Verdict::Go(Ground::Confirmed)
    }

    /// An absence that nobody confirmed: within the window, and never the last.
    pub(crate) fn spend_window(&mut self, row: &LedgerTarget, ground: Ground) -> Verdict {
        let unguarded = sabotage::is_on("S3");
        if Self::remaining(&self.standing, row.key()) == 0 && !unguarded {
            return Verdict::Hold((HoldReason::LastTarget, None));
        }
        if self.window.left == 0 && !unguarded {
            return Verdict::Hold((HoldReason::GuardWindow, Some(self.window.refills_at)));
        }
        self.window.left = self.window.left.saturating_sub(1);
        self.take(row.key());
        Verdict::Go(ground)
    }

    /// An endpoint that is there and not ready: within the window, and down to the floor.
    pub(crate) fn spend_not_ready(&mut self, row: &LedgerTarget) -> Verdict {
        if Self::remaining(&self.with_endpoint, row.key()) < self.not_ready_floor {
            return Verdict::Hold((HoldReason::NotReadyFloor, None));
        }
        self.spend_window(row, Ground::NotReady)
    }
}
