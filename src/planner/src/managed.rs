//! Managed target groups: declaration × what AWS has × what is ours → a plan. As the planner of targets: pure, and planning
//! what has been applied yields no steps.
//!
//! - A group is made only where AWS has none of the name. One that is there is ours only by our tags; somebody else's is
//!   told of and never touched.
//! - What AWS says counts against our own write only if it was asked `grace` later: answers may be stale, and a call that
//!   was given up may be applied late.
//! - A stated setting that AWS has otherwise is *set* if we have not set it so yet, and *drift* if we have: then the
//!   declaration's policy decides.
//! - A group is deleted only when nothing uses it and nothing is in it.

mod diff;
mod status;

use jiff::{SignedDuration, Timestamp};
use model::{
    Observed, TargetGroupArn,
    cluster::Mode,
    condition::{Problem, Reason},
    managed::{
        Difference, Ending, GroupHold, GroupPlan, GroupState, GroupStep, LedgerGroup, ManagedSnapshot,
        ObservedGroup, Setting,
    },
    plan::{HoldReason, Observe},
    sabotage,
};

/// How old AWS's word may be that nothing is in a group and nothing uses it, when it is deleted. While a deletion waits for
/// an operator or for leave to call, somebody may have begun to use the group.
const EMPTY_SEEN_WITHIN: SignedDuration = SignedDuration::from_secs(15);

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct ManagedInput {
    pub stored: ManagedSnapshot,
    /// [`Guards::consistency_grace`](model::guard::Guards::consistency_grace).
    pub grace: SignedDuration,
    /// Until then a call of the writer before us may still arrive in AWS.
    pub fenced_until: Option<Timestamp>,
    pub observed: Observed<ObservedGroup>,
    /// How many targets AWS has in it, draining ones included. Asked only before it is deleted.
    pub targets: Observed<usize>,
    /// What went wrong last.
    pub failure: Option<Problem>,
}

/// Decides what is to happen to one managed group.
pub fn plan(input: &ManagedInput) -> GroupPlan {
    let mut decision = decide(input);
    let mut holds = std::mem::take(&mut decision.holds);
    let mut steps = Vec::new();
    for step in std::mem::take(&mut decision.steps) {
        match keeps_back(input, &step) {
            Some((reason, until)) => {
                decision.wake(until);
                holds.push(GroupHold { reason, step });
            }
            None => steps.push(step),
        }
    }
    let definition = &input.stored.definition;
    let status = status::status(input, &decision, &steps, holds);
    GroupPlan {
        name: definition.name.clone(),
        version: definition.version,
        steps,
        observe: decision.observe,
        wake_at: decision.wake_at,
        status,
    }
}

/// What follows from what is known, before anything keeps it back.
#[derive(Default)]
struct Decision {
    steps: Vec<GroupStep>,
    holds: Vec<GroupHold>,
    drift: Vec<Difference>,
    problem: Option<Problem>,
    observe: Option<Observe>,
    wake_at: Option<Timestamp>,
}

impl Decision {
    fn step(step: GroupStep) -> Self {
        Self {
            steps: vec![step],
            ..Self::default()
        }
    }

    fn observe(why: Observe) -> Self {
        Self {
            observe: Some(why),
            ..Self::default()
        }
    }

    /// Time will tell.
    fn wait(until: Timestamp) -> Self {
        Self {
            wake_at: Some(until),
            ..Self::default()
        }
    }

    fn problem(problem: Problem) -> Self {
        Self {
            problem: Some(problem),
            ..Self::default()
        }
    }

    fn hold(reason: HoldReason, step: GroupStep) -> Self {
        Self {
            holds: vec![GroupHold { reason, step }],
            ..Self::default()
        }
    }

    fn wake(&mut self, at: Option<Timestamp>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }
}

fn decide(input: &ManagedInput) -> Decision {
    let ManagedSnapshot {
        definition, ledger, ..
    } = &input.stored;
    match (ledger, definition.ending) {
        (None, Some(_)) => Decision::step(GroupStep::Forget),
        (None, None) => match &definition.spec.arn {
            Some(_) => adopt(input),
            None => begin(input),
        },
        (Some(ledger), ending) => follow(input, ledger, ending),
    }
}

/// Nothing is ours yet, and a group of the name is wanted.
fn begin(input: &ManagedInput) -> Decision {
    match &input.observed {
        Observed::Unknown => Decision::observe(Observe::First),
        Observed::Absent { .. } => create(input),
        Observed::Present { value, .. } if is_ours(input, value) => confirm(value),
        Observed::Present { value, .. } => Decision::problem(taken(value)),
    }
}

/// Nothing is ours yet, and a group that is there is to be taken over.
fn adopt(input: &ManagedInput) -> Decision {
    let group = match &input.observed {
        Observed::Unknown => return Decision::observe(Observe::First),
        Observed::Absent { .. } => {
            let message = "AWS has no target group of this ARN: correct it, or leave it out to have one made";
            return Decision::problem(Problem::at(Reason::TargetGroupNotFound, "spec.arn", message));
        }
        Observed::Present { value, .. } => value,
    };
    if let Some(problem) = refuses_adoption(input, group) {
        return Decision::problem(problem);
    }
    if is_ours(input, group) {
        return confirm(group);
    }
    Decision::step(GroupStep::Adopt {
        arn: group.arn.clone(),
        settings: input.stored.our_tags(),
    })
}

fn refuses_adoption(input: &ManagedInput, group: &ObservedGroup) -> Option<Problem> {
    if group.is_of_lbc() {
        let message = "the group has tags of the AWS Load Balancer Controller, which would delete it or set it back: have \
                       it let go of the group, and remove those tags, first";
        return Some(Problem::at(Reason::ManagedByLBC, "spec.arn", message));
    }
    let other = input.stored.our_tags().into_iter().find_map(|(tag, ours)| {
        let value = group.settings.get(&tag)?;
        (*value != ours).then(|| format!("{tag} is `{value}`"))
    });
    if let Some(other) = other {
        let message =
            format!("the group is managed by somebody else ({other}): have them let go of it first");
        return Some(Problem::at(Reason::NotOwned, "spec.arn", message));
    }
    let declared = input.stored.definition.spec.managed.identity().fields();
    let differs = declared.into_iter().zip(group.identity.fields());
    let ((field, declared), (_, observed)) = differs.into_iter().find(|(one, other)| one != other)?;
    let message = format!("the group's is `{observed}` and not `{declared}`: declare it as it is");
    Some(Problem::at(
        Reason::TargetGroupMismatch,
        format!("spec.managed.{field}"),
        message,
    ))
}

/// Something is ours, or may be.
fn follow(input: &ManagedInput, ledger: &LedgerGroup, ending: Option<Ending>) -> Decision {
    let Some(at) = input.observed.at() else {
        return Decision::observe(Observe::First);
    };
    if at <= ledger.changed_at {
        return Decision::observe(Observe::Verify);
    }
    let believed_from = ledger
        .changed_at
        .checked_add(input.grace)
        .unwrap_or(Timestamp::MAX);
    // What agrees with us is believed at once, and what does not when it cannot be stale any more.
    let doubtful = (at < believed_from).then(|| {
        if input.stored.now < believed_from {
            Decision::wait(believed_from)
        } else {
            Decision::observe(Observe::Verify)
        }
    });
    let Some(group) = input.observed.present() else {
        return match (ledger.state, ending) {
            (GroupState::Deleting, _) => Decision::step(GroupStep::Forget),
            _ if doubtful.is_some() => doubtful.unwrap_or_default(),
            (_, Some(_)) | (GroupState::Releasing, None) => Decision::step(GroupStep::Forget),
            (GroupState::Creating, None) => create(input),
            (GroupState::Adopting | GroupState::Present, None) => Decision::problem(vanished()),
        };
    };
    let ours = is_ours(input, group);
    match ledger.state {
        GroupState::Creating | GroupState::Adopting if ours => confirm(group),
        GroupState::Releasing if !ours => Decision::step(GroupStep::Forget),
        GroupState::Present if ours => present(input, ledger, group, ending, doubtful),
        // What is on its way may still arrive.
        _ if doubtful.is_some() => doubtful.unwrap_or_default(),
        GroupState::Creating => Decision {
            problem: Some(taken(group)),
            ..Decision::step(GroupStep::Forget)
        },
        GroupState::Adopting if ending.is_some() => Decision::step(GroupStep::Forget),
        GroupState::Adopting => adopt(input),
        GroupState::Releasing => release(input, group),
        GroupState::Deleting if ours => delete(input, group),
        GroupState::Present | GroupState::Deleting => match ending {
            Some(Ending::Keep | Ending::Release) => Decision::step(GroupStep::Forget),
            Some(Ending::Delete) | None => Decision::problem(disowned(group)),
        },
    }
}

fn present(
    input: &ManagedInput,
    ledger: &LedgerGroup,
    group: &ObservedGroup,
    ending: Option<Ending>,
    doubtful: Option<Decision>,
) -> Decision {
    match ending {
        Some(Ending::Delete) => delete(input, group),
        Some(Ending::Keep | Ending::Release) => release(input, group),
        None => diff::diff(input, ledger, group, doubtful),
    }
}

fn create(input: &ManagedInput) -> Decision {
    let stated = input.stored.definition.spec.managed.stated().into_iter();
    // Attributes have a call of their own.
    let taken = stated.filter(|(setting, _)| !matches!(setting, Setting::Attribute(_)));
    Decision::step(GroupStep::Create {
        settings: taken.chain(input.stored.our_tags()).collect(),
    })
}

fn confirm(group: &ObservedGroup) -> Decision {
    Decision::step(GroupStep::Confirm {
        arn: group.arn.clone(),
    })
}

fn release(input: &ManagedInput, group: &ObservedGroup) -> Decision {
    Decision::step(GroupStep::Release {
        arn: group.arn.clone(),
        keys: input.stored.our_tags().into_keys().collect(),
    })
}

fn delete(input: &ManagedInput, group: &ObservedGroup) -> Decision {
    let step = GroupStep::Delete {
        arn: group.arn.clone(),
    };
    if !group.load_balancers.is_empty() {
        return Decision::hold(HoldReason::InUse, step);
    }
    if input.stored.bindings + input.stored.targets > 0 {
        return Decision::hold(HoldReason::NotEmpty, step);
    }
    let seen = input.observed.at().into_iter().chain(input.targets.at()).min();
    match input.targets {
        Observed::Unknown => Decision::observe(Observe::First),
        Observed::Present { value: 1.., .. } => Decision::hold(HoldReason::NotEmpty, step),
        _ if seen.is_none_or(|at| at < input.stored.now - EMPTY_SEEN_WITHIN) => {
            Decision::observe(Observe::Verify)
        }
        Observed::Present { .. } | Observed::Absent { .. } => Decision::step(step),
    }
}

fn is_ours(input: &ManagedInput, group: &ObservedGroup) -> bool {
    sabotage::is_on("S7") || input.stored.is_ours(group)
}

fn taken(group: &ObservedGroup) -> Problem {
    let arn: &TargetGroupArn = &group.arn;
    Problem::at(
        Reason::NotOwned,
        "spec.managed.name",
        format!(
            "AWS has a target group of this name that is not Elbow's: choose another name, or take it over by `spec.arn: {arn}`"
        ),
    )
}

fn disowned(group: &ObservedGroup) -> Problem {
    Problem::new(
        Reason::NotOwned,
        format!(
            "somebody took Elbow's tags from {}, so it is not touched: put them back, or let it go with `inAws=keep`",
            group.arn
        ),
    )
}

fn vanished() -> Problem {
    Problem::new(
        Reason::TargetGroupNotFound,
        "somebody deleted the group in AWS: delete its bindings and this declaration, and declare it anew to have it made \
         again",
    )
}

/// What keeps a step back, and until when if time ends it.
fn keeps_back(input: &ManagedInput, step: &GroupStep) -> Option<(HoldReason, Option<Timestamp>)> {
    if !step.writes_aws() {
        return None;
    }
    let ManagedSnapshot {
        modes,
        paused,
        restored,
        ..
    } = &input.stored;
    if paused.is_some() {
        return Some((HoldReason::Paused, None));
    }
    let most = modes.iter().max_by_key(|mode| match mode {
        Mode::Observe => 0,
        Mode::AddOnly => 1,
        Mode::Full => 2,
    });
    match most {
        Some(Mode::Observe) => return Some((HoldReason::ModeObserve, None)),
        Some(Mode::AddOnly) if step.removes() => return Some((HoldReason::ModeAddOnly, None)),
        _ => {}
    }
    if !step.removes() {
        return None;
    }
    if *restored {
        return Some((HoldReason::Restored, None));
    }
    let until = input.fenced_until?;
    let seen_since = input.observed.at().is_some_and(|at| at > until);
    (!seen_since).then_some((HoldReason::Fencing, Some(until)))
}
