//! One shard's worker: which group is next, how many at once, and when to look without being asked.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use model::{Name, SecurityGroupId, TargetGroupArn, sabotage};
use runtime::{Clock, backoff::Backoff, telemetry};
use store::News;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Metrics,
    heard::Heard,
    managed::GroupMemory,
    memory::{Memory, backoff},
    pass::{Context, Error},
    queue::Queue,
    rules::RuleMemory,
    turn::Turn,
};

/// What wakes a worker.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    Look(Key),
    /// What the next look at the target group will be about. It is measured, and decides nothing.
    News(TargetGroupArn, News),
    /// Look at everything.
    Sweep,
}

/// What a pass is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    TargetGroup(TargetGroupArn),
    /// What bindings of the shard's clusters need open for a target group of another shard.
    Openings(TargetGroupArn),
    SecurityGroup(SecurityGroupId),
    /// By its declaration.
    ManagedGroup(Name),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetGroup(arn) | Self::Openings(arn) => arn.fmt(f),
            Self::SecurityGroup(id) => id.fmt(f),
            Self::ManagedGroup(name) => name.fmt(f),
        }
    }
}

/// A pass's key with what is remembered of it between passes.
enum Job {
    Targets(TargetGroupArn, Box<Memory>),
    Openings(TargetGroupArn, Backoff),
    Rules(SecurityGroupId, Box<RuleMemory>),
    Managed(Name, Box<GroupMemory>),
}

impl From<Key> for Job {
    fn from(key: Key) -> Self {
        match key {
            Key::TargetGroup(arn) => Self::Targets(arn, Box::default()),
            Key::Openings(arn) => Self::Openings(arn, backoff()),
            Key::SecurityGroup(id) => Self::Rules(id, Box::default()),
            Key::ManagedGroup(name) => Self::Managed(name, Box::default()),
        }
    }
}

impl Job {
    fn key(&self) -> Key {
        match self {
            Self::Targets(arn, _) => Key::TargetGroup(arn.clone()),
            Self::Openings(arn, _) => Key::Openings(arn.clone()),
            Self::Rules(id, _) => Key::SecurityGroup(id.clone()),
            Self::Managed(name, _) => Key::ManagedGroup(name.clone()),
        }
    }

    /// What is measured, from here and from elsewhere, is one.
    fn listen(&mut self, heard: &Heard) {
        if let Self::Targets(_, memory) = self {
            memory.heard = heard.clone();
        }
    }

    /// The log lines and the trace of one pass.
    fn span(&self) -> tracing::Span {
        match self {
            Self::Targets(arn, memory) => {
                let span = tracing::info_span!("pass", target_group = %arn);
                if let Some(trace) = memory.heard.trace() {
                    telemetry::continue_trace(&span, &trace);
                }
                span
            }
            Self::Openings(arn, _) => tracing::info_span!("opening pass", target_group = %arn),
            Self::Rules(id, _) => tracing::info_span!("pass", security_group = %id),
            Self::Managed(name, _) => tracing::info_span!("pass", managed_group = %name),
        }
    }

    async fn run(&mut self, context: &Context, turn: &mut Turn) -> Result<Option<Duration>, Error> {
        let asked = tokio::time::Instant::now();
        if !turn.take_place().await {
            return Ok(None);
        }
        context.metrics.queued(asked.elapsed());
        match self {
            Self::Targets(arn, memory) => context.pass(arn, memory, turn).await,
            Self::Openings(arn, backoff) => {
                let done = context.opening_pass(arn).await?;
                backoff.reset();
                Ok(done)
            }
            Self::Rules(id, memory) => context.rule_pass(id, memory, turn).await,
            Self::Managed(name, memory) => context.managed_pass(name, memory, turn).await,
        }
    }

    fn backoff(&mut self) -> &mut Backoff {
        match self {
            Self::Targets(_, memory) => &mut memory.backoff,
            Self::Openings(_, backoff) => backoff,
            Self::Rules(_, memory) => &mut memory.backoff,
            Self::Managed(_, memory) => &mut memory.backoff,
        }
    }
}

type Finished = (Job, Result<Option<Duration>, Error>, Duration);

/// Works on the shard until `stop`, or until the lease is lost.
pub(crate) async fn run(
    context: Arc<Context>,
    mut signals: mpsc::Receiver<Signal>,
    metrics: Metrics,
    clock: Clock,
    stop: CancellationToken,
) {
    let at_once = if sabotage::is_on("S16") {
        1
    } else {
        context.settings.concurrency
    };
    let places = Arc::new(Semaphore::new(at_once));
    let mut worker = Worker {
        shard: context.client.shard().to_string(),
        context,
        metrics,
        clock,
        queue: Queue::default(),
        jobs: HashMap::new(),
        afar: BTreeSet::new(),
        heard: HashMap::new(),
        passes: FuturesUnordered::new(),
        places,
        in_flight: HashMap::new(),
        stop: stop.child_token(),
    };
    let mut sweep = tokio::time::interval(worker.context.settings.sweep);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = worker.clock.instant();
        let due = worker.queue.tick(now);
        worker.start_passes();
        let due = due.unwrap_or(now + Duration::from_hours(1));
        tokio::select! {
            () = stop.cancelled() => break,
            Some(finished) = worker.passes.next(), if !worker.passes.is_empty() => {
                if worker.finish(finished).is_err() {
                    break;
                }
            }
            signal = signals.recv() => match signal {
                Some(Signal::Look(key)) => worker.look(key),
                Some(Signal::News(arn, news)) => {
                    worker.heard.entry(Key::TargetGroup(arn)).or_default().add(&news);
                }
                Some(Signal::Sweep) => worker.sweep().await,
                None => break,
            },
            _ = sweep.tick() => worker.sweep().await,
            () = tokio::time::sleep_until(due) => {}
        }
    }
    worker.metrics.not_waiting(&worker.shard);
    worker.stop.cancel();
    // Calls that are under way are not cut: their outcome is worth a moment, and their deadline is the lease's.
    while let Some((job, result, _)) = worker.passes.next().await {
        if let Err(error) = result {
            tracing::debug!(group = %job.key(), error = %Chain(&error), "a last pass failed");
        }
    }
}

struct Worker {
    /// As a label.
    shard: String,
    context: Arc<Context>,
    metrics: Metrics,
    clock: Clock,
    queue: Queue<Key>,
    /// Those that are not under way.
    jobs: HashMap<Key, Job>,
    /// The target groups of other shards for which something must be open here, as the last sweep found them.
    afar: BTreeSet<TargetGroupArn>,
    /// Shared with the jobs, under way or not.
    heard: HashMap<Key, Heard>,
    passes: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Of the passes that work at once.
    places: Arc<Semaphore>,
    /// Tells a pass that it is woken again.
    in_flight: HashMap<Key, Arc<Notify>>,
    stop: CancellationToken,
}

/// The lease is lost: somebody else writes now.
struct Fenced;

impl Worker {
    /// Begins what is due. Passes find a place by themselves, and many of them only wait.
    fn start_passes(&mut self) {
        while let Some(key) = self.queue.take() {
            let woken = self.in_flight.entry(key.clone()).or_default().clone();
            let mut turn = Turn::new(self.places.clone(), woken, self.stop.clone());
            let heard = self.heard.get(&key);
            let mut job = self.jobs.remove(&key).unwrap_or_else(|| Job::from(key));
            if let Some(heard) = heard {
                job.listen(heard);
            }
            let (context, clock) = (self.context.clone(), self.clock.clone());
            let span = job.span();
            let pass = async move {
                let begun = clock.instant();
                let result = job.run(&context, &mut turn).await;
                (job, result, clock.instant().duration_since(begun))
            };
            self.passes.push(Box::pin(pass.instrument(span)));
        }
        let working = self.context.settings.concurrency - self.places.available_permits();
        let waiting = self.passes.len().saturating_sub(working);
        self.metrics.waiting(&self.shard, waiting);
    }

    /// Whoever wakes a target group does not know for whom beside its own shard that is news.
    fn look(&mut self, key: Key) {
        match &key {
            Key::Openings(arn) if !self.afar.contains(arn) => {}
            _ => {
                if let Some(woken) = self.in_flight.get(&key) {
                    woken.notify_one();
                }
                self.queue.wake(key);
            }
        }
    }

    fn finish(&mut self, (mut job, result, took): Finished) -> Result<(), Fenced> {
        let key = job.key();
        let outcome = match &result {
            Ok(_) => "done",
            Err(Error::Store(store::Error::LeaseLost { .. })) => "fenced",
            Err(_) => "failed",
        };
        self.metrics.passed(&key, outcome, took);
        let now = self.clock.instant();
        match result {
            Ok(Some(wait)) => self.queue.wake_at(key.clone(), now + wait),
            Ok(None) => {}
            Err(Error::Store(store::Error::LeaseLost { shard })) => {
                self.metrics.lost_leases.inc();
                tracing::warn!(%shard, "the lease is somebody else's: stopping work on the shard");
                return Err(Fenced);
            }
            Err(error) => {
                let wait = job.backoff().next_delay();
                tracing::warn!(group = %key, error = %Chain(&error), retry_ms = wait.as_millis(), "a pass failed");
                self.queue.wake_at(key.clone(), now + wait);
            }
        }
        self.in_flight.remove(&key);
        self.queue.done(key.clone());
        self.jobs.insert(key, job);
        Ok(())
    }

    async fn sweep(&mut self) {
        match keys(&self.context).await {
            Ok(keys) => {
                self.jobs.retain(|key, _| keys.contains(key));
                self.heard.retain(|key, _| keys.contains(key));
                let afar = keys.iter().filter_map(|key| match key {
                    Key::Openings(arn) => Some(arn.clone()),
                    Key::TargetGroup(_) | Key::SecurityGroup(_) | Key::ManagedGroup(_) => None,
                });
                self.afar = afar.collect();
                for key in keys {
                    self.queue.wake(key);
                }
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the sweep could not list the shard's groups");
            }
        }
    }
}

/// Everything that there may be something to do for, target groups first.
async fn keys(context: &Context) -> store::Result<BTreeSet<Key>> {
    let (store, shard) = (&context.store, context.client.shard());
    let target_groups = store.groups(shard).await?.into_iter().map(Key::TargetGroup);
    let afar = store.groups_afar(shard).await?.into_iter();
    let security_groups = store.security_groups(shard).await?.into_iter();
    let managed = store.managed_groups(shard).await?.into_iter();
    Ok(target_groups
        .chain(afar.map(Key::Openings))
        .chain(security_groups.map(Key::SecurityGroup))
        .chain(managed.map(Key::ManagedGroup))
        .collect())
}

/// An error with its causes on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
