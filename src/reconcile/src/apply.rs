//! Applying a plan: permit, intent, call, outcome. Each writing step waits for leave to call first, so that the intent
//! does not age in a queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws::{
    Deadline,
    budget::{Batch, Lane, Permit},
};
use model::{
    Target, TargetGroupArn, TargetKey,
    condition::Problem,
    plan::{Plan, Step, Subtraction},
    sabotage,
};
use store::Outcome;

use crate::pass::{Context, Error};

/// Leave to call AWS, one per writing step.
#[derive(Default)]
pub(crate) struct Permits(Vec<Permit>);

impl Permits {
    /// Waits for the first permit that the plan needs. Says whether time passed, in which the plan may have changed.
    pub(crate) async fn wait(&mut self, context: &Context, arn: &TargetGroupArn, plan: &Plan) -> bool {
        let lane = plan.steps.iter().filter_map(lane).min().unwrap_or(Lane::Add);
        let asked = tokio::time::Instant::now();
        self.0.push(context.client.permit(lane, turn(arn)).await);
        asked.elapsed() > Duration::from_millis(5)
    }

    async fn take(&mut self, context: &Context, arn: &TargetGroupArn, lane: Lane) -> Permit {
        match self.0.pop() {
            Some(permit) => permit,
            None => context.client.permit(lane, turn(arn)).await,
        }
    }
}

/// The batches whose changes have gathered long enough.
pub(crate) struct Ripe {
    batches: BTreeSet<Batch>,
    /// How long until the next batch is ripe.
    pub(crate) wait: Option<Duration>,
}

impl Ripe {
    /// Asks how long the plan's changes should go on gathering.
    pub(crate) fn of(context: &Context, arn: &TargetGroupArn, plan: &Plan) -> Self {
        let mut targets = BTreeMap::<Batch, usize>::new();
        for step in &plan.steps {
            if let Some(lane) = lane(step) {
                *targets.entry(lane.into()).or_default() += step.targets();
            }
        }
        let mut ripe = Self {
            batches: BTreeSet::new(),
            wait: None,
        };
        for (batch, targets) in targets {
            let wait = context.client.gather(arn, batch, targets);
            if wait.is_zero() {
                ripe.batches.insert(batch);
            } else {
                ripe.wait = Some(ripe.wait.map_or(wait, |other| other.min(wait)));
            }
        }
        ripe
    }

    /// Leaves in the plan what is ripe, and what calls nobody.
    pub(crate) fn pick(&self, plan: &mut Plan) {
        plan.steps
            .retain(|step| lane(step).is_none_or(|lane| self.batches.contains(&lane.into())));
    }
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

    async fn call(
        &self,
        arn: &TargetGroupArn,
        step: &Step,
        permit: Permit,
    ) -> (Vec<(TargetKey, Outcome)>, Option<Problem>) {
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
            let outcome = match result {
                Ok(aws::Receipt { request_id }) => {
                    tracing::info!(target_group = %arn, targets = targets.len(), request_id, "AWS acknowledged a write");
                    Outcome::Acknowledged
                }
                Err(failure) => {
                    tracing::warn!(target_group = %arn, targets = targets.len(), %failure, "AWS did not acknowledge a write");
                    let outcome = match failure.certainty {
                        aws::Certainty::NotApplied => Outcome::Failed,
                        aws::Certainty::Ambiguous if sabotage::is_on("faults") => Outcome::Failed,
                        aws::Certainty::Ambiguous => Outcome::Ambiguous,
                    };
                    problem.get_or_insert_with(|| failure.problem());
                    outcome
                }
            };
            settled.extend(targets.into_iter().map(|key| (key, outcome)));
        }
        (settled, problem)
    }
}
