//! One pass over one target group: gather → plan → apply, until there is no step, then report.

use std::{sync::Arc, time::Duration};

use aws::{ShardClient, budget::Category};
use jiff::{SignedDuration, Timestamp};
use model::{
    Observed, PlanId, TargetGroupArn,
    binding::Lifecycle,
    group::BoundService,
    plan::{Observe, Plan, Step},
    pod::Gate,
    target::ObservedTarget,
    target_group::TargetGroupFacts,
};
use planner::{Circumstances, Gates, Input};
use store::{Fence, Store};
use tokio::{sync::watch, time::Instant};

use crate::{
    DatabaseClock, Metrics, Settings, apply,
    fleet::Watch,
    gather::gather,
    memory::{Memory, wake_in},
    turn::{Turn, Waited},
};

/// What every pass of a shard works with.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) client: ShardClient,
    pub(crate) settings: Arc<Settings>,
    pub(crate) fence: Fence,
    /// Until when writes may be under way; moved on by each renewal of the lease.
    pub(crate) deadline: watch::Receiver<Instant>,
    /// Until then a call of the writer before us may still arrive in AWS.
    pub(crate) fenced_until: Option<Timestamp>,
    pub(crate) fleet: Watch,
    pub(crate) metrics: Metrics,
    /// The clock of what is stored.
    pub(crate) database: DatabaseClock,
}

/// Why a pass ended early. The next activation is the retry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the database did not do what the pass needs")]
    Store(#[from] store::Error),
    #[error("AWS did not describe what the pass is about")]
    Observe(#[from] aws::Error),
}

/// What is known of a group, and what follows from it.
struct Decision {
    input: Input,
    plan: Plan,
    gates: Gates,
}

impl Decision {
    fn of(input: Input) -> Self {
        Self {
            plan: planner::plan(&input),
            gates: planner::gates(&input),
            input,
        }
    }

    /// Whether somebody waits for AWS to find targets healthy: pods to be ready, or old targets to go.
    fn awaits_health(&self) -> bool {
        self.gates.waiting || self.plan.awaits_health()
    }

    /// How long until time alone may change it.
    fn wake_in(&self) -> Option<Duration> {
        wake_in(self.input.now, self.plan.wake_at)
    }
}

/// What AWS says of a group and its targets.
type Described = (Observed<TargetGroupFacts>, Observed<Vec<ObservedTarget>>);

/// What AWS is asked.
#[derive(Clone, Copy)]
enum Look {
    /// What the group is, and its targets.
    All,
    /// Its targets alone.
    Health,
}

/// How full the bucket of reads must be for those that nobody's change waits for.
const WAITING_LEVEL: f64 = 0.5;

/// How long a target group's deregistration delay is believed.
const DELAY_BELIEVED: SignedDuration = SignedDuration::from_hours(1);

/// More rounds than any sequence of steps needs; what is left then is work for the next pass.
pub(crate) const ROUNDS: usize = 6;

impl Context {
    /// Looks at the group and does what follows. Returns when time alone may change the plan.
    pub(crate) async fn pass(
        &self,
        arn: &TargetGroupArn,
        memory: &mut Memory,
        turn: &mut Turn,
    ) -> Result<Option<Duration>, Error> {
        if !memory.recalled {
            self.recall(arn, memory).await?;
        }
        let (mut observed, mut applied, mut rounds) = (false, false, 0);
        let mut ripe = apply::Ripe::default();
        let mut permits = apply::Permits::none(&self.client, arn);
        while rounds < ROUNDS {
            memory.heard.gather();
            let mut input = self.gather(arn, memory).await?;
            if self.open(&input).await? {
                input = self.gather(arn, memory).await?;
            }
            let mut decision = Decision::of(input);
            if !observed && let Some(look) = self.should_observe(&decision, memory) {
                observed = true;
                self.observe(arn, memory, look).await?;
                self.ask_delay(&decision.input, memory).await;
                continue;
            }
            memory.heard.follow(&decision.plan);
            if decision.plan.steps.is_empty() {
                self.report(&decision, memory).await?;
                let again = decision
                    .awaits_health()
                    .then_some(self.settings.observe_waiting_every);
                return Ok(earlier(again, decision.wake_in()));
            }
            permits.tenant = tenant(&decision.input);
            let next = ripe.ask(&permits, &decision.plan);
            ripe.pick(&mut decision.plan);
            if decision.plan.steps.is_empty() {
                // Each change that joins wakes the group, and so does the end of the wait.
                if applied {
                    self.report(&decision, memory).await?;
                } else {
                    self.note(&decision, memory).await?;
                }
                return Ok(earlier(next, decision.wake_in()));
            }
            let plan = &mut decision.plan;
            if plan.steps.iter().any(Step::writes_aws) {
                match permits.wait(plan, &ripe, next, turn).await {
                    Waited::AtOnce(()) => permits.cover(plan, &ripe),
                    // What changed meanwhile joins the call, or goes before it.
                    Waited::Later(()) | Waited::Woken => continue,
                    Waited::Stopped => return Ok(None),
                }
            }
            (applied, rounds) = (true, rounds + 1);
            ripe.sent(plan);
            let setback = self.apply(arn, plan, &mut permits, &memory.heard).await?;
            if setback.as_ref().is_some_and(|setback| setback.zones_wanted) {
                memory.seen.zones_wanted = Some(self.database.now());
            }
            memory.seen.failure = setback.map(|setback| setback.problem);
            if memory.seen.failure.is_some() {
                let decision = Decision::of(self.gather(arn, memory).await?);
                self.report(&decision, memory).await?;
                return Ok(Some(memory.backoff.next_delay()));
            }
            memory.backoff.reset();
        }
        Ok(Some(Duration::ZERO))
    }

    pub(crate) async fn gather(&self, arn: &TargetGroupArn, memory: &Memory) -> Result<Input, Error> {
        let circumstances = Circumstances {
            fenced_until: self.fenced_until,
            frozen: self.fleet.is_frozen(),
        };
        Ok(gather(&self.store, arn, memory, &self.settings.guards, circumstances).await?)
    }

    /// What a former writer saw is better than nothing: a successor registers at once.
    pub(crate) async fn recall(&self, arn: &TargetGroupArn, memory: &mut Memory) -> Result<(), Error> {
        if let Some(observation) = self.store.observation(arn).await? {
            memory.seen.facts = observation.facts;
            memory.seen.targets = observation.targets;
        }
        memory.recalled = true;
        Ok(())
    }

    /// Whether AWS must be asked before this plan counts: the plan says so, or the last answer is old and somebody is
    /// interested in the group.
    fn should_observe(&self, decision: &Decision, memory: &Memory) -> Option<Look> {
        let Decision { input, plan, .. } = decision;
        let before = |age: Duration| input.now - SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        match plan.observe {
            Some(Observe::First | Observe::Verify) => return Some(Look::All),
            None if !plan.steps.is_empty() || !input.is_of_interest() => return None,
            None => {}
        }
        if memory.is_older_than(before(self.settings.observe_every)) {
            return Some(Look::All);
        }
        // Who only waits has a half of the reads: the other is for who changes something.
        let due = memory.is_health_older_than(before(self.settings.observe_waiting_every));
        (decision.awaits_health() && due && self.is_idle()).then_some(Look::Health)
    }

    /// Whether reads are left for what nobody's change waits for.
    fn is_idle(&self) -> bool {
        self.client.level(Category::Describe) > WAITING_LEVEL
    }

    /// Asks now and then how long deregistered targets may go on, where somebody's pods may end earlier. Without an answer
    /// only a warning is missing.
    async fn ask_delay(&self, input: &Input, memory: &mut Memory) {
        let graceful = |bound: &BoundService| bound.facts.pods.shortest_grace.is_some();
        let recent = |at: Timestamp| input.now.duration_since(at) < DELAY_BELIEVED;
        if memory.delay_asked.is_some_and(recent) || !input.bindings.iter().any(graceful) || !self.is_idle() {
            return;
        }
        memory.delay_asked = Some(input.now);
        match self.client.deregistration_delay(&input.arn).await {
            Ok(delay) => memory.seen.deregistration_delay = delay,
            Err(error) => tracing::info!(
                target_group = %input.arn, %error,
                "whether pods end before AWS lets go of them is not known"
            ),
        }
    }

    async fn observe(&self, arn: &TargetGroupArn, memory: &mut Memory, look: Look) -> Result<(), Error> {
        // A failed read leaves what was seen before: it says nothing, in particular not that nothing is there.
        let described = match look {
            Look::All => self.describe(arn).await,
            Look::Health => match self.client.target_health(arn).await {
                Ok(targets @ Observed::Present { .. }) => Ok((memory.seen.facts.clone(), targets)),
                // The group may be gone, which is more than its health.
                Ok(Observed::Absent { .. } | Observed::Unknown) => self.describe(arn).await,
                Err(error) => Err(error),
            },
        };
        let (facts, targets) = match described {
            Ok(described) => described,
            Err(error) => {
                memory.seen.failure = Some(error.problem());
                let decision = Decision::of(self.gather(arn, memory).await?);
                self.report(&decision, memory).await?;
                return Err(error.into());
            }
        };
        let changed = memory.seen.facts.present() != facts.present()
            || memory.seen.targets.present() != targets.present();
        let first = matches!(memory.seen.facts, Observed::Unknown);
        memory.seen.facts = facts;
        memory.seen.targets = targets;
        memory.seen.failure = None;
        if changed || first {
            self.store
                .record_observation(&self.fence, arn, &memory.seen.facts, &memory.seen.targets)
                .await?;
        }
        Ok(())
    }

    async fn describe(&self, arn: &TargetGroupArn) -> Result<Described, aws::Error> {
        let facts = self.client.target_group(arn).await?;
        let targets = match &facts {
            Observed::Absent { at } => Observed::Absent { at: *at },
            Observed::Unknown | Observed::Present { .. } => self.client.target_health(arn).await?,
        };
        Ok((facts, targets))
    }

    /// Tells what became of the bindings, beside what must be [noted](Self::note).
    async fn report(&self, decision: &Decision, memory: &mut Memory) -> Result<(), Error> {
        self.note(decision, memory).await?;
        let Decision { input, plan, .. } = decision;
        if memory.statuses != plan.statuses {
            self.store.report(&self.fence, &plan.statuses).await?;
            memory.statuses.clone_from(&plan.statuses);
        }
        let finished = input.bindings.iter().any(|bound| {
            let binding = &bound.binding;
            matches!(
                binding.lifecycle,
                Lifecycle::Deleted { .. } | Lifecycle::Relinquished { .. }
            ) && !input.ledger.iter().any(|row| row.bindings.contains(&binding.id))
        });
        if finished {
            self.store.finish_bindings(&self.fence, &input.arn).await?;
        }
        Ok(())
    }

    /// Notes what the guards keep back and since when, and asks clusters for what would release it.
    async fn note(&self, decision: &Decision, memory: &mut Memory) -> Result<(), Error> {
        let Decision { input, plan, gates } = decision;
        let arn = &input.arn;
        self.write_gates(arn, &gates.to_write, memory).await?;
        let drained = planner::drained(input);
        self.store.finish_drains(&self.fence, arn, &drained).await?;
        if !plan.marks.is_empty() {
            self.store.apply_marks(&self.fence, arn, &plan.marks).await?;
        }
        if !plan.relists.is_empty() {
            self.store.request_relists(&plan.relists).await?;
        }
        if memory.holds.as_ref() != Some(&plan.holds) {
            self.store.sync_holds(&self.fence, arn, &plan.holds).await?;
            memory.holds = Some(plan.holds.clone());
        }
        Ok(())
    }

    /// Hands over what gates are to say. What is on its way is compared each time: an agent may have written it since.
    async fn write_gates(
        &self,
        arn: &TargetGroupArn,
        gates: &[Gate],
        memory: &mut Memory,
    ) -> Result<(), Error> {
        if memory.gates != Some(false) || !gates.is_empty() {
            self.store.sync_gates(&self.fence, arn, gates).await?;
            memory.gates = Some(!gates.is_empty());
        }
        Ok(())
    }

    /// A fresh id for a plan that is about to be journaled.
    pub(crate) fn plan_id() -> PlanId {
        PlanId(uuid::Uuid::now_v7())
    }
}

/// On whose behalf the group is worked on: the namespace whose binding came first.
fn tenant(input: &Input) -> String {
    let first = input.bindings.iter().min_by_key(|bound| bound.binding.id);
    first.map_or_else(
        || input.arn.to_string(),
        |bound| format!("{}/{}", bound.cluster.name, bound.binding.object.namespace),
    )
}

/// The earlier of two waits.
fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
