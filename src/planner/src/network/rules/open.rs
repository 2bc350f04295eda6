//! Rules to make.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    cluster::Cluster,
    network::{BoundOpening, Permission, RuleState},
    rule_plan::{Authorization, WhyAuthorize},
};

use super::{Planner, sight::Sight};

/// EC2 takes 255 characters of these (API_IpRange).
const DESCRIPTION_CHARS: usize = 255;

impl<'a> Planner<'a> {
    /// Rules to make, what nobody has open yet first.
    pub(super) fn openings(
        &self,
        rules: &BTreeSet<Permission>,
        standing: &BTreeSet<&Permission>,
    ) -> Vec<Authorization> {
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
                let served = self.acting(rule);
                if served.is_empty() {
                    return None;
                }
                Some(Authorization {
                    clusters: served.iter().map(|opening| opening.cluster).collect(),
                    bindings: served.iter().map(|opening| opening.binding).collect(),
                    description: self.description(&served),
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

    /// Those whom the rule would serve and for whom it may be made.
    fn acting(&self, rule: &Permission) -> Vec<&'a BoundOpening> {
        let served = self
            .wanted
            .iter()
            .filter(|(permission, _)| rule.covers(permission));
        let openings = served.flat_map(|(_, openings)| openings.iter().copied());
        openings.filter(|opening| self.acts(opening)).collect()
    }

    /// For people who look at the rule in AWS.
    fn description(&self, served: &[&BoundOpening]) -> String {
        let names: BTreeSet<_> = served
            .iter()
            .map(|opening| {
                let cluster = self.input.stored.clusters.get(&opening.cluster);
                let cluster = cluster.map_or("?", |Cluster { name, .. }| name.as_str());
                format!("{cluster}: {}", opening.object)
            })
            .collect();
        let text = format!("Elbow for {}", names.into_iter().collect::<Vec<_>>().join(", "));
        text.chars().take(DESCRIPTION_CHARS).collect()
    }
}
