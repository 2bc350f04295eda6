//! The rules of one security group: all bindings' openings × what AWS has × what is ours → a plan.
//!
//! Everything is opened before anything is closed. Only a rule that the ledger lists, with the id that AWS gave it, is
//! ever revoked.

mod close;
mod holds;
mod ledger;
mod open;
mod restraint;
mod sight;
mod standings;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    ClusterId, Observed,
    cluster::Mode,
    condition::Problem,
    guard::Guards,
    network::{
        BoundOpening, LedgerRule, ObservedRule, Permission, SecurityGroupRuleId, SecurityGroupSnapshot,
    },
    plan::{HoldReason, Observe},
    rule_plan::{RulePlan, RuleStep, WhyRevoke, Widening},
    sabotage,
};

use super::fit::{Fit, fit};
use crate::holds::Alarm;
use holds::Holds;
use sight::Sight;

/// Rules that are left free, so that a wider one can be opened before those that it replaces are closed.
const SPARE: usize = 2;

/// All that is known about one security group at one moment.
#[derive(Clone, Debug)]
pub struct RuleInput {
    pub stored: SecurityGroupSnapshot,
    pub guards: Guards,
    /// How many ingress rules AWS lets the group have.
    pub limit: usize,
    /// Until then a call of the writer before us may still arrive in AWS.
    pub fenced_until: Option<Timestamp>,
    pub rules: Observed<Vec<ObservedRule>>,
    /// What AWS last said against these rules, if it was the last thing it said.
    pub refused: BTreeMap<Permission, Problem>,
    /// Why AWS's rules are not known.
    pub failure: Option<Problem>,
}

/// Decides what is to happen to the rules of one security group.
pub fn plan(input: &RuleInput) -> RulePlan {
    let stored = &input.stored;
    let empty = RulePlan {
        security_group: stored.group.clone(),
        steps: Vec::new(),
        holds: Vec::new(),
        borrowed: BTreeMap::new(),
        widened: Vec::new(),
        observe: None,
        wake_at: None,
        standings: BTreeMap::new(),
    };
    if stored.openings.is_empty() && stored.ledger.is_empty() {
        return empty;
    }
    if let Some(relinquish) = ledger::relinquished(stored) {
        // The rest is planned without it.
        return RulePlan {
            steps: vec![relinquish],
            ..empty
        };
    }
    let Observed::Present { at, value } = &input.rules else {
        let mut holds = Holds::default();
        for permission in wanted(input).keys() {
            holds.authorization(HoldReason::NotObserved, permission);
        }
        return RulePlan {
            observe: Some(Observe::First),
            holds: holds.into_vec(&stored.pauses),
            standings: standings::unseen(input),
            ..empty
        };
    };
    Planner::new(input, *at, value).plan(empty)
}

/// What bindings need, and which of them; but for those of clusters that are only observed.
fn wanted(input: &RuleInput) -> BTreeMap<&Permission, Vec<&BoundOpening>> {
    let mut wanted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for opening in &input.stored.openings {
        if mode(input, opening.cluster) != Some(Mode::Observe) || sabotage::is_on("S12") {
            for permission in &opening.permissions {
                wanted.entry(permission).or_default().push(opening);
            }
        }
    }
    wanted
}

fn mode(input: &RuleInput, cluster: ClusterId) -> Option<Mode> {
    input
        .stored
        .clusters
        .get(&cluster)
        .map(|cluster| cluster.spec.mode)
}

struct Planner<'a> {
    input: &'a RuleInput,
    observed: &'a [ObservedRule],
    at: Timestamp,
    wanted: BTreeMap<&'a Permission, Vec<&'a BoundOpening>>,
    /// The id of each row, with that which its tag tells.
    ids: BTreeMap<&'a Permission, &'a SecurityGroupRuleId>,
    sights: BTreeMap<&'a Permission, Sight>,
    /// Rules of somebody else.
    foreign: Vec<&'a ObservedRule>,
    holds: Holds,
    alarm: Alarm,
    verify: bool,
}

impl<'a> Planner<'a> {
    fn rows(&self) -> impl Iterator<Item = &'a LedgerRule> + use<'a> {
        self.input.stored.ledger.iter()
    }

    fn plan(mut self, empty: RulePlan) -> RulePlan {
        let borrowed: BTreeMap<_, _> = self
            .foreign
            .iter()
            .filter_map(|rule| {
                let permission = rule.permission.as_ref()?;
                self.wanted
                    .contains_key(permission)
                    .then(|| (rule.id.clone(), permission.clone()))
            })
            .collect();
        let standing = self.standing();
        let lent: BTreeSet<_> = borrowed.values().cloned().collect();
        let needed: BTreeSet<Permission> = self
            .wanted
            .iter()
            .filter(|(permission, _)| !lent.contains(**permission))
            .filter(|(permission, openings)| {
                // What is kept from writing keeps what it has.
                let is_open = || standing.iter().any(|rule| rule.covers(permission));
                openings.iter().any(|opening| self.acts(opening)) || is_open()
            })
            .map(|(permission, _)| (*permission).clone())
            .collect();
        let most = self.input.limit.saturating_sub(self.foreign.len());
        let Fit { rules, mut left_out } = fit(&needed, most.saturating_sub(SPARE), most, |rule| {
            standing.contains(rule)
        });

        let mut steps = self.bookkeeping(&rules);
        let mut opening = self.openings(&rules, &standing);
        let free = self.input.limit.saturating_sub(self.taken());
        let mut early = Vec::new();
        if opening.len() > free {
            // What no binding needs makes room first; what is replaced goes only after its replacement.
            early = self.closings(&rules, &needed, &standing, &[]);
            early.retain(|revocation| revocation.why == WhyRevoke::Unneeded);
            if free + early.len() == 0
                && let Some((revocation, wider)) = self.sacrifice(&rules, &needed, &standing, &opening)
            {
                early.push(revocation);
                opening.swap(0, wider);
            }
        }
        // The rest waits for what the next plan closes.
        let waiting = opening.split_off(opening.len().min(free + early.len()));
        if opening.is_empty() && early.is_empty() {
            let waits = |each: &&Permission| waiting.iter().any(|rule| rule.permission.covers(each));
            left_out.extend(needed.iter().filter(waits).cloned());
        }
        let mut closing = self.closings(&rules, &needed, &standing, &opening);
        closing.retain(|revocation| early.iter().all(|other| other.rule != revocation.rule));
        steps.extend([
            RuleStep::Revoke { rules: early },
            RuleStep::Authorize { rules: opening },
            RuleStep::Revoke { rules: closing },
        ]);
        let fence_passed = self
            .input
            .fenced_until
            .is_some_and(|until| self.input.stored.now >= until);
        let observe = if fence_passed && self.is_unseen_since_fence() {
            Some(Observe::First)
        } else {
            self.verify.then_some(Observe::Verify)
        };
        let widened = self.widened(&rules);
        RulePlan {
            steps: steps.into_iter().filter(|step| !is_empty(step)).collect(),
            standings: self.standings(&rules, &standing, &left_out),
            holds: self.holds.into_vec(&self.input.stored.pauses),
            borrowed,
            widened,
            observe,
            wake_at: self.alarm.at(),
            ..empty
        }
    }

    /// Ranges that are wanted by nobody as they are.
    fn widened(&self, rules: &BTreeSet<Permission>) -> Vec<Widening> {
        let wider = rules.iter().filter(|rule| !self.wanted.contains_key(rule));
        wider
            .map(|rule| Widening {
                rule: rule.clone(),
                stands_for: self
                    .wanted
                    .keys()
                    .filter(|permission| rule.covers(permission))
                    .map(|permission| (*permission).clone())
                    .collect(),
            })
            .collect()
    }
}

fn is_empty(step: &RuleStep) -> bool {
    match step {
        RuleStep::Forget { rules } => rules.is_empty(),
        RuleStep::Confirm { rules } => rules.is_empty(),
        RuleStep::Share { rules } => rules.is_empty(),
        RuleStep::Relinquish { rules, bindings } => rules.is_empty() && bindings.is_empty(),
        RuleStep::Authorize { rules } => rules.is_empty(),
        RuleStep::Revoke { rules } => rules.is_empty(),
    }
}
