//! Which targets of pods that ended have drained.

use model::{
    Observed,
    drain::{Drain, Drained},
    target::HealthState,
};

use crate::{input::Input, observe::Sight};

/// The drains that are over. One is under way until an answer from after the deregistration shows no draining target.
pub fn drained(input: &Input) -> Vec<Drained> {
    if input.drains.is_empty() {
        return Vec::new();
    }
    let sight = Sight::of(input);
    let gone = matches!(input.facts, Observed::Absent { .. });
    let mut over = Vec::new();
    for Drain { key, pod: _, since } in &input.drains {
        let Some(at) = sight.at.filter(|at| at > since) else {
            continue;
        };
        let drains = |state: &HealthState| matches!(state, HealthState::Draining);
        if sight.target(key).is_some_and(|target| drains(&target.state)) {
            continue;
        }
        // Registered again, by whomever: what it serves now is another's.
        let taken = sight.target(key).is_some() || input.ledger.iter().any(|row| row.key() == key);
        over.push(Drained {
            key: key.clone(),
            at: (!taken && !gone).then_some(at),
        });
    }
    over
}
