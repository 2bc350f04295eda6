//! Applying a plan: permit, intent, call, outcome. Each writing step waits for leave to call first, so that the intent
//! does not age in a queue.

use std::{collections::BTreeMap, time::Duration};

use aws::{
    Deadline,
    budget::{Batch, Lane, Permit},
};
use model::{
    Target, TargetGroupArn,
    condition::Problem,
    plan::{Plan, Step, Subtraction},
    sabotage,
};
use store::{Call, Outcome};

use crate::pass::{Context, Error};

/// The batches whose changes have gathered long enough and are still to be sent, the one that waits longest first.
#[derive(Default)]
pub(crate) struct Ripe(Vec<Batch>);

impl Ripe {
    /// Asks how much longer the plan's other batches should gather, and answers when the next of them is ripe.
    pub(crate) fn ask(&mut self, context: &Context, arn: &TargetGroupArn, plan: &Plan) -> Option<Duration> {
        let mut targets = BTreeMap::<Batch, usize>::new();
        for step in &plan.steps {
            if let Some(lane) = lane(step) {
                *targets.entry(lane.into()).or_default() += step.targets();
            }
        }
        self.0.retain(|batch| targets.contains_key(batch));
        let mut next = None;
        for (batch, targets) in targets {
            if self.0.contains(&batch) {
                continue;
            }
            let wait = context.client.gather(arn, batch, targets);
            if wait.is_zero() {
                self.0.push(batch);
            } else {
                next = Some(next.map_or(wait, |other: Duration| other.min(wait)));
            }
        }
        next
    }

    /// Leaves in the plan what is ripe, and what calls nobody.
    pub(crate) fn pick(&self, plan: &mut Plan) {
        retain(plan, &self.0);
    }

    /// What the plan had of it is sent.
    pub(crate) fn sent(&mut self, plan: &Plan) {
        self.0.retain(|batch| lane_of(plan, *batch).is_none());
    }
}

/// Leave to call AWS.
#[derive(Default)]
pub(crate) struct Permits(Vec<Permit>);

impl Permits {
    /// Waits for a permit for what is ripe for longest. Says whether time passed, in which the plan may have changed.
    pub(crate) async fn wait(
        &mut self,
        context: &Context,
        arn: &TargetGroupArn,
        plan: &Plan,
        ripe: &Ripe,
    ) -> bool {
        let lane = ripe.0.iter().find_map(|batch| lane_of(plan, *batch));
        let asked = tokio::time::Instant::now();
        let permit = context.client.permit(lane.unwrap_or(Lane::Add), turn(arn)).await;
        self.0.push(permit);
        asked.elapsed() > Duration::from_millis(5)
    }

    /// Takes what is there for the other batches, and leaves in the plan what can be sent now: no call waits for the
    /// permit of another.
    pub(crate) fn cover(&mut self, context: &Context, plan: &mut Plan, ripe: &Ripe) {
        let mut covered: Vec<Batch> = self.0.iter().map(|permit| permit.lane().into()).collect();
        for batch in &ripe.0 {
            if covered.contains(batch) {
                continue;
            }
            let permit = lane_of(plan, *batch).and_then(|lane| context.client.try_permit(lane));
            if let Some(permit) = permit {
                self.0.push(permit);
                covered.push(*batch);
            }
        }
        retain(plan, &covered);
    }

    async fn take(&mut self, context: &Context, arn: &TargetGroupArn, lane: Lane) -> Permit {
        let batch = Batch::from(lane);
        match self.0.iter().position(|permit| batch == permit.lane().into()) {
            Some(index) => self.0.swap_remove(index),
            None => context.client.permit(lane, turn(arn)).await,
        }
    }
}

/// Leaves in the plan the steps of these batches, and those that call nobody.
fn retain(plan: &mut Plan, batches: &[Batch]) {
    plan.steps
        .retain(|step| lane(step).is_none_or(|lane| batches.contains(&lane.into())));
}

/// The most urgent lane of the batch's steps, if the plan has any.
fn lane_of(plan: &Plan, batch: Batch) -> Option<Lane> {
    let lanes = plan.steps.iter().filter_map(lane);
    lanes.filter(|lane| batch == (*lane).into()).min()
}

/// Whose turn a call is.
fn turn(arn: &TargetGroupArn) -> &str {
    arn.name()
}

fn lane(step: &Step) -> Option<Lane> {
    match step {
        Step::Register { .. } => Some(Lane::Add),
        Step::Deregister { targets } if is_positive(targets) => Some(Lane::RemoveTerminating),
        Step::Deregister { .. } => Some(Lane::RemoveOther),
        Step::Claim { .. } | Step::Forget { .. } | Step::Unbind { .. } => None,
    }
}

fn is_positive(targets: &[Subtraction]) -> bool {
    targets.iter().all(|subtraction| subtraction.ground.is_positive())
}

impl Context {
    /// Applies the plan. `Some` problem: AWS did not acknowledge everything, and what depends on it was left for later.
    pub(crate) async fn apply(
        &self,
        arn: &TargetGroupArn,
        plan: &Plan,
        mut permits: Permits,
    ) -> Result<Option<Problem>, Error> {
        let id = Self::plan_id();
        let (calls, records): (Vec<_>, Vec<_>) = plan.steps.iter().cloned().partition(Step::writes_aws);
        let (guarded, independent): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .partition(|step| lane(step) == Some(Lane::RemoveOther));
        let mut granted = Vec::new();
        for step in &independent {
            granted.push(permits.take(self, arn, lane(step).unwrap_or(Lane::Add)).await);
        }
        // One commit makes all of it durable; then the calls go out side by side.
        let first: Vec<_> = records.into_iter().chain(independent.iter().cloned()).collect();
        let late = sabotage::is_on("S23");
        if !first.is_empty() && !late {
            self.store.intend(&self.fence, id, plan, &first).await?;
        }
        let calls = independent
            .iter()
            .zip(granted)
            .map(|(step, permit)| self.call(arn, step, permit));
        let outcomes = futures::future::join_all(calls).await;
        if !first.is_empty() && late {
            self.store.intend(&self.fence, id, plan, &first).await?;
        }
        let mut failure = None;
        for (outcomes, problem) in outcomes {
            self.store
                .settle(&self.fence, id, arn, &outcomes, problem.as_ref())
                .await?;
            failure = failure.or(problem);
        }
        // What replaces a target must be there before the target goes.
        for step in &guarded {
            if failure.is_some() {
                break;
            }
            let permit = permits.take(self, arn, Lane::RemoveOther).await;
            self.store
                .intend(&self.fence, id, plan, std::slice::from_ref(step))
                .await?;
            let (outcomes, problem) = self.call(arn, step, permit).await;
            self.store
                .settle(&self.fence, id, arn, &outcomes, problem.as_ref())
                .await?;
            failure = problem;
        }
        Ok(failure)
    }

    async fn call(&self, arn: &TargetGroupArn, step: &Step, permit: Permit) -> (Vec<Call>, Option<Problem>) {
        let deadline = Deadline(*self.deadline.borrow());
        let outcomes = match step {
            Step::Register { targets } => {
                let targets: Vec<Target> = targets.iter().map(|addition| addition.target.clone()).collect();
                self.client.register(permit, arn, &targets, deadline).await
            }
            Step::Deregister { targets } => {
                let targets: Vec<Target> = targets
                    .iter()
                    .map(|subtraction| subtraction.target.clone())
                    .collect();
                self.client.deregister(permit, arn, &targets, deadline).await
            }
            Step::Claim { .. } | Step::Forget { .. } | Step::Unbind { .. } => Vec::new(),
        };
        let mut settled = Vec::new();
        let mut problem = None;
        for aws::Outcome { targets, result } in outcomes {
            let (outcome, request_id) = match result {
                Ok(aws::Receipt { request_id }) => {
                    tracing::info!(target_group = %arn, targets = targets.len(), request_id, "AWS acknowledged a write");
                    (Outcome::Acknowledged, request_id)
                }
                Err(failure) => {
                    tracing::warn!(target_group = %arn, targets = targets.len(), %failure, "AWS did not acknowledge a write");
                    let outcome = match failure.certainty {
                        aws::Certainty::NotApplied => Outcome::Failed,
                        aws::Certainty::Ambiguous if sabotage::is_on("faults") => Outcome::Failed,
                        aws::Certainty::Ambiguous => Outcome::Ambiguous,
                    };
                    problem.get_or_insert_with(|| failure.problem());
                    (outcome, failure.request_id)
                }
            };
            settled.push(Call {
                targets,
                outcome,
                request_id,
            });
        }
        (settled, problem)
    }
}
