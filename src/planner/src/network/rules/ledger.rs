//! What the ledger learns from what AWS has, and from who is served.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId,
    cluster::Mode,
    network::{LedgerRule, Permission, RuleState, SecurityGroupSnapshot},
    pause::Scope,
    rule_plan::{Confirmation, RuleStep, Sharing},
};

use super::{Planner, mode, sight::Sight};
use crate::observe::Settled;

/// Rules that served bindings which somebody else has now, or that left and keep what they had: they stay in AWS and are
/// ours no more. Who else needs one borrows it.
pub(super) fn relinquished(stored: &SecurityGroupSnapshot) -> Option<RuleStep> {
    let given_up: Vec<_> = stored
        .openings
        .iter()
        .filter(|opening| opening.relinquished)
        .collect();
    let serves = |row: &&LedgerRule| {
        let mut permissions = given_up.iter().flat_map(|opening| &opening.permissions);
        permissions.any(|permission| row.permission.covers(permission))
    };
    let rules = stored
        .ledger
        .iter()
        .filter(serves)
        .map(|row| row.permission.clone());
    (!given_up.is_empty()).then(|| RuleStep::Relinquish {
        rules: rules.collect(),
        bindings: given_up.iter().map(|opening| opening.binding).collect(),
    })
}

impl Planner<'_> {
    /// What the ledger learns from what AWS has.
    pub(super) fn bookkeeping(&mut self, rules: &BTreeSet<Permission>) -> Vec<RuleStep> {
        let (mut forget, mut confirm, mut share) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.rows() {
            let needed = rules.contains(&row.permission);
            match (self.sights[&row.permission], row.state) {
                (Sight::Gone, _) if !needed => forget.push(row.permission.clone()),
                (Sight::Gone, _) => {}
                (Sight::There, _) if self.ids.get(&row.permission).copied() != row.rule.as_ref() => {
                    confirm.extend(self.confirmation(row));
                }
                (Sight::There, RuleState::Authorizing) => confirm.extend(self.confirmation(row)),
                (Sight::There, RuleState::Revoking | RuleState::Revoked) if needed => {
                    confirm.extend(self.confirmation(row));
                }
                (Sight::There, _) => share.extend(self.shared(row)),
                (Sight::Unclear, _) => self.look_again(row),
            }
        }
        vec![
            RuleStep::Forget { rules: forget },
            RuleStep::Confirm { rules: confirm },
            RuleStep::Share { rules: share },
        ]
    }

    fn confirmation(&self, row: &LedgerRule) -> Option<Confirmation> {
        let rule = (*self.ids.get(&row.permission)?).clone();
        Some(Confirmation {
            permission: row.permission.clone(),
            rule,
        })
    }

    /// A later answer is needed to know what became of a rule.
    pub(super) fn look_again(&mut self, row: &LedgerRule) {
        let settled = Settled::at(row.changed_at, row.ambiguous_at, &self.input.guards);
        if self.input.stored.now > settled.contradiction {
            self.verify = true;
        } else {
            let just_after = settled.contradiction.checked_add(SignedDuration::from_millis(1));
            self.alarm.set(just_after.unwrap_or(Timestamp::MAX));
        }
    }

    /// The clusters and bindings that a rule serves.
    fn served(&self, rule: &Permission) -> (BTreeSet<ClusterId>, BTreeSet<BindingId>) {
        let served = self
            .wanted
            .iter()
            .filter(|(permission, _)| rule.covers(permission));
        let openings = served.flat_map(|(_, openings)| openings);
        openings.map(|opening| (opening.cluster, opening.binding)).unzip()
    }

    fn shared(&self, row: &LedgerRule) -> Option<Sharing> {
        let (mut clusters, mut bindings) = self.served(&row.permission);
        // Whom it served last says whether it may go.
        if clusters.is_empty() {
            return None;
        }
        let paused = |of: Scope| self.input.stored.pauses.iter().any(|(scope, _)| *scope == of);
        // What was opened for a cluster that lets nothing go stays, whoever else it serves; and so does what was opened
        // for those that are paused.
        let keeps = |cluster: &&ClusterId| {
            mode(self.input, **cluster) != Some(Mode::Full) || paused(Scope::Cluster(**cluster))
        };
        clusters.extend(row.clusters.iter().filter(keeps));
        let kept = row.bindings.iter().flatten();
        bindings.extend(kept.filter(|binding| paused(Scope::Binding(**binding))));
        (clusters != row.clusters || Some(&bindings) != row.bindings.as_ref()).then(|| Sharing {
            permission: row.permission.clone(),
            clusters,
            bindings,
        })
    }
}
