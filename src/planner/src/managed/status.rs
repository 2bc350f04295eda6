//! What is told about a managed group.

use model::{
    condition::{Problem, Readiness, Reason, Truth},
    managed::{Ending, GroupHold, GroupStatus, GroupStep},
    plan::HoldReason,
};

use super::{Decision, ManagedInput};

pub(super) fn status(
    input: &ManagedInput,
    decision: &Decision,
    steps: &[GroupStep],
    holds: Vec<GroupHold>,
) -> GroupStatus {
    GroupStatus {
        ready: ready(input, decision, steps, &holds),
        steps: steps.to_vec(),
        holds,
        drift: decision.drift.clone(),
    }
}

fn ready(input: &ManagedInput, decision: &Decision, steps: &[GroupStep], holds: &[GroupHold]) -> Readiness {
    if let Some(problem) = decision.problem.as_ref().or(input.failure.as_ref()) {
        let Problem { reason, .. } = problem;
        return not(*reason, problem.to_string());
    }
    if let Some(hold) = holds.first() {
        let reason = match hold.reason {
            HoldReason::Paused => Reason::Paused,
            HoldReason::ModeObserve => Reason::ObserveOnly,
            _ => Reason::Held,
        };
        let waiting = format!(
            "{} steps wait ({}); what ends it: {}",
            holds.len(),
            hold.reason,
            hold.reason.release()
        );
        return not(reason, waiting);
    }
    let writes = steps.iter().filter(|step| step.writes_aws()).count();
    match (&input.stored.definition.ending, writes) {
        (Some(Ending::Delete), _) => not(Reason::Progressing, "the group is being deleted"),
        (Some(Ending::Keep | Ending::Release), _) => not(Reason::Progressing, "the group is being let go"),
        (None, 1..) => not(
            Reason::Progressing,
            format!("{writes} changes are on their way to AWS"),
        ),
        (None, 0) if decision.observe.is_some() || input.stored.ledger.is_none() => Readiness {
            status: Truth::Unknown,
            reason: Reason::AwaitingAws,
            message: "AWS has not yet been asked about the group".to_owned(),
        },
        (None, 0) if decision.wake_at.is_some() => not(
            Reason::Progressing,
            "what was sent to AWS is not yet to be seen there",
        ),
        (None, 0) if !decision.drift.is_empty() => {
            let told: Vec<_> = decision.drift.iter().map(ToString::to_string).collect();
            Readiness {
                status: Truth::True,
                reason: Reason::Drifted,
                message: format!(
                    "somebody changed the group in AWS: {}; set `drift: repair` to have it set back, or declare it so",
                    told.join(", ")
                ),
            }
        }
        (None, 0) => Readiness {
            status: Truth::True,
            reason: Reason::Reconciled,
            message: "AWS has the group as it is declared".to_owned(),
        },
    }
}

fn not(reason: Reason, message: impl Into<String>) -> Readiness {
    Readiness {
        status: Truth::False,
        reason,
        message: message.into(),
    }
}
