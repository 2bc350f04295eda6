//! What AWS's last answer says about a target, and whether the answer counts against what we wrote ourselves.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use model::{
    Observed, TargetKey,
    guard::Guards,
    ledger::LedgerTarget,
    target::{HealthState, ObservedTarget},
};

use crate::input::Input;

/// AWS's last answer about the group's targets.
pub(crate) struct Sight<'a> {
    /// When it was asked; `None`: there is no answer.
    pub at: Option<Timestamp>,
    targets: BTreeMap<&'a TargetKey, &'a ObservedTarget>,
}

impl<'a> Sight<'a> {
    pub(crate) fn of(input: &'a Input) -> Self {
        // A group that does not exist has no targets.
        if let Observed::Absent { at } = input.facts
            && input.targets.at().is_none_or(|asked| asked <= at)
        {
            return Self {
                at: Some(at),
                targets: BTreeMap::new(),
            };
        }
        match &input.targets {
            Observed::Present { at, value } => {
                let targets = value
                    .iter()
                    .map(|observed| (&observed.target.key, observed))
                    .collect();
                Self {
                    at: Some(*at),
                    targets,
                }
            }
            Observed::Absent { at } => Self {
                at: Some(*at),
                targets: BTreeMap::new(),
            },
            Observed::Unknown => Self {
                at: None,
                targets: BTreeMap::new(),
            },
        }
    }

    /// Whether AWS has the target, by an answer to a question asked after `since`. `None`: there is no such answer.
    pub(crate) fn registered_since(&self, key: &TargetKey, since: Timestamp) -> Option<bool> {
        self.at.filter(|at| *at > since).map(|_| self.is_registered(key))
    }

    pub(crate) fn is_registered(&self, key: &TargetKey) -> bool {
        self.targets
            .get(key)
            .is_some_and(|observed| observed.is_registered())
    }

    /// What AWS says of the target, also while it drains.
    pub(crate) fn target(&self, key: &TargetKey) -> Option<&'a ObservedTarget> {
        self.targets.get(key).copied()
    }

    /// Whether AWS's health checks have given the target up already.
    pub(crate) fn is_unhealthy(&self, key: &TargetKey) -> bool {
        let unhealthy = |observed: &&ObservedTarget| {
            matches!(
                observed.state,
                HealthState::Unhealthy | HealthState::UnhealthyDraining
            )
        };
        self.targets.get(key).is_some_and(unhealthy)
    }

    /// Whether the target can take traffic, as far as AWS says.
    pub(crate) fn serves(&self, key: &TargetKey) -> Option<bool> {
        self.targets.get(key)?.serves()
    }

    /// All targets that AWS has.
    pub(crate) fn registered(&self) -> impl Iterator<Item = &'a ObservedTarget> {
        self.targets
            .values()
            .copied()
            .filter(|observed| observed.is_registered())
    }
}

/// The moments from which an answer counts against what the ledger says about a target.
pub(crate) struct Settled {
    /// From here on a missing target is believed to be missing.
    pub removal: Timestamp,
    /// From here on an answer contradicts our own last write: before, AWS may answer with what was.
    pub contradiction: Timestamp,
}

impl Settled {
    pub(crate) fn of(row: &LedgerTarget, guards: &Guards) -> Self {
        Self::at(row.changed_at, row.ambiguous_at, guards)
    }

    /// For a row that was written at `changed_at`, and whose last call without an answer was given up at `ambiguous_at`.
    pub(crate) fn at(changed_at: Timestamp, ambiguous_at: Option<Timestamp>, guards: &Guards) -> Self {
        // A call that was given up may still be applied, and an answer may be stale on top.
        let ambiguous = ambiguous_at.map(|at| later(at, guards.consistency_grace * 2));
        let removal = ambiguous.map_or(changed_at, |settled| settled.max(changed_at));
        Self {
            removal,
            contradiction: removal.max(later(changed_at, guards.consistency_grace)),
        }
    }
}

/// `at` plus `duration`; the end of time instead of an overflow.
pub(crate) fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}
