//! What keeps a binding, or whoever a rule serves, from changing rules: a pause, or somebody else who acts on the binding.
//!
//! What they have stays, and nothing is opened for them alone. Others of the same group go on.

use model::{
    network::{BoundOpening, LedgerRule, Permission},
    pause::Scope,
    plan::HoldReason,
};

use super::Planner;

impl Planner<'_> {
    /// Whether rules may be made for it. What is not served keeps what it has.
    pub(super) fn acts(&self, opening: &BoundOpening) -> bool {
        opening.standing.acts() && self.restraint(opening).is_none()
    }

    /// Why no rule may be made for it.
    pub(super) fn restraint(&self, opening: &BoundOpening) -> Option<HoldReason> {
        if self.pauses().any(|scope| covers(scope, opening)) {
            return Some(HoldReason::Paused);
        }
        let waits = opening.standing.waits_for_lbc();
        waits.then_some(HoldReason::ManagedByLBC)
    }

    /// Why a rule may not end on account of those whom it serves, or served last.
    pub(super) fn restraint_of(&self, row: &LedgerRule) -> Option<HoldReason> {
        let served = |scope: &Scope| match scope {
            Scope::Installation | Scope::Shard(_) => true,
            Scope::Cluster(cluster) => row.clusters.contains(cluster),
            Scope::Binding(binding) => match &row.bindings {
                Some(bindings) => bindings.contains(binding),
                // Whom it served was not written down: anybody of the group.
                None => self.asked().any(|opening| opening.binding == *binding),
            },
        };
        if self.pauses().any(served) {
            return Some(HoldReason::Paused);
        }
        let serves = |permission: &Permission| row.permission.covers(permission);
        self.asked()
            .filter(|opening| opening.permissions.iter().any(serves))
            .find_map(|opening| self.restraint(opening))
    }

    fn pauses(&self) -> impl Iterator<Item = &Scope> {
        self.input.stored.pauses.iter().map(|(scope, _)| scope)
    }

    fn asked(&self) -> impl Iterator<Item = &BoundOpening> {
        self.input.stored.openings.iter()
    }
}

fn covers(scope: &Scope, opening: &BoundOpening) -> bool {
    match scope {
        Scope::Installation | Scope::Shard(_) => true,
        Scope::Cluster(cluster) => opening.cluster == *cluster,
        Scope::Binding(binding) => opening.binding == *binding,
    }
}
