//! What became of each binding's openings.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BindingId,
    cluster::Mode,
    condition::{Problem, Reason},
    network::{Permission, Standing},
    plan::HoldReason,
    sabotage,
};

use super::{Planner, RuleInput, mode};

/// What is said while AWS's rules are not known.
pub(super) fn unseen(input: &RuleInput) -> BTreeMap<BindingId, Standing> {
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

impl Planner<'_> {
    pub(super) fn standings(
        &mut self,
        rules: &BTreeSet<Permission>,
        standing: &BTreeSet<&Permission>,
        left_out: &BTreeSet<Permission>,
    ) -> BTreeMap<BindingId, Standing> {
        let input = self.input;
        let mut standings = BTreeMap::new();
        for opening in &input.stored.openings {
            let observe_only = mode(input, opening.cluster) == Some(Mode::Observe) && !sabotage::is_on("S12");
            let restraint = self
                .restraint(opening)
                .or(observe_only.then_some(HoldReason::ModeObserve));
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
                    if let Some(reason) = restraint {
                        self.holds.authorization(reason, permission);
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
