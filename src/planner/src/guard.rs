//! The guard: which of the unwanted targets may be removed now, and what the others wait for.
//!
//! Proof of a pod's end, a binding's deletion and an operator's release pass. Everything else waits its hold-down, then
//! for its replacement to be registered, and then leaves in portions that keep the group alive whatever a cluster says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, ClusterId, Observed, TargetKey,
    fact::{ObjectName, PodRef},
    ledger::{Ground, LedgerState, LedgerTarget, Removal},
    node::NodeRef,
    plan::{HoldReason, RelistRequest, Subtraction},
    sabotage,
};

use crate::{
    absence::{Holder, Word},
    addition::is_full,
    budget::{Budget, Verdict},
    contest::Contest,
    holds::{Alarm, Holds},
    input::Input,
    observe::{Sight, later},
};

/// A target of ours that no binding wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub row: &'a LedgerTarget,
    pub ground: Ground,
}

/// What the guard lets through.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// The end of the pod is proven: nothing needs to come first.
    pub proven: Vec<Subtraction>,
    /// Somebody said so: the binding was deleted, or an operator released the hold.
    pub told: Vec<Subtraction>,
    /// Without proof, in portions.
    pub guarded: Vec<Subtraction>,
    pub relists: Vec<RelistRequest>,
}

impl Passed {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &TargetKey> {
        self.proven
            .iter()
            .chain(&self.told)
            .chain(&self.guarded)
            .map(|removal| &removal.target.key)
    }
}

pub(crate) struct Guard<'a> {
    pub input: &'a Input,
    pub sight: &'a Sight<'a>,
    pub holders: &'a BTreeMap<BindingId, Holder<'a>>,
    /// Bindings that have a registration in this plan.
    pub registering: &'a BTreeSet<BindingId>,
    /// Whether AWS must be asked again before anything may be removed.
    pub unseen_since_fence: bool,
    /// Whether somebody else writes to the same targets.
    pub contest: Option<Contest>,
}

impl Guard<'_> {
    /// Decides about all candidates. Those of one kind are taken in order: what AWS calls unhealthy first, then by key.
    pub(crate) fn pass(
        &self,
        candidates: Vec<Candidate<'_>>,
        holds: &mut Holds,
        alarm: &mut Alarm,
    ) -> Passed {
        let mut passed = Passed::default();
        let mut unproven = Vec::new();
        for candidate in candidates {
            if let Some((reason, until)) = self.forbidden(candidate) {
                alarm.set_if(until);
                holds.removal(reason, candidate.row.key(), &candidate.row.bindings, until);
            } else if let Some(ground) = self.at_once(candidate) {
                let subtraction = Subtraction {
                    target: candidate.row.target.clone(),
                    ground,
                };
                match ground {
                    Ground::Proven(_) | Ground::NodeEnded(_) => passed.proven.push(subtraction),
                    ground if ground.is_positive() => passed.told.push(subtraction),
                    _ => passed.guarded.push(subtraction),
                }
            } else {
                unproven.push(candidate);
            }
        }
        let gone: BTreeSet<_> = passed.keys().cloned().collect();
        self.portion(unproven, &gone, &mut passed, holds, alarm);
        passed
    }

    /// What forbids any removal of this target, whatever its ground.
    fn forbidden(&self, candidate: Candidate<'_>) -> Option<(HoldReason, Option<Timestamp>)> {
        // The strictest of those that hold it: `add-only` comes before what plans only.
        let restraints = self.holders_of(candidate.row).filter_map(Holder::restraint);
        if let Some(restraint) = restraints.max() {
            return Some((restraint, None));
        }
        if let Some(contest) = self.contest
            && !self.is_released(candidate.row)
        {
            return Some((HoldReason::Contested, contest.until()));
        }
        if self.input.restored {
            return Some((HoldReason::Restored, None));
        }
        let fenced = self.input.fenced_until.filter(|until| self.input.now < *until);
        if fenced.is_some() {
            return Some((HoldReason::Fencing, fenced));
        }
        let absent = matches!(self.input.facts, Observed::Absent { .. });
        (self.unseen_since_fence || absent).then_some((HoldReason::NotObserved, None))
    }

    /// The ground on which a removal goes without the guard, if there is one.
    fn at_once(&self, candidate: Candidate<'_>) -> Option<Ground> {
        let Candidate { row, ground } = candidate;
        if ground.is_positive() {
            return Some(ground);
        }
        // It passed the guard before and its outcome is not known, or somebody's late call brought it back.
        let decided = matches!(row.state, LedgerState::Deregistering | LedgerState::Deregistered);
        if decided
            && !self.is_silent(row)
            && !self.is_frozen()
            && let Some(removal) = self.last_removal(row.key())
        {
            return Some(removal.ground);
        }
        self.is_released(row).then_some(Ground::Released)
    }

    /// Whether an operator said that the target may go, since it became unwanted.
    fn is_released(&self, row: &LedgerTarget) -> bool {
        self.input.released.get(row.key()).is_some_and(|released| {
            row.unwanted_since.is_some_and(|since| *released >= since)
                && self.input.now <= later(*released, self.input.guards.release_ttl)
        })
    }

    /// Lets unproven removals through in portions.
    fn portion(
        &self,
        mut candidates: Vec<Candidate<'_>>,
        gone: &BTreeSet<TargetKey>,
        passed: &mut Passed,
        holds: &mut Holds,
        alarm: &mut Alarm,
    ) {
        // An absent endpoint is more surely of no use than one that is not ready. What is confirmed goes first: after it,
        // what is not may be the last.
        candidates.sort_by_key(|candidate| {
            let key = candidate.row.key();
            (
                candidate.ground == Ground::NotReady,
                !self.is_confirmed(candidate.row),
                !self.sight.is_unhealthy(key),
                key.clone(),
            )
        });
        let mut budget = Budget::new(self.input, self.sight, self.holders, gone, &candidates);
        let mut relists = Relists::default();
        for Candidate { row, ground } in candidates {
            let verdict = self
                .waits(row, alarm)
                .map_or_else(|| self.weigh(row, ground, &mut budget), Verdict::Hold);
            match verdict {
                Verdict::Go(ground) => {
                    passed.guarded.push(Subtraction {
                        target: row.target.clone(),
                        ground,
                    });
                }
                Verdict::AfterRegistration => {}
                Verdict::Hold((reason, until)) => {
                    alarm.set_if(until);
                    holds.removal(reason, row.key(), &row.bindings, until);
                    let confirmable = matches!(reason, HoldReason::GuardWindow | HoldReason::LastTarget);
                    // A cluster that confirms that an endpoint is not ready says nothing new.
                    if confirmable && ground != Ground::NotReady {
                        self.ask(row, &mut relists);
                    }
                }
            }
        }
        passed.relists = relists.into_vec();
    }

    /// What time or the cluster must bring before the removal is weighed at all.
    fn waits(&self, row: &LedgerTarget, alarm: &mut Alarm) -> Option<(HoldReason, Option<Timestamp>)> {
        let Input { now, guards, .. } = self.input;
        let ripe = later(row.unwanted_since.unwrap_or(*now), guards.hold_down);
        if *now < ripe && !sabotage::is_on("S10") {
            return Some((HoldReason::HoldDown, Some(ripe)));
        }
        if self.is_silent(row) && !sabotage::is_on("S1") {
            return Some((HoldReason::ClusterSilent, None));
        }
        if self.is_frozen() {
            return Some((HoldReason::FleetFreeze, None));
        }
        for seen in self.holders_of(row).filter_map(|holder| holder.input.last_seen) {
            alarm.set(later(
                later(seen, guards.silent_after),
                jiff::SignedDuration::from_millis(1),
            ));
        }
        None
    }

    fn weigh(&self, row: &LedgerTarget, ground: Ground, budget: &mut Budget) -> Verdict {
        if row
            .bindings
            .iter()
            .any(|binding| self.registering.contains(binding))
        {
            return Verdict::AfterRegistration;
        }
        if ground == Ground::NotReady {
            return budget.spend_not_ready(row);
        }
        // Where there is no room for the new, the old must make it.
        if !budget.is_spare(row) && !is_full(self.input) {
            return Verdict::Hold((HoldReason::AwaitingHealth, None));
        }
        if self.is_confirmed(row) {
            budget.spend_wave(row)
        } else {
            budget.spend_window(row, ground)
        }
    }

    fn holders_of<'b>(&'b self, row: &'b LedgerTarget) -> impl Iterator<Item = &'b Holder<'b>> {
        row.bindings.iter().filter_map(|id| self.holders.get(id))
    }

    /// The bindings whose word about `row` is not proof.
    fn unsure<'b>(&'b self, row: &'b LedgerTarget) -> impl Iterator<Item = &'b Holder<'b>> {
        self.holders_of(row)
            .filter(move |holder| !matches!(holder.word(row), Word::LetsGo(ground) if ground.is_positive()))
    }

    fn is_frozen(&self) -> bool {
        self.input.frozen && !sabotage::is_on("S2")
    }

    fn is_silent(&self, row: &LedgerTarget) -> bool {
        self.unsure(row)
            .any(|holder| holder.input.is_silent(self.input.now, &self.input.guards))
    }

    /// Whether every cluster that is not sure has answered a relist since the target became unwanted.
    fn is_confirmed(&self, row: &LedgerTarget) -> bool {
        row.unwanted_since.is_some_and(|since| {
            self.unsure(row).next().is_some()
                && self
                    .unsure(row)
                    .all(|holder| self.has_confirmed(holder, row, since))
        })
    }

    fn has_confirmed(&self, holder: &Holder<'_>, row: &LedgerTarget, since: Timestamp) -> bool {
        let fresh =
            |at: &Timestamp| *at > since && self.input.now <= later(*at, self.input.guards.confirmation_ttl);
        holder.confirmed_at(row).as_ref().is_some_and(fresh)
    }

    /// Asks the clusters that have not confirmed the absence of `row` to read again.
    fn ask(&self, row: &LedgerTarget, relists: &mut Relists) {
        let since = row.unwanted_since.unwrap_or(self.input.now);
        for holder in self
            .unsure(row)
            .filter(|holder| !self.has_confirmed(holder, row, since))
        {
            let binding = &holder.input.binding;
            if let Some(spec) = &binding.spec {
                let service = ObjectName::new(&binding.object.namespace, &spec.service);
                let (pods, nodes) = relists.0.entry((binding.cluster, service)).or_default();
                pods.extend(row.pod.clone());
                nodes.extend(holder.node_in_question(row));
            }
        }
    }

    fn last_removal(&self, key: &TargetKey) -> Option<&Removal> {
        self.input
            .removals
            .iter()
            .filter(|removal| removal.key == *key)
            .max_by_key(|removal| removal.at)
    }
}

#[derive(Default)]
struct Relists(BTreeMap<(ClusterId, ObjectName), (BTreeSet<PodRef>, BTreeSet<NodeRef>)>);

impl Relists {
    fn into_vec(self) -> Vec<RelistRequest> {
        self.0
            .into_iter()
            .map(|((cluster, service), (pods, nodes))| RelistRequest {
                cluster,
                service,
                pods: pods.into_iter().collect(),
                nodes: nodes.into_iter().collect(),
            })
            .collect()
    }
}
