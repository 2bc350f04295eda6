//! Collects what waits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    network::Permission,
    pause::{Pause, Scope},
    plan::HoldReason,
    rule_plan::RuleHold,
};

/// One hold per reason.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<HoldReason, RuleHold>);

impl Holds {
    fn of(&mut self, reason: HoldReason) -> &mut RuleHold {
        self.0.entry(reason).or_insert_with(|| RuleHold {
            reason,
            revocations: BTreeSet::new(),
            authorizations: BTreeSet::new(),
            pauses: Vec::new(),
            until: None,
        })
    }

    pub(super) fn revocation(&mut self, reason: HoldReason, rule: &Permission, until: Option<Timestamp>) {
        let held = self.of(reason);
        held.revocations.insert(rule.clone());
        held.until = held.until.max(until);
    }

    pub(super) fn authorization(&mut self, reason: HoldReason, rule: &Permission) {
        self.of(reason).authorizations.insert(rule.clone());
    }

    /// `pauses`: those that concern the group.
    pub(super) fn into_vec(mut self, pauses: &[(Scope, Pause)]) -> Vec<RuleHold> {
        if let Some(held) = self.0.get_mut(&HoldReason::Paused) {
            held.pauses = pauses.iter().map(|(_, pause)| pause.clone()).collect();
        }
        self.0.into_values().collect()
    }
}
