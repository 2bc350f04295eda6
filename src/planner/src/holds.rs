//! Collects what waits, and when time alone changes that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, TargetKey,
    plan::{Hold, HoldReason},
};

/// One hold per reason.
#[derive(Debug, Default)]
pub(crate) struct Holds(BTreeMap<HoldReason, Held>);

#[derive(Debug, Default)]
struct Held {
    bindings: BTreeSet<BindingId>,
    removals: BTreeSet<TargetKey>,
    additions: BTreeSet<TargetKey>,
    until: Option<Timestamp>,
}

impl Holds {
    pub(crate) fn removal(
        &mut self,
        reason: HoldReason,
        key: &TargetKey,
        bindings: &[BindingId],
        until: Option<Timestamp>,
    ) {
        let held = self.0.entry(reason).or_default();
        held.removals.insert(key.clone());
        held.bindings.extend(bindings);
        // The whole hold is lifted when its last part is.
        held.until = held.until.max(until);
    }

    pub(crate) fn addition(&mut self, reason: HoldReason, key: &TargetKey, bindings: &[BindingId]) {
        self.addition_until(reason, key, bindings, None);
    }

    pub(crate) fn addition_until(
        &mut self,
        reason: HoldReason,
        key: &TargetKey,
        bindings: &[BindingId],
        until: Option<Timestamp>,
    ) {
        let held = self.0.entry(reason).or_default();
        held.additions.insert(key.clone());
        held.bindings.extend(bindings);
        held.until = held.until.max(until);
    }

    pub(crate) fn into_vec(self) -> Vec<Hold> {
        self.0
            .into_iter()
            .map(|(reason, held)| Hold {
                reason,
                bindings: held.bindings.into_iter().collect(),
                removals: held.removals.into_iter().collect(),
                additions: held.additions.into_iter().collect(),
                until: held.until,
            })
            .collect()
    }
}

/// The earliest of the moments at which time alone changes the plan.
#[derive(Debug)]
pub(crate) struct Alarm {
    now: Timestamp,
    at: Option<Timestamp>,
}

impl Alarm {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now, at: None }
    }

    pub(crate) fn set(&mut self, at: Timestamp) {
        if at > self.now && self.at.is_none_or(|earliest| at < earliest) {
            self.at = Some(at);
        }
    }

    pub(crate) fn set_if(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.set(at);
        }
    }

    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.at
    }
}
