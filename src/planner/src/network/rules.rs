//! The rules of one security group: all bindings' openings × what AWS has × what is ours → a plan.
//!
//! Everything is opened before anything is closed. Only a rule that the ledger lists, with the id that AWS gave it, is
//! ever revoked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, ClusterId, Observed,
    cluster::{Cluster, Mode},
    condition::{Problem, Reason},
    guard::Guards,
    network::{
        BoundOpening, LedgerRule, ObservedRule, Permission, RuleState, SecurityGroupRuleId,
        SecurityGroupSnapshot, Standing,
    },
    plan::{HoldReason, Observe},
    rule_plan::{
        Authorization, Confirmation, Revocation, RuleHold, RulePlan, RuleStep, Sharing, WhyAuthorize,
        WhyRevoke, Widening,
    },
    sabotage,
};

use super::fit::{Fit, fit};
use crate::{holds::Alarm, observe::Settled};

/// Rules that are left free, so that a wider one can be opened before those that it replaces are closed.
const SPARE: usize = 2;

/// EC2 takes 255 characters of these (API_IpRange).
const DESCRIPTION_CHARS: usize = 255;

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
    let Observed::Present { at, value } = &input.rules else {
        let mut holds = Holds::default();
        for permission in wanted(input).keys() {
            holds.authorization(HoldReason::NotObserved, permission);
        }
        return RulePlan {
            observe: Some(Observe::First),
            holds: holds.into_vec(),
            standings: unseen(input),
            ..empty
        };
    };
    Planner::new(input, *at, value).plan(empty)
}

/// What is said while AWS's rules are not known.
fn unseen(input: &RuleInput) -> BTreeMap<BindingId, Standing> {
    let Some(problem) = &input.failure else {
        return BTreeMap::new();
    };
    let standing = Standing {
        problem: Some(problem.clone()),
        ..Standing::default()
    };
    let bindings = input.stored.openings.iter().map(|opening| opening.binding);
    bindings.map(|binding| (binding, standing.clone())).collect()
}

/// What the bindings that may write need, and which of them.
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

/// What one rule of the ledger is in AWS, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// AWS has it.
    There,
    /// AWS was seen without it, and the answer counts.
    Gone,
    /// Only a later answer can tell.
    Unclear,
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
    fn new(input: &'a RuleInput, at: Timestamp, observed: &'a [ObservedRule]) -> Self {
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

    fn rows(&self) -> impl Iterator<Item = &'a LedgerRule> + use<'a> {
        self.input.stored.ledger.iter()
    }

    /// The rules of ours that AWS has and that stay unless this plan ends them.
    fn standing(&self) -> BTreeSet<&'a Permission> {
        self.rows()
            .filter(|row| self.sights[&row.permission] == Sight::There)
            .filter(|row| matches!(row.state, RuleState::Authorizing | RuleState::Authorized))
            .map(|row| &row.permission)
            .collect()
    }

    /// How many rules of the group's limit are taken, those included that may be there.
    fn taken(&self) -> usize {
        let ours = self.sights.values().filter(|sight| **sight != Sight::Gone);
        self.foreign.len() + ours.count()
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
        let lent: BTreeSet<_> = borrowed.values().cloned().collect();
        let needed: BTreeSet<Permission> = self
            .wanted
            .keys()
            .filter(|permission| !lent.contains(**permission))
            .map(|permission| (*permission).clone())
            .collect();
        let standing = self.standing();
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
            holds: self.holds.into_vec(),
            borrowed,
            widened,
            observe,
            wake_at: self.alarm.at(),
            ..empty
        }
    }

    /// What the ledger learns from what AWS has.
    fn bookkeeping(&mut self, rules: &BTreeSet<Permission>) -> Vec<RuleStep> {
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
    fn look_again(&mut self, row: &LedgerRule) {
        let settled = Settled::at(row.changed_at, row.ambiguous_at, &self.input.guards);
        if self.input.stored.now > settled.contradiction {
            self.verify = true;
        } else {
            let just_after = settled
                .contradiction
                .checked_add(jiff::SignedDuration::from_millis(1));
            self.alarm.set(just_after.unwrap_or(Timestamp::MAX));
        }
    }

    /// The clusters whose bindings a rule serves.
    fn clusters(&self, rule: &Permission) -> BTreeSet<ClusterId> {
        let served = self
            .wanted
            .iter()
            .filter(|(permission, _)| rule.covers(permission));
        served
            .flat_map(|(_, openings)| openings.iter().map(|opening| opening.cluster))
            .collect()
    }

    fn shared(&self, row: &LedgerRule) -> Option<Sharing> {
        let mut clusters = self.clusters(&row.permission);
        // Whom it served last says whether it may go.
        if clusters.is_empty() {
            return None;
        }
        // What was opened for a cluster that lets nothing go stays, whoever else it serves.
        let keeps = |cluster: &&ClusterId| mode(self.input, **cluster) != Some(Mode::Full);
        clusters.extend(row.clusters.iter().filter(keeps));
        (clusters != row.clusters).then(|| Sharing {
            permission: row.permission.clone(),
            clusters,
        })
    }

    /// Rules to make, what nobody has open yet first.
    fn openings(&self, rules: &BTreeSet<Permission>, standing: &BTreeSet<&Permission>) -> Vec<Authorization> {
        let ledger: BTreeMap<_, _> = self.rows().map(|row| (&row.permission, row)).collect();
        let mut openings: Vec<_> = rules
            .iter()
            .filter(|rule| !standing.contains(rule) && !self.is_foreign(rule))
            .filter_map(|rule| {
                let row = ledger.get(rule);
                let why = match row.map(|row| (row.state, self.sights[&row.permission])) {
                    None
                    | Some(
                        (RuleState::Revoked, Sight::Gone | Sight::Unclear)
                        | (RuleState::Revoking, Sight::Gone),
                    ) => WhyAuthorize::Wanted,
                    Some((RuleState::Authorizing, _)) => WhyAuthorize::Unresolved,
                    Some((RuleState::Authorized, _)) => WhyAuthorize::Drifted,
                    // It is confirmed by this plan, or must be seen first.
                    Some((RuleState::Revoking | RuleState::Revoked, _)) => return None,
                };
                Some(Authorization {
                    clusters: self.clusters(rule),
                    description: self.description(rule),
                    permission: rule.clone(),
                    why,
                })
            })
            .collect();
        let is_covered = |authorization: &Authorization| {
            standing
                .iter()
                .any(|rule| rule.covers(&authorization.permission) || authorization.permission.covers(rule))
        };
        openings.sort_by_key(is_covered);
        openings
    }

    /// Whether somebody else has made just this rule: AWS would refuse a second one.
    fn is_foreign(&self, rule: &Permission) -> bool {
        self.foreign
            .iter()
            .any(|other| other.permission.as_ref() == Some(rule))
    }

    /// For people who look at the rule in AWS.
    fn description(&self, rule: &Permission) -> String {
        let served = self
            .wanted
            .iter()
            .filter(|(permission, _)| rule.covers(permission));
        let names: BTreeSet<_> = served
            .flat_map(|(_, openings)| openings)
            .map(|opening| {
                let cluster = self.input.stored.clusters.get(&opening.cluster);
                let cluster = cluster.map_or("?", |Cluster { name, .. }| name.as_str());
                format!("{cluster}: {}", opening.object)
            })
            .collect();
        let text = format!("Elbow for {}", names.into_iter().collect::<Vec<_>>().join(", "));
        text.chars().take(DESCRIPTION_CHARS).collect()
    }

    /// Rules to end: ours, not to be there, and not the only way in for anybody.
    fn closings(
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
    fn sacrifice(
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
        let (row, wider) = self
            .rows()
            .filter(|row| standing.contains(&row.permission) && !rules.contains(&row.permission))
            .find_map(|row| Some((row, heir(row)?)))?;
        let rule = (*self.ids.get(&row.permission)?).clone();
        if let Some((reason, until)) = self.forbidden(row) {
            self.alarm.set_if(until);
            self.holds.revocation(reason, &row.permission, until);
            return None;
        }
        let revocation = Revocation {
            permission: row.permission.clone(),
            rule,
            why: WhyRevoke::MakesRoom,
        };
        Some((revocation, wider))
    }

    /// What forbids the end of a rule, whatever its ground.
    fn forbidden(&self, row: &LedgerRule) -> Option<(HoldReason, Option<Timestamp>)> {
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

    fn is_unseen_since_fence(&self) -> bool {
        self.input.fenced_until.is_some_and(|until| self.at <= until)
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

    fn standings(
        &mut self,
        rules: &BTreeSet<Permission>,
        standing: &BTreeSet<&Permission>,
        left_out: &BTreeSet<Permission>,
    ) -> BTreeMap<BindingId, Standing> {
        let input = self.input;
        let mut standings = BTreeMap::new();
        for opening in &input.stored.openings {
            let observe_only = mode(input, opening.cluster) == Some(Mode::Observe) && !sabotage::is_on("S12");
            let mut told = Standing::default();
            for permission in &opening.permissions {
                let serving = standing.iter().find(|rule| rule.covers(permission));
                let foreign = self.foreign.iter().find(|rule| {
                    let lets_in = rule.permission.as_ref();
                    lets_in.is_some_and(|each| {
                        each == permission || rules.contains(each) && each.covers(permission)
                    })
                });
                if serving.is_none() && foreign.is_none() {
                    if observe_only {
                        self.holds.authorization(HoldReason::ModeObserve, permission);
                    }
                    let why = self.why_not(permission, left_out);
                    told.problem = told.problem.or(why);
                    continue;
                }
                told.open.insert(permission.clone());
                if let Some(wider) = serving.filter(|rule| ***rule != *permission)
                    && !standing.contains(permission)
                {
                    told.widened.insert((**wider).clone());
                }
                if let Some(rule) = foreign.filter(|_| serving.is_none()) {
                    told.borrowed.insert(rule.id.clone());
                }
            }
            standings.insert(opening.binding, told);
        }
        standings
    }

    fn why_not(&self, permission: &Permission, left_out: &BTreeSet<Permission>) -> Option<Problem> {
        let refused = self
            .input
            .refused
            .iter()
            .find(|(rule, _)| rule.covers(permission));
        if let Some((_, problem)) = refused {
            return Some(problem.clone());
        }
        if let Some(problem) = &self.input.failure {
            return Some(problem.clone());
        }
        left_out.contains(permission).then(|| {
            let message = format!(
                "security group {} has {} of at most {} ingress rules, {} of them made by others, and `{permission}` does \
                 not fit: remove rules, or raise the quota and Elbow's setting for it",
                self.input.stored.group,
                self.taken(),
                self.input.limit,
                self.foreign.len(),
            );
            Problem::at(Reason::QuotaExceeded, "spec.networking", message)
        })
    }
}

/// One hold per reason.
#[derive(Debug, Default)]
struct Holds(BTreeMap<HoldReason, RuleHold>);

impl Holds {
    fn of(&mut self, reason: HoldReason) -> &mut RuleHold {
        self.0.entry(reason).or_insert_with(|| RuleHold {
            reason,
            revocations: BTreeSet::new(),
            authorizations: BTreeSet::new(),
            until: None,
        })
    }

    fn revocation(&mut self, reason: HoldReason, rule: &Permission, until: Option<Timestamp>) {
        let held = self.of(reason);
        held.revocations.insert(rule.clone());
        held.until = held.until.max(until);
    }

    fn authorization(&mut self, reason: HoldReason, rule: &Permission) {
        self.of(reason).authorizations.insert(rule.clone());
    }

    fn into_vec(self) -> Vec<RuleHold> {
        self.0.into_values().collect()
    }
}

fn is_empty(step: &RuleStep) -> bool {
    match step {
        RuleStep::Forget { rules } => rules.is_empty(),
        RuleStep::Confirm { rules } => rules.is_empty(),
        RuleStep::Share { rules } => rules.is_empty(),
        RuleStep::Authorize { rules } => rules.is_empty(),
        RuleStep::Revoke { rules } => rules.is_empty(),
    }
}
