//! Applying a plan: permit, intent, call, outcome. Each writing step waits for leave to call first, so that the intent
//! does not age in a queue.

use std::{collections::BTreeMap, future::poll_fn, task::Poll, time::Duration};

use aws::{
    Action, Deadline, ShardClient,
    budget::{self, Batch, Lane, Permit},
};
use futures::{FutureExt, future::BoxFuture};
use model::{
    PlanId, Target, TargetGroupArn,
    condition::Problem,
    plan::{Plan, Step, Subtraction, Why},
    sabotage,
};
use store::{Call, Outcome};

use crate::{
    heard::Heard,
    pass::{Context, Error},
    turn::{Turn, Waited},
};

/// The batches whose changes have gathered long enough and are still to be sent, the one that waits longest first.
#[derive(Default)]
pub(crate) struct Ripe(Vec<Batch>);

impl Ripe {
    /// Asks how much longer the plan's other batches should gather, and answers when the next of them is ripe.
    pub(crate) fn ask(&mut self, permits: &Permits, plan: &Plan) -> Option<Duration> {
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
            let wait = permits
                .client
                .gather(&permits.tenant, &permits.arn, batch, targets);
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
        retain(plan, |batch| self.0.contains(&batch));
    }

    /// What the plan had of it is sent.
    pub(crate) fn sent(&mut self, plan: &Plan) {
        self.0.retain(|batch| lane_of(plan, *batch).is_none());
    }
}

/// Leave to call AWS, as far as it was given. Who waits for it stands in the line of each ripe batch and keeps its place
/// there, whatever is planned meanwhile.
pub(crate) struct Permits {
    client: ShardClient,
    arn: TargetGroupArn,
    /// Among whom calls alternate.
    pub(crate) tenant: String,
    granted: BTreeMap<Batch, Permit>,
    asked: BTreeMap<Batch, Asked>,
}

struct Asked {
    lane: Lane,
    permit: BoxFuture<'static, Permit>,
}

impl Permits {
    pub(crate) fn none(client: &ShardClient, arn: &TargetGroupArn) -> Self {
        Self {
            client: client.clone(),
            arn: arn.clone(),
            tenant: String::new(),
            granted: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Waits for the first permit of those that the ripe batches need, if there is none. Proven removals that come up
    /// meanwhile end the wait, since they are first in line; so does the moment `next` in which more is ripe.
    pub(crate) async fn wait(
        &mut self,
        plan: &Plan,
        ripe: &Ripe,
        next: Option<Duration>,
        turn: &mut Turn,
    ) -> Waited<()> {
        let lane_of = |batch: &Batch| Some((*batch, lane_of(plan, *batch)?));
        let lanes: BTreeMap<_, _> = ripe.0.iter().filter_map(lane_of).collect();
        self.granted.retain(|batch, _| lanes.contains_key(batch));
        // A place in a more urgent lane than necessary is kept, too.
        self.asked
            .retain(|batch, asked| lanes.get(batch).is_some_and(|lane| asked.lane <= *lane));
        for (batch, lane) in lanes {
            if !self.granted.contains_key(&batch) && !self.asked.contains_key(&batch) {
                let permit = self.ask(lane);
                self.asked.insert(batch, Asked { lane, permit });
            }
        }
        if !self.granted.is_empty() {
            return Waited::AtOnce(());
        }
        let is_first = self.asked.contains_key(&Batch::Proven);
        let first = poll_fn(|context| {
            let mut polled = self
                .asked
                .iter_mut()
                .map(|(batch, asked)| (*batch, asked.permit.poll_unpin(context)));
            let ready = polled.find_map(|(batch, permit)| match permit {
                Poll::Ready(permit) => Some((batch, permit)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        let granted = turn.wait(first, !is_first, next).await;
        granted.map(|(batch, permit)| {
            self.asked.remove(&batch);
            self.granted.insert(batch, permit);
        })
    }

    /// Takes what is there for the other batches, and leaves in the plan what can be sent now: no call waits for the
    /// permit of another.
    pub(crate) fn cover(&mut self, plan: &mut Plan, ripe: &Ripe) {
        for batch in &ripe.0 {
            if let Some(lane) = lane_of(plan, *batch)
                && !self.granted.contains_key(batch)
                && let Some(permit) = self.client.try_permit(lane)
            {
                self.granted.insert(*batch, permit);
            }
        }
        retain(plan, |batch| self.granted.contains_key(&batch));
    }

    async fn take(&mut self, lane: Lane) -> Permit {
        match self.granted.remove(&lane.into()) {
            Some(permit) => permit,
            None => self.ask(lane).await,
        }
    }

    fn ask(&self, lane: Lane) -> BoxFuture<'static, Permit> {
        let (client, tenant, arn) = (self.client.clone(), self.tenant.clone(), self.arn.clone());
        Box::pin(async move {
            let turn = budget::Turn {
                tenant: &tenant,
                name: arn.name(),
            };
            client.permit(lane, turn).await
        })
    }
}

/// Leaves in the plan the steps of the batches that go, and those that call nobody.
fn retain(plan: &mut Plan, goes: impl Fn(Batch) -> bool) {
    plan.steps
        .retain(|step| lane(step).is_none_or(|lane| goes(lane.into())));
}

/// The most urgent lane of the batch's steps, if the plan has any.
pub(crate) fn lane_of(plan: &Plan, batch: Batch) -> Option<Lane> {
    let lanes = plan.steps.iter().filter_map(lane);
    lanes.filter(|lane| batch == (*lane).into()).min()
}

fn lane(step: &Step) -> Option<Lane> {
    match step {
        Step::Register { .. } => Some(Lane::Add),
        Step::Deregister { targets } if is_positive(targets) => Some(Lane::RemoveTerminating),
        Step::Deregister { .. } => Some(Lane::RemoveOther),
        Step::Claim { .. } | Step::Forget { .. } | Step::Unbind { .. } => None,
    }
}

/// How many targets the plan makes again that were ours and that AWS was seen without.
fn drifted(plan: &Plan) -> usize {
    let made = plan.steps.iter().filter_map(|step| match step {
        Step::Register { targets } => Some(targets),
        _ => None,
    });
    let again = made.flatten().filter(|addition| addition.why == Why::Drifted);
    again.count()
}

fn is_positive(targets: &[Subtraction]) -> bool {
    targets.iter().all(|subtraction| subtraction.ground.is_positive())
}

/// AWS did not acknowledge everything, and what depends on it was left for later.
pub(crate) struct Setback {
    pub(crate) problem: Problem,
    /// AWS wants to be told the zones of targets.
    pub(crate) zones_wanted: bool,
}

impl Setback {
    fn of(failure: &aws::Failure) -> Self {
        Self {
            problem: failure.problem(),
            zones_wanted: failure.wants_zone(),
        }
    }

    /// Both, in the words of the first.
    fn and(self, later: Option<Self>) -> Self {
        let zones_wanted = self.zones_wanted || later.is_some_and(|later| later.zones_wanted);
        Self { zones_wanted, ..self }
    }
}

impl Context {
    /// Applies the plan.
    pub(crate) async fn apply(
        &self,
        arn: &TargetGroupArn,
        plan: &Plan,
        permits: &mut Permits,
        heard: &Heard,
    ) -> Result<Option<Setback>, Error> {
        let id = Self::plan_id();
        self.metrics.drifted_targets(drifted(plan));
        let (calls, records): (Vec<_>, Vec<_>) = plan.steps.iter().cloned().partition(Step::writes_aws);
        let (guarded, independent): (Vec<_>, Vec<_>) = calls
            .into_iter()
            .partition(|step| lane(step) == Some(Lane::RemoveOther));
        let mut granted = Vec::new();
        for step in &independent {
            granted.push(permits.take(lane(step).unwrap_or(Lane::Add)).await);
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
            .map(|(step, permit)| self.call(id, arn, step, permit, heard));
        let outcomes = futures::future::join_all(calls).await;
        if !first.is_empty() && late {
            self.store.intend(&self.fence, id, plan, &first).await?;
        }
        let mut setback = None;
        for (outcomes, next) in outcomes {
            self.settle(id, arn, &outcomes, next.as_ref()).await?;
            setback = match setback {
                Some(first) => Some(Setback::and(first, next)),
                None => next,
            };
        }
        // What replaces a target must be there before the target goes.
        for step in &guarded {
            if setback.is_some() {
                break;
            }
            let permit = permits.take(Lane::RemoveOther).await;
            self.store
                .intend(&self.fence, id, plan, std::slice::from_ref(step))
                .await?;
            let (outcomes, next) = self.call(id, arn, step, permit, heard).await;
            self.settle(id, arn, &outcomes, next.as_ref()).await?;
            setback = next;
        }
        Ok(setback)
    }

    async fn settle(
        &self,
        id: PlanId,
        arn: &TargetGroupArn,
        outcomes: &[Call],
        setback: Option<&Setback>,
    ) -> Result<(), Error> {
        let problem = setback.map(|setback| &setback.problem);
        Ok(self.store.settle(&self.fence, id, arn, outcomes, problem).await?)
    }

    async fn call(
        &self,
        id: PlanId,
        arn: &TargetGroupArn,
        step: &Step,
        permit: Permit,
        heard: &Heard,
    ) -> (Vec<Call>, Option<Setback>) {
        let deadline = Deadline(*self.deadline.borrow());
        let action = match step {
            Step::Deregister { .. } => Action::DeregisterTargets,
            _ => Action::RegisterTargets,
        };
        if let Some(news) = lane(step).and_then(|lane| heard.take(lane.into())) {
            self.metrics.sent(action, &news, self.database.now());
        }
        let outcomes = match step {
            Step::Register { targets } => {
                let lost = usize::from(sabotage::is_on("S11") && targets.len() > 1);
                let sent = targets.iter().skip(lost);
                let targets: Vec<Target> = sent.map(|addition| addition.target.clone()).collect();
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
        let mut setback: Option<Setback> = None;
        for aws::Outcome { targets, result } in outcomes {
            let (outcome, request_id) = match result {
                Ok(aws::Receipt { request_id }) => {
                    tracing::info!(plan = %id, %action, target_group = %arn, targets = targets.len(), request_id, "AWS acknowledged a write");
                    (Outcome::Acknowledged, request_id)
                }
                Err(failure) => {
                    tracing::warn!(plan = %id, %action, target_group = %arn, targets = targets.len(), request_id = failure.request_id, %failure, "AWS did not acknowledge a write");
                    let outcome = match failure.certainty {
                        aws::Certainty::NotApplied => Outcome::Failed,
                        aws::Certainty::Ambiguous if sabotage::is_on("faults") => Outcome::Failed,
                        aws::Certainty::Ambiguous => Outcome::Ambiguous,
                    };
                    let next = Setback::of(&failure);
                    setback = Some(match setback {
                        Some(first) => first.and(Some(next)),
                        None => next,
                    });
                    (outcome, failure.request_id)
                }
            };
            settled.push(Call {
                targets,
                outcome,
                request_id,
            });
        }
        (settled, setback)
    }
}
