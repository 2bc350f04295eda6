//! Rules to end, and what forbids it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::{
    cluster::Mode,
    network::{LedgerRule, Permission, RuleState},
    plan::HoldReason,
    rule_plan::{Authorization, Revocation, WhyRevoke},
    sabotage,
};

use super::{Planner, mode, sight::Sight};

impl Planner<'_> {
    /// Rules to end: ours, not to be there, and not the only way in for anybody.
    pub(super) fn closings(
        &mut self,
        rules: &BTreeSet<Permission>,
        needed: &BTreeSet<Permission>,
        standing: &BTreeSet<&Permission>,
        opening: &[Authorization],
    ) -> Vec<Revocation> {
        let mut closings = Vec::new();
        for row in self.rows().filter(|row| !rules.contains(&row.permission)) {
            if self.sights[&row.permission] == Sight::Gone
                || row.state == RuleState::Revoked && self.sights[&row.permission] != Sight::There
            {
                continue;
            }
            let serves: Vec<_> = needed.iter().filter(|each| row.permission.covers(each)).collect();
            let will_be = |each: &Permission| {
                rules.iter().any(|rule| {
                    rule.covers(each)
                        && (standing.contains(rule)
                            || self.is_foreign(rule)
                            || opening.iter().any(|other| other.permission == *rule))
                })
            };
            if !serves.iter().all(|each| will_be(each)) {
                continue;
            }
            // What has no id cannot be named: AWS must be seen first.
            let Some(rule) = self.ids.get(&row.permission).copied().cloned() else {
                self.look_again(row);
                continue;
            };
            if let Some((reason, until)) = self.forbidden(row) {
                self.alarm.set_if(until);
                self.holds.revocation(reason, &row.permission, until);
                continue;
            }
            closings.push(Revocation {
                permission: row.permission.clone(),
                rule,
                why: if serves.is_empty() {
                    WhyRevoke::Unneeded
                } else {
                    WhyRevoke::Replaced
                },
            });
        }
        if sabotage::is_on("S7") {
            closings.extend(self.foreign.iter().filter_map(|rule| {
                Some(Revocation {
                    permission: rule.permission.clone()?,
                    rule: rule.id.clone(),
                    why: WhyRevoke::Unneeded,
                })
            }));
        }
        closings
    }

    /// The group is full: one rule of ours goes so that one can come that lets in what it let in, and more.
    pub(super) fn sacrifice(
        &mut self,
        rules: &BTreeSet<Permission>,
        needed: &BTreeSet<Permission>,
        standing: &BTreeSet<&Permission>,
        opening: &[Authorization],
    ) -> Option<(Revocation, usize)> {
        let heir = |row: &LedgerRule| {
            let mut served = needed.iter().filter(|each| row.permission.covers(each));
            let first = served.next()?;
            let heir = opening.iter().position(|heir| heir.permission.covers(first))?;
            served
                .all(|each| opening[heir].permission.covers(each))
                .then_some(heir)
        };
        let replaced =
            |row: &&LedgerRule| standing.contains(&row.permission) && !rules.contains(&row.permission);
        for row in self.rows().filter(replaced) {
            let (Some(wider), Some(rule)) = (heir(row), self.ids.get(&row.permission).copied().cloned())
            else {
                continue;
            };
            if let Some((reason, until)) = self.forbidden(row) {
                self.alarm.set_if(until);
                self.holds.revocation(reason, &row.permission, until);
                continue;
            }
            let revocation = Revocation {
                permission: row.permission.clone(),
                rule,
                why: WhyRevoke::MakesRoom,
            };
            return Some((revocation, wider));
        }
        None
    }

    /// What forbids the end of a rule, whatever its ground.
    fn forbidden(&self, row: &LedgerRule) -> Option<(HoldReason, Option<Timestamp>)> {
        if let Some(restraint) = self.restraint_of(row) {
            return Some((restraint, None));
        }
        if !sabotage::is_on("S12") {
            if row
                .clusters
                .iter()
                .any(|cluster| mode(self.input, *cluster).is_none())
            {
                return Some((HoldReason::ClusterUnknown, None));
            }
            let modes: Vec<_> = row
                .clusters
                .iter()
                .filter_map(|cluster| mode(self.input, *cluster))
                .collect();
            if modes.contains(&Mode::Observe) {
                return Some((HoldReason::ModeObserve, None));
            }
            if modes.contains(&Mode::AddOnly) {
                return Some((HoldReason::ModeAddOnly, None));
            }
        }
        if self.input.stored.restored {
            return Some((HoldReason::Restored, None));
        }
        let fenced = self
            .input
            .fenced_until
            .filter(|until| self.input.stored.now < *until);
        if fenced.is_some() {
            return Some((HoldReason::Fencing, fenced));
        }
        self.is_unseen_since_fence()
            .then_some((HoldReason::NotObserved, None))
    }
}
