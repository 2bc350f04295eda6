//! One shard's worker: which group is next, how many at once, and when to look without being asked.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use model::{SecurityGroupId, TargetGroupArn};
use runtime::{Clock, backoff::Backoff};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    Metrics,
    memory::Memory,
    pass::{Context, Error},
    queue::Queue,
    rules::RuleMemory,
};

/// What wakes a worker.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    Look(Key),
    /// Look at everything.
    Sweep,
}

/// What a pass is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    TargetGroup(TargetGroupArn),
    SecurityGroup(SecurityGroupId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetGroup(arn) => arn.fmt(f),
            Self::SecurityGroup(id) => id.fmt(f),
        }
    }
}

/// What is remembered of what a pass is about.
enum Remembered {
    Targets(Box<Memory>),
    Rules(Box<RuleMemory>),
}

impl Remembered {
    fn nothing(key: &Key) -> Self {
        match key {
            Key::TargetGroup(_) => Self::Targets(Box::default()),
            Key::SecurityGroup(_) => Self::Rules(Box::default()),
        }
    }

    fn backoff(&mut self) -> &mut Backoff {
        match self {
            Self::Targets(memory) => &mut memory.backoff,
            Self::Rules(memory) => &mut memory.backoff,
        }
    }
}

type Finished = (Key, Remembered, Result<Option<Duration>, Error>, Duration);

/// Works on the shard until `stop`, or until the lease is lost.
pub(crate) async fn run(
    context: Arc<Context>,
    mut signals: mpsc::Receiver<Signal>,
    metrics: Metrics,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut worker = Worker {
        context,
        metrics,
        clock,
        queue: Queue::default(),
        memories: HashMap::new(),
        passes: FuturesUnordered::new(),
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
                Some(Signal::Look(key)) => worker.queue.wake(key),
                Some(Signal::Sweep) => worker.sweep().await,
                None => break,
            },
            _ = sweep.tick() => worker.sweep().await,
            () = tokio::time::sleep_until(due) => {}
        }
    }
    // Calls that are under way are not cut: their outcome is worth a moment, and their deadline is the lease's.
    while let Some((key, _, result, _)) = worker.passes.next().await {
        if let Err(error) = result {
            tracing::debug!(group = %key, error = %Chain(&error), "a last pass failed");
        }
    }
}

struct Worker {
    context: Arc<Context>,
    metrics: Metrics,
    clock: Clock,
    queue: Queue<Key>,
    memories: HashMap<Key, Remembered>,
    passes: FuturesUnordered<BoxFuture<'static, Finished>>,
}

/// The lease is lost: somebody else writes now.
struct Fenced;

impl Worker {
    fn start_passes(&mut self) {
        while self.passes.len() < self.context.settings.concurrency {
            let Some(key) = self.queue.take() else { break };
            let mut memory = self
                .memories
                .remove(&key)
                .unwrap_or_else(|| Remembered::nothing(&key));
            let (context, clock) = (self.context.clone(), self.clock.clone());
            self.passes.push(Box::pin(async move {
                let begun = clock.instant();
                let result = match (&key, &mut memory) {
                    (Key::TargetGroup(arn), Remembered::Targets(memory)) => context.pass(arn, memory).await,
                    (Key::SecurityGroup(id), Remembered::Rules(memory)) => {
                        context.rule_pass(id, memory).await
                    }
                    (key, _) => unreachable!("the memory of {key} is of its kind"),
                };
                (key, memory, result, clock.instant().duration_since(begun))
            }));
        }
        self.metrics
            .waiting_groups
            .set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }

    fn finish(&mut self, (key, mut memory, result, took): Finished) -> Result<(), Fenced> {
        self.metrics.passes.inc();
        self.metrics.pass_seconds.observe(took.as_secs_f64());
        let now = self.clock.instant();
        match result {
            Ok(Some(wait)) => self.queue.wake_at(key.clone(), now + wait),
            Ok(None) => {}
            Err(Error::Store(store::Error::LeaseLost { shard })) => {
                tracing::warn!(%shard, "the lease is somebody else's: stopping work on the shard");
                return Err(Fenced);
            }
            Err(error) => {
                self.metrics.failed_passes.inc();
                let wait = memory.backoff().next_delay();
                tracing::warn!(group = %key, error = %Chain(&error), retry_ms = wait.as_millis(), "a pass failed");
                self.queue.wake_at(key.clone(), now + wait);
            }
        }
        self.queue.done(key.clone());
        self.memories.insert(key, memory);
        Ok(())
    }

    async fn sweep(&mut self) {
        match keys(&self.context).await {
            Ok(keys) => {
                self.memories.retain(|key, _| keys.contains(key));
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
    let security_groups = store.security_groups(shard).await?.into_iter();
    Ok(target_groups
        .chain(security_groups.map(Key::SecurityGroup))
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
