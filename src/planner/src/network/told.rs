//! What a binding's status says about its openings.

use model::{
    condition::{Problem, Readiness, Reason, Truth},
    group::BoundService,
    network::{Opening, SecurityGroupId},
};

/// Adds to what is said about the binding's targets: what is open, what is not, and why.
pub(crate) fn add(bound: &BoundService, ready: &mut Readiness) {
    let mut parts = Vec::new();
    let mut pending = false;
    let mut refused: Option<&Problem> = None;
    for (group, opening) in &bound.openings {
        parts.push(about(group, opening));
        pending |= opening.pending() > 0;
        let problem = opening
            .standing
            .as_ref()
            .and_then(|standing| standing.problem.as_ref());
        if let Some(problem) = problem {
            parts.push(problem.message.clone());
            refused = refused.or(Some(problem));
        }
    }
    if let Some(problem) = &bound.unopened {
        parts.push(problem.to_string());
        // An address that no interface of the VPC has is no mistake by itself: it may be that of a machine elsewhere.
        if problem.reason != Reason::InterfaceNotFound {
            refused = refused.or(Some(problem));
        }
    }
    for part in parts {
        ready.message.push_str("; ");
        ready.message.push_str(&part);
    }
    if ready.status == Truth::True
        && let Some(problem) = refused
    {
        ready.status = Truth::False;
        ready.reason = problem.reason;
    } else if ready.reason == Reason::Reconciled && pending {
        ready.reason = Reason::Progressing;
    }
}

fn about(group: &SecurityGroupId, opening: &Opening) -> String {
    let asked = opening.permissions.len();
    let standing = opening.standing.as_ref();
    let open = standing.map_or(0, |standing| {
        opening.permissions.intersection(&standing.open).count()
    });
    let mut text = match (open, asked) {
        (1, 1) => format!("1 rule of {group} is open"),
        _ if open == asked => format!("{asked} rules of {group} are open"),
        _ => format!("{open} of {asked} rules of {group} are open"),
    };
    if let Some(standing) = standing {
        if !standing.borrowed.is_empty() {
            let ids: Vec<_> = standing.borrowed.iter().map(ToString::to_string).collect();
            text = format!("{text}, by somebody else's {}", ids.join(", "));
        }
        if !standing.widened.is_empty() {
            let rules: Vec<_> = standing.widened.iter().map(ToString::to_string).collect();
            text = format!(
                "{text}, within wider ones since the group is full: {}",
                rules.join(", ")
            );
        }
    }
    text
}
