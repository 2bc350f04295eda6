//! One pass over one managed target group: gather → plan → apply, until there is no step, then report. What is in the group
//! is the affair of the target group's own pass (`pass.rs`), which begins once AWS has named it.

use std::time::Duration;

use aws::{Certainty, Deadline, ErrorClass, Lookup};
use jiff::{SignedDuration, Timestamp};
use model::{
    Name, Observed,
    condition::Problem,
    managed::{Ending, GroupPlan, GroupStatus, ObservedGroup},
};
use planner::managed::{ManagedInput, plan};
use runtime::backoff::Backoff;
use store::{Outcome, SettledStep};

use crate::{
    memory,
    pass::{Context, Error, ROUNDS},
    turn::{Turn, Waited},
};

/// How old what AWS said may grow while a group is on its way out, and waits for somebody to let go of it.
const ENDING_SEEN_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// What is remembered of one managed group between passes. All of it can be lost.
#[derive(Debug)]
pub(crate) struct GroupMemory {
    /// When the group was declared that the rest is about.
    declared_at: Option<Timestamp>,
    observed: Observed<ObservedGroup>,
    targets: Observed<usize>,
    /// AWS contradicted what it said before: it must be asked again.
    stale: bool,
    failure: Option<Problem>,
    pub(crate) backoff: Backoff,
    /// What was reported last: the same is not written again.
    reported: Option<(GroupStatus, Option<ObservedGroup>)>,
}

impl Default for GroupMemory {
    fn default() -> Self {
        Self {
            declared_at: None,
            observed: Observed::Unknown,
            targets: Observed::Unknown,
            stale: false,
            failure: None,
            backoff: memory::backoff(),
            reported: None,
        }
    }
}

impl Context {
    /// Looks at the managed group and does what follows. Returns when time alone may change the plan.
    pub(crate) async fn managed_pass(
        &self,
        name: &Name,
        memory: &mut GroupMemory,
        turn: &mut Turn,
    ) -> Result<Option<Duration>, Error> {
        memory.failure = None;
        let mut observed = false;
        for _ in 0..ROUNDS {
            let Some(mut input) = self.gather_managed(name, memory).await? else {
                return Ok(None);
            };
            let mut planned = plan(&input);
            if memory.stale || !observed && self.should_observe_group(&input, &planned) {
                observed = true;
                self.observe_group(name, &input, memory).await?;
                continue;
            }
            let Some(first) = planned.steps.first() else {
                self.report_group(name, &planned, memory).await?;
                return Ok(memory::wake_in(input.stored.now, planned.wake_at));
            };
            let mut permit = None;
            if first.writes_aws() {
                let spec = &input.stored.definition.spec.managed;
                match turn.rest(self.client.group_permit(spec, first)).await {
                    Waited::AtOnce(granted) => permit = Some(granted),
                    Waited::Later(granted) => {
                        permit = Some(granted);
                        // What changed meanwhile joins the call.
                        match self.gather_managed(name, memory).await? {
                            Some(newer) => input = newer,
                            None => return Ok(None),
                        }
                        planned = plan(&input);
                    }
                    Waited::Woken | Waited::Stopped => return Ok(None),
                }
            }
            if self.apply_group(&input, &planned, permit, memory).await? {
                memory.backoff.reset();
                // What was written must be seen.
                observed = false;
            } else if !memory.stale {
                if let Some(input) = self.gather_managed(name, memory).await? {
                    self.report_group(name, &plan(&input), memory).await?;
                }
                return Ok(Some(memory.backoff.next_delay()));
            }
        }
        Ok(Some(memory.backoff.next_delay()))
    }

    /// `None`: nobody declares it any more.
    async fn gather_managed(
        &self,
        name: &Name,
        memory: &mut GroupMemory,
    ) -> Result<Option<ManagedInput>, Error> {
        let stored = self.store.managed_group(&self.fence.shard, name).await?;
        let declared_at = stored.as_ref().map(|stored| stored.declared_at);
        if memory.declared_at != declared_at {
            // Another group: nothing of it has been seen, and nothing told.
            *memory = GroupMemory {
                declared_at,
                ..GroupMemory::default()
            };
        }
        Ok(stored.map(|stored| ManagedInput {
            stored,
            grace: self.settings.guards.consistency_grace,
            fenced_until: self.fenced_until,
            observed: memory.observed.clone(),
            targets: memory.targets.clone(),
            failure: memory.failure.clone(),
        }))
    }

    fn should_observe_group(&self, input: &ManagedInput, plan: &GroupPlan) -> bool {
        let age = match input.stored.definition.ending {
            Some(_) => ENDING_SEEN_EVERY,
            None => SignedDuration::try_from(self.settings.observe_every).unwrap_or(SignedDuration::MAX),
        };
        let is_old = || input.observed.at().is_none_or(|at| at < input.stored.now - age);
        plan.observe.is_some() || plan.steps.is_empty() && is_old()
    }

    async fn observe_group(
        &self,
        name: &Name,
        input: &ManagedInput,
        memory: &mut GroupMemory,
    ) -> Result<(), Error> {
        let definition = &input.stored.definition;
        let lookup = match input.stored.arn() {
            Some(arn) => Lookup::Arn(arn),
            None => Lookup::Name(&definition.spec.managed.name),
        };
        let described = async {
            let observed = self.client.managed_group(lookup).await?;
            let targets = match (definition.ending, observed.present()) {
                (Some(Ending::Delete), Some(group)) => {
                    self.client.target_health(&group.arn).await?.map(Vec::len)
                }
                _ => Observed::Unknown,
            };
            Ok::<_, aws::Error>((observed, targets))
        };
        match described.await {
            Ok((observed, targets)) => {
                memory.observed = observed;
                memory.targets = targets;
                memory.stale = false;
                Ok(())
            }
            Err(error) => {
                // A failed read leaves what was seen before: it says nothing, in particular not that nothing is there.
                memory.failure = Some(error.problem());
                if let Some(input) = self.gather_managed(name, memory).await? {
                    self.report_group(name, &plan(&input), memory).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Applies the plan in its order: permit, intent, call, outcome. `false`: AWS did not acknowledge a step, and what
    /// came after it was left for later.
    async fn apply_group(
        &self,
        input: &ManagedInput,
        plan: &GroupPlan,
        mut permit: Option<aws::budget::Permit>,
        memory: &mut GroupMemory,
    ) -> Result<bool, Error> {
        let id = Self::plan_id();
        let spec = &input.stored.definition.spec.managed;
        for step in &plan.steps {
            if !step.writes_aws() {
                self.store.intend_group(&self.fence, id, plan, step).await?;
                continue;
            }
            let leave = match permit.take() {
                Some(permit) => permit,
                None => self.client.group_permit(spec, step).await,
            };
            self.store.intend_group(&self.fence, id, plan, step).await?;
            let deadline = Deadline(*self.deadline.borrow());
            let Some(result) = self.client.write_group(leave, spec, step, deadline).await else {
                continue;
            };
            let (outcome, request_id, problem) = match result {
                Ok(aws::Receipt { request_id }) => {
                    tracing::info!(target_group = %plan.name, step = step.action(), request_id, "AWS acknowledged a write");
                    (Outcome::Acknowledged, request_id, None)
                }
                Err(failure) => {
                    tracing::warn!(target_group = %plan.name, step = step.action(), %failure, "AWS did not acknowledge a write");
                    memory.stale |= matches!(
                        failure.class,
                        ErrorClass::NameTaken | ErrorClass::Vanished | ErrorClass::DependencyPending
                    );
                    let outcome = match failure.certainty {
                        Certainty::NotApplied => Outcome::Failed,
                        Certainty::Ambiguous => Outcome::Ambiguous,
                    };
                    (outcome, failure.request_id.clone(), Some(failure.problem()))
                }
            };
            memory.failure.clone_from(&problem);
            let settled = SettledStep {
                step,
                outcome,
                request_id,
                problem,
            };
            self.store
                .settle_group(&self.fence, id, &plan.name, settled)
                .await?;
            if memory.failure.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn report_group(
        &self,
        name: &Name,
        plan: &GroupPlan,
        memory: &mut GroupMemory,
    ) -> Result<(), Error> {
        let reported = Some((plan.status.clone(), memory.observed.present().cloned()));
        if memory.reported != reported {
            self.store
                .report_managed_group(&self.fence, name, &plan.status, &memory.observed)
                .await?;
            memory.reported = reported;
        }
        Ok(())
    }
}
