//! S11 and S22: what AWS is called for is what a plan shows, and each call is told with its cause. The cluster's changes
//! are random; the judge is what the test itself stated and AWS's journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use awssim::{Entry, JournalFilter};
use model::{
    BindingId, PlanId, TargetKey,
    fact::Evidence,
    ledger::{Ground, LedgerState},
    plan::{Addition, Plan, Step, Subtraction},
    rule_plan::{RulePlan, RuleStep, WhyRevoke},
};
use planner::{Circumstances, Input, Seen};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sandbox::{Progress, Wait, fixture, postgres::Postgres, wait_until};
use serde_json::Value;
use store::{BindingFilter, JournaledPlan};

use crate::{
    rules::{networking, rules},
    world::{MUTATING, Pace, World, address, with_foreign},
};

const LIMIT: Duration = Duration::from_mins(1);
const HISTORIES: u64 = 8;
/// Random states of a cluster that are shown and then done, of all histories together; 10,000 are the full size.
const SHOWN: u64 = 104;
/// The same whose calls are traced: about 80 of them. 640 make the 1,000 of the full size.
const TRACED: u64 = 48;
const PACE: Pace = Pace {
    lease: Duration::from_secs(8),
    // An answer that a slow machine misses would be asked for again; a successor's removals wait as long.
    attempt: Duration::from_secs(2),
    sweep: Duration::from_secs(1),
    observe_every: Duration::from_mins(2),
    consistency_grace: Duration::from_millis(50),
};

/// The targets of calls, by what the calls do with them.
type Calls = BTreeMap<&'static str, BTreeSet<TargetKey>>;

struct History {
    world: World,
    random: StdRng,
    /// Whether the binding asks for ports to be opened.
    opens: bool,
    bound: bool,
    ready: BTreeSet<u16>,
    next: u16,
    /// Every binding that there was.
    bindings: BTreeSet<BindingId>,
    /// Every reason that a target had to go.
    ends: BTreeMap<String, Vec<Ground>>,
    plans: BTreeMap<PlanId, JournaledPlan>,
    rule_plans: BTreeMap<PlanId, JournaledPlan<RulePlan>>,
}

impl History {
    async fn begin(postgres: &Postgres, seed: u64, opens: bool) -> Result<Self> {
        let networking = if opens { networking() } else { Vec::new() };
        let mut history = Self {
            world: World::prepare_open(postgres, PACE, networking).await?,
            random: StdRng::seed_from_u64(seed),
            opens,
            bound: true,
            ready: BTreeSet::new(),
            next: 1,
            bindings: BTreeSet::new(),
            ends: BTreeMap::new(),
            plans: BTreeMap::new(),
            rule_plans: BTreeMap::new(),
        };
        history.grow();
        history.tell(&[], &[]).await?;
        history.world.launch().await?;
        history.settles().await?;
        Ok(history)
    }

    fn grow(&mut self) {
        for _ in 0..self.random.random_range(1..=3) {
            self.ready.insert(self.next);
            self.next += 1;
        }
    }

    fn ends(&mut self, pod: u16, ground: Ground) {
        self.ends.entry(address(pod)).or_default().push(ground);
    }

    async fn tell(&mut self, ending: &[u16], gone: &[u16]) -> Result<()> {
        let ready: Vec<_> = self.ready.iter().copied().collect();
        self.world.state(&ready, ending, gone).await
    }

    /// Changes the cluster so that AWS must be called.
    async fn change(&mut self) -> Result<()> {
        if !self.bound {
            self.bound = true;
            self.world.bind().await?;
            self.world.describe_service().await?;
            return self.tell(&[], &[]).await;
        }
        if self.random.random_ratio(1, 4) {
            self.bound = false;
            for pod in self.ready.clone() {
                self.ends(pod, Ground::BindingDeleted);
            }
            return self.world.unbind().await;
        }
        let (mut ending, mut gone) = (Vec::new(), Vec::new());
        if self.random.random_bool(0.6) {
            let ready: Vec<_> = self.ready.iter().copied().collect();
            let count = self.random.random_range(0..ready.len());
            for pod in ready
                .choose_multiple(&mut self.random, count)
                .copied()
                .collect::<Vec<_>>()
            {
                self.ready.remove(&pod);
                if self.random.random_bool(0.5) {
                    self.ends(pod, Ground::Proven(Evidence::Terminating));
                    ending.push(pod);
                } else {
                    self.ends(pod, Ground::Proven(Evidence::PodGone));
                    gone.push(pod);
                }
            }
        }
        if self.ready.len() < 12 && (ending.is_empty() && gone.is_empty() || self.random.random_bool(0.5)) {
            self.grow();
        }
        self.tell(&ending, &gone).await
    }

    /// Waits until AWS and the ledger have exactly what is wanted, and remembers what was written down.
    async fn settles(&mut self) -> Result<()> {
        let pods: Vec<u16> = if self.bound {
            self.ready.iter().copied().collect()
        } else {
            Vec::new()
        };
        self.world.settles("the change", &pods, LIMIT).await?;
        let ours: BTreeSet<_> = pods.iter().map(|pod| address(*pod)).collect();
        let all = with_foreign(&pods);
        let open = if self.opens && self.bound { 2 } else { 0 };
        let world = &self.world;
        wait_until(LIMIT, "the ledger", &Progress::silent(), async || {
            let ledger = world.store.ledger(&world.arn).await.map_err(Wait::not_yet)?;
            let recorded: BTreeSet<_> = ledger.iter().map(|row| row.key().id.to_string()).collect();
            let settled = ledger.iter().all(|row| row.state == LedgerState::Registered);
            let registered = world.registered().map_err(Wait::Never)?;
            if recorded == ours
                && settled
                && registered == all
                && rules(world).map_err(Wait::Never)?.len() == open
            {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("the ledger {ledger:?}")))
            }
        })
        .await?;
        self.remember().await
    }

    async fn remember(&mut self) -> Result<()> {
        let store = &self.world.store;
        self.plans
            .extend(by_id(store.plans(&self.world.arn, None, 50).await?));
        let group = fixture::NODE_SECURITY_GROUP.parse()?;
        self.rule_plans
            .extend(by_id(store.rule_plans(&group, None, 50).await?));
        let bindings = store.bindings(&BindingFilter::default(), None, 100).await?;
        self.bindings
            .extend(bindings.into_iter().map(|stored| stored.binding.id));
        Ok(())
    }

    /// What a dry run shows.
    async fn shown(&self) -> Result<Plan> {
        let (store, arn) = (&self.world.store, &self.world.arn);
        let guards = self.world.guards.clone();
        let observation = store.observation(arn).await?.context("AWS was asked")?;
        let seen = Seen {
            facts: observation.facts,
            targets: observation.targets,
            ..Seen::default()
        };
        let stored = store.group(arn, guards.window * 2).await?;
        let input = Input::new(stored, seen, guards, Circumstances::default());
        Ok(planner::plan(&input))
    }

    /// One change that is shown while nobody writes, and then done.
    async fn shown_and_done(&mut self) -> Result<()> {
        self.world.stop().await;
        let idle = self.shown().await?;
        ensure!(
            planned(&idle).is_empty(),
            "what was done is planned again: {idle:?}"
        );
        self.change().await?;
        // Whoever is told of a binding sees it.
        self.remember().await?;
        let shown = self.shown().await?;
        let since = self.world.aws.handle().journal(&JournalFilter::default()).next;
        self.world.launch().await?;
        self.settles().await?;
        let entries = self.written(since);
        let called = of_calls(&entries)?;
        ensure!(
            called == planned(&shown),
            "{called:?} is done, shown was {shown:?}"
        );
        let targets: usize = entries.iter().map(|entry| entry.targets).sum();
        ensure!(
            targets == called.values().map(BTreeSet::len).sum::<usize>(),
            "done twice: {entries:?}"
        );
        self.each_plan_is_done(&entries)
    }

    /// Each plan in the journal made exactly the calls for its steps, and no call is of none.
    fn each_plan_is_done(&self, entries: &[Entry]) -> Result<()> {
        let mut calls = BTreeMap::<PlanId, Vec<Entry>>::new();
        for entry in entries {
            let of = self
                .plans
                .values()
                .find(|plan| request(plan.outcome.as_ref(), entry).is_some());
            let plan = of.with_context(|| format!("a call of no plan: {entry:?}"))?;
            calls.entry(plan.id).or_default().push(entry.clone());
        }
        for (id, calls) in calls {
            let plan = &self.plans[&id].plan;
            let called = of_calls(&calls)?;
            ensure!(called == planned(plan), "{called:?} is done of {plan:?}");
        }
        Ok(())
    }

    /// Every call after this one that changes AWS.
    fn written(&self, since: u64) -> Vec<Entry> {
        let filter = JournalFilter {
            since,
            ..JournalFilter::default()
        };
        let entries = self.world.aws.handle().journal(&filter).entries;
        entries
            .into_iter()
            .filter(|entry| !entry.action.starts_with("Describe"))
            .collect()
    }

    /// Waits until each call that changed AWS has its plan and its cause. How many calls these are, by action.
    async fn is_traced(&mut self) -> Result<BTreeMap<String, usize>> {
        // An outcome is written down after AWS's answer.
        let unexplained = |history: &Self| {
            history
                .written(0)
                .iter()
                .find_map(|entry| history.cause(entry).err())
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while let Some(error) = unexplained(self) {
            ensure!(tokio::time::Instant::now() < deadline, "{error:#}");
            self.remember().await?;
        }
        let mut counts = BTreeMap::new();
        for entry in self.written(0) {
            *counts.entry(entry.action).or_default() += 1;
        }
        Ok(counts)
    }

    /// Fails unless the plan of this call is known, and why it was made.
    fn cause(&self, entry: &Entry) -> Result<()> {
        if !MUTATING.contains(&entry.action.as_str()) {
            return self.cause_of_rules(entry);
        }
        let found = self
            .plans
            .values()
            .find_map(|plan| Some((plan, request(plan.outcome.as_ref(), entry)?)));
        let (plan, request) = found.with_context(|| format!("no plan knows this call: {entry:?}"))?;
        let told: BTreeSet<TargetKey> = serde_json::from_value(request["targets"].clone())?;
        ensure!(told == keys(entry)?, "{told:?} is told of {entry:?}");
        for key in told {
            let steps = plan.plan.steps.iter();
            let caused = match entry.action.as_str() {
                "RegisterTargets" => steps.flat_map(registered).any(|addition| {
                    addition.target.key == key && self.is_of(&addition.bindings) && is_pod(addition)
                }),
                _ => steps.flat_map(deregistered).any(|subtraction| {
                    let grounds = self.ends.get(&key.id.to_string());
                    subtraction.target.key == key
                        && grounds.is_some_and(|grounds| grounds.contains(&subtraction.ground))
                }),
            };
            ensure!(caused, "why {key:?}? {entry:?} {plan:?}");
        }
        Ok(())
    }

    fn cause_of_rules(&self, entry: &Entry) -> Result<()> {
        let plan = self
            .rule_plans
            .values()
            .find(|plan| request(plan.outcome.as_ref(), entry).is_some())
            .with_context(|| format!("no plan knows this call: {entry:?}"))?;
        let caused = |step: &RuleStep| match step {
            RuleStep::Authorize { rules } if entry.action == "AuthorizeSecurityGroupIngress" => {
                rules.iter().all(|rule| self.is_of(rule.bindings.iter()))
            }
            RuleStep::Revoke { rules } if entry.action == "RevokeSecurityGroupIngress" => {
                let ids = (1..).map_while(|index| entry.param(&format!("SecurityGroupRuleId.{index}")));
                let told: BTreeSet<_> = rules.iter().map(|rule| rule.rule.to_string()).collect();
                let unneeded = rules.iter().all(|rule| rule.why == WhyRevoke::Unneeded);
                unneeded && told == ids.map(str::to_owned).collect()
            }
            _ => false,
        };
        ensure!(plan.plan.steps.iter().any(caused), "why? {entry:?} {plan:?}");
        Ok(())
    }

    /// Whether these are bindings that there were.
    fn is_of<'a>(&self, bindings: impl IntoIterator<Item = &'a BindingId>) -> bool {
        let mut bindings = bindings.into_iter().peekable();
        bindings.peek().is_some() && bindings.all(|id| self.bindings.contains(id))
    }
}

fn by_id<P>(plans: Vec<JournaledPlan<P>>) -> impl Iterator<Item = (PlanId, JournaledPlan<P>)> {
    plans.into_iter().map(|plan| (plan.id, plan))
}

/// What the outcome of a plan says of this call.
fn request<'a>(outcome: Option<&'a Value>, entry: &Entry) -> Option<&'a Value> {
    let settled = outcome?.as_array()?.iter();
    let mut requests = settled
        .filter_map(|settled| settled["requests"].as_array())
        .flatten();
    requests.find(|request| request["requestId"] == entry.request_id.as_str())
}

fn keys(entry: &Entry) -> Result<BTreeSet<TargetKey>> {
    let member = |index: i32, field: &str| entry.param(&format!("Targets.member.{index}.{field}"));
    let ids = (1..).map_while(|index| Some((member(index, "Id")?, member(index, "Port")?)));
    ids.map(|(id, port)| {
        Ok(TargetKey {
            id: id.parse()?,
            port: port.parse()?,
        })
    })
    .collect()
}

fn of_calls(entries: &[Entry]) -> Result<Calls> {
    let mut calls = Calls::new();
    for entry in entries {
        let action = MUTATING.into_iter().find(|action| *action == entry.action);
        let action = action.with_context(|| format!("nobody wanted {entry:?}"))?;
        calls.entry(action).or_default().extend(keys(entry)?);
    }
    Ok(calls)
}

/// The calls that a plan announces.
fn planned(plan: &Plan) -> Calls {
    let mut calls = Calls::new();
    for step in plan.steps.iter().filter(|step| step.writes_aws()) {
        let [register, deregister] = MUTATING;
        let added = registered(step)
            .iter()
            .map(|addition| (register, &addition.target));
        let removed = deregistered(step)
            .iter()
            .map(|subtraction| (deregister, &subtraction.target));
        for (action, target) in added.chain(removed) {
            calls.entry(action).or_default().insert(target.key.clone());
        }
    }
    calls
}

fn registered(step: &Step) -> &[Addition] {
    match step {
        Step::Register { targets } => targets,
        _ => &[],
    }
}

fn deregistered(step: &Step) -> &[Subtraction] {
    match step {
        Step::Deregister { targets } => targets,
        _ => &[],
    }
}

/// Whether the pod that is named is the one that the cluster stated with this address.
fn is_pod(addition: &Addition) -> bool {
    let stated = addition
        .pod
        .as_ref()
        .and_then(|pod| u16::try_from(pod.uid.as_u128()).ok());
    stated.is_some_and(|pod| address(pod) == addition.target.key.id.to_string())
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// How many states each history has, and the seed of the first.
fn size(variable: &str, states: u64) -> (u64, u64) {
    let states = number(variable).unwrap_or(states).div_ceil(HISTORIES);
    let seed = number("ELBOW_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!(
        "{} states in {HISTORIES} histories, ELBOW_SEED={seed}",
        states * HISTORIES
    );
    (states, seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dry_run_shows_is_what_aws_is_called_for_then() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let (states, seed) = size("ELBOW_SHOWN", SHOWN);
    let histories = (0..HISTORIES).map(|index| {
        let postgres = &postgres;
        async move {
            let mut history = History::begin(postgres, seed.wrapping_add(index), false).await?;
            for _ in 0..states {
                history.shown_and_done().await?;
            }
            history.world.stop().await;
            Ok::<_, anyhow::Error>(())
        }
    });
    let done = futures::future::try_join_all(histories).await;
    done.with_context(|| format!("ELBOW_SEED={seed}"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_that_changes_aws_is_told_with_its_plan_and_its_cause() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let (states, seed) = size("ELBOW_TRACED", TRACED);
    let histories = (0..HISTORIES).map(|index| {
        let postgres = &postgres;
        async move {
            let mut history = History::begin(postgres, seed.wrapping_add(index), true).await?;
            for _ in 0..states {
                history.change().await?;
                // Whoever is told of a binding sees it, also one that goes soon.
                history.remember().await?;
                history.settles().await?;
            }
            let counts = history.is_traced().await?;
            history.world.stop().await;
            Ok::<_, anyhow::Error>(counts)
        }
    });
    let done = futures::future::try_join_all(histories).await;
    let mut all = BTreeMap::<String, usize>::new();
    for (action, count) in done
        .with_context(|| format!("ELBOW_SEED={seed}"))?
        .into_iter()
        .flatten()
    {
        *all.entry(action).or_default() += count;
    }
    println!("each traced: {all:?}");
    ensure!(all.len() == 4, "an action was never called: {all:?}");
    Ok(())
}
