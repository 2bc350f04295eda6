//! What AWS has of what the ledger lists, and what somebody else made.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::network::{LedgerRule, ObservedRule, Permission, RuleState, SecurityGroupRuleId};

use super::{Planner, RuleInput, holds::Holds, wanted};
use crate::{holds::Alarm, observe::Settled};

/// What one rule of the ledger is in AWS, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// AWS has it.
    There,
    /// AWS was seen without it, and the answer counts.
    Gone,
    /// Only a later answer can tell.
    Unclear,
}

impl<'a> Planner<'a> {
    pub(super) fn new(input: &'a RuleInput, at: Timestamp, observed: &'a [ObservedRule]) -> Self {
        let mut planner = Self {
            input,
            observed,
            at,
            wanted: wanted(input),
            ids: BTreeMap::new(),
            sights: BTreeMap::new(),
            foreign: Vec::new(),
            holds: Holds::default(),
            alarm: Alarm::new(input.stored.now),
            verify: false,
        };
        for row in &input.stored.ledger {
            if let Some(id) = planner.id_of(row) {
                planner.ids.insert(&row.permission, id);
            }
            let sight = planner.sight_of(row);
            planner.sights.insert(&row.permission, sight);
        }
        let ours: BTreeSet<_> = planner.ids.values().copied().collect();
        // Only what the ledger lists is ours (S7). An earlier rule of ours in a stale answer is nobody's.
        let is_echo = |rule: &ObservedRule| {
            rule.installation == Some(input.stored.installation)
                && rule
                    .permission
                    .as_ref()
                    .is_some_and(|each| planner.sights.contains_key(each))
        };
        let foreign = observed
            .iter()
            .filter(|rule| !ours.contains(&rule.id) && !is_echo(rule));
        let foreign = foreign.collect();
        planner.foreign = foreign;
        planner
    }

    /// The row's id, or that of the rule which a call without an answer made.
    fn id_of(&self, row: &'a LedgerRule) -> Option<&'a SecurityGroupRuleId> {
        let made = |rule: &&ObservedRule| {
            rule.permission.as_ref() == Some(&row.permission)
                && rule.installation == Some(self.input.stored.installation)
        };
        let made = || self.observed.iter().find(made).map(|rule| &rule.id);
        let settled = Settled::at(row.changed_at, row.ambiguous_at, &self.input.guards);
        match &row.rule {
            // What it had before is gone, or was never there.
            _ if row.state == RuleState::Authorizing => made(),
            Some(id) if self.is_listed(id) || self.at <= settled.contradiction => Some(id),
            id => made().or(id.as_ref()),
        }
    }

    fn is_listed(&self, id: &SecurityGroupRuleId) -> bool {
        self.observed.iter().any(|rule| rule.id == *id)
    }

    fn sight_of(&self, row: &LedgerRule) -> Sight {
        let id = self.ids.get(&row.permission);
        let listed = id.is_some_and(|id| self.is_listed(id));
        let settled = Settled::at(row.changed_at, row.ambiguous_at, &self.input.guards);
        match row.state {
            RuleState::Authorizing if listed => Sight::There,
            RuleState::Authorized if listed || self.at <= settled.contradiction => Sight::There,
            // AWS acknowledged the end, so that any later answer without it is believed.
            RuleState::Revoked if !listed && self.at > settled.removal => Sight::Gone,
            _ if self.at > settled.contradiction => {
                if listed {
                    Sight::There
                } else {
                    Sight::Gone
                }
            }
            _ => Sight::Unclear,
        }
    }

    /// The rules of ours that AWS has and that stay unless this plan ends them.
    pub(super) fn standing(&self) -> BTreeSet<&'a Permission> {
        self.rows()
            .filter(|row| self.sights[&row.permission] == Sight::There)
            .filter(|row| matches!(row.state, RuleState::Authorizing | RuleState::Authorized))
            .map(|row| &row.permission)
            .collect()
    }

    /// How many rules of the group's limit are taken, those included that may be there.
    pub(super) fn taken(&self) -> usize {
        let ours = self.sights.values().filter(|sight| **sight != Sight::Gone);
        self.foreign.len() + ours.count()
    }

    /// Whether somebody else has made just this rule: AWS would refuse a second one.
    pub(super) fn is_foreign(&self, rule: &Permission) -> bool {
        self.foreign
            .iter()
            .any(|other| other.permission.as_ref() == Some(rule))
    }

    pub(super) fn is_unseen_since_fence(&self) -> bool {
        self.input.fenced_until.is_some_and(|until| self.at <= until)
    }
}
