//! The planner: wishes of bindings × what AWS has × what is ours → a plan. Pure, and the only place that decides.
//!
//! It owns the rules of removal (`src/README.md`, "Removals"): evidence, hold-down, guard, holds, and what is told to
//! users about them. Time, settings and observations come in by [`Input`]; there is no I/O, no clock and no randomness,
//! so that equal input gives an equal plan. Planning again what has been applied yields no steps.
//!
//! It must not know SQL, AWS SDK types, Kubernetes clients or who is connected. The next step of the ring is the apply
//! in `reconcile`, which writes each step's intent to the ledger before it calls AWS.

mod absence;
mod addition;
mod admission;
mod budget;
mod contest;
mod drain;
mod fleet;
mod gate;
mod guard;
mod holds;
mod input;
mod instance;
mod ledger;
pub mod managed;
pub mod network;
mod observe;
mod status;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

pub use drain::drained;
pub use fleet::is_frozen;
pub use gate::{Gates, gates};
pub use input::{Circumstances, Input, Seen};
use model::{
    Observed, TargetKey,
    ledger::{Ground, LedgerTarget},
    plan::{HoldReason, Observe, Plan, Step, Subtraction},
    sabotage,
};

use crate::{
    addition::Demand,
    contest::Contest,
    guard::{Guard, Passed},
    holds::{Alarm, Holds},
    observe::Sight,
};

/// Decides what is to happen to one target group.
pub fn plan(input: &Input) -> Plan {
    let holders = absence::holders(input);
    let sight = Sight::of(input);
    let mut holds = Holds::default();
    let mut alarm = Alarm::new(input.now);

    for bound in &input.bindings {
        alarm.set_if(bound.opening_until(input.now, &input.guards));
    }
    let demands = addition::demands(input, &holders, &mut holds);
    let additions = addition::additions(input, &sight, &holders, &demands, &mut holds);
    let review = ledger::review(input, &sight, &holders, &demands, &mut holds, &mut alarm);
    let unseen_since_fence = input
        .fenced_until
        .is_some_and(|until| input.targets.at().is_none_or(|at| at <= until));
    let contest = Contest::of(input);
    alarm.set_if(contest.and_then(Contest::until));
    let guard = Guard {
        input,
        sight: &sight,
        holders: &holders,
        registering: &additions.holding_back(input),
        unseen_since_fence,
        contest,
    };
    let group_gone = matches!(input.facts, Observed::Absent { .. });
    let verify = review.verify || group_gone && !review.unwanted.is_empty();
    let mut removals = guard.pass(review.unwanted, &mut holds, &mut alarm);
    // Only what the ledger lists is ours (S7): the guard sees nothing else.
    if sabotage::is_on("S7") {
        removals.guarded.extend(foreign(input, &sight, &demands));
    }

    if input.restored {
        // What AWS has beyond a ledger that went back in time may be ours: shown, so that somebody can tell.
        for Subtraction { target, .. } in foreign(input, &sight, &demands) {
            holds.removal(HoldReason::Restored, &target.key, &[], None);
        }
    }

    let unseen = input.targets.present().is_none() && !group_gone;
    let fence_passed = input.fenced_until.is_some_and(|until| input.now >= until);
    let first = input.is_of_interest() && (unseen || unseen_since_fence && fence_passed);
    let removed: BTreeSet<_> = removals.keys().cloned().collect();
    let marks = ledger::marks(input, &holders, &demands, &removed, &review.forget);
    let observe = if first {
        Some(Observe::First)
    } else {
        verify.then_some(Observe::Verify)
    };

    let addition::Additions { claim, mut register } = additions;
    let Passed {
        proven,
        told,
        guarded,
        relists,
    } = removals;
    if addition::is_refused(input) && !guarded.is_empty() {
        // AWS would refuse again, and what comes after a refusal would never go.
        register.clear();
    }
    let mut plan = Plan {
        target_group: input.arn.clone(),
        // Proven removals wait for nothing; the others come after what may replace them.
        steps: [
            Step::Forget {
                targets: review.forget,
            },
            Step::Claim { targets: claim },
            Step::Unbind {
                targets: review.rebind,
            },
            Step::Deregister { targets: proven },
            Step::Register { targets: register },
            Step::Deregister { targets: told },
            Step::Deregister { targets: guarded },
        ]
        .into_iter()
        .filter(|step| step.targets() > 0)
        .collect(),
        holds: holds.into_vec(),
        marks,
        relists,
        observe,
        wake_at: alarm.at(),
        statuses: BTreeMap::new(),
    };
    plan.statuses = status::statuses(input, &holders, &plan, contest);
    plan
}

/// Targets that the ledger does not list and that no binding wants: never touched.
fn foreign<'a>(
    input: &'a Input,
    sight: &'a Sight<'a>,
    demands: &'a BTreeMap<TargetKey, Demand>,
) -> impl Iterator<Item = Subtraction> + 'a {
    let ours: BTreeSet<_> = input.ledger.iter().map(LedgerTarget::key).collect();
    sight
        .registered()
        .filter(move |observed| {
            !ours.contains(&observed.target.key) && !demands.contains_key(&observed.target.key)
        })
        .map(|observed| Subtraction {
            target: observed.target.clone(),
            ground: Ground::Confirmed,
        })
}
