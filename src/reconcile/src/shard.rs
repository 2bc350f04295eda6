//! One shard's worker: which group is next, how many at once, and when to look without being asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use model::TargetGroupArn;
use runtime::Clock;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    Metrics,
    memory::Memory,
    pass::{Context, Error},
    queue::Queue,
};

/// What wakes a worker.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    Group(TargetGroupArn),
    /// Look at everything.
    Sweep,
}

type Finished = (TargetGroupArn, Memory, Result<Option<Duration>, Error>, Duration);

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
                Some(Signal::Group(arn)) => worker.queue.wake(arn),
                Some(Signal::Sweep) => worker.sweep().await,
                None => break,
            },
            _ = sweep.tick() => worker.sweep().await,
            () = tokio::time::sleep_until(due) => {}
        }
    }
    // Calls that are under way are not cut: their outcome is worth a moment, and their deadline is the lease's.
    while let Some((arn, _, result, _)) = worker.passes.next().await {
        if let Err(error) = result {
            tracing::debug!(target_group = %arn, error = %Chain(&error), "a last pass failed");
        }
    }
}

struct Worker {
    context: Arc<Context>,
    metrics: Metrics,
    clock: Clock,
    queue: Queue,
    memories: HashMap<TargetGroupArn, Memory>,
    passes: FuturesUnordered<BoxFuture<'static, Finished>>,
}

/// The lease is lost: somebody else writes now.
struct Fenced;

impl Worker {
    fn start_passes(&mut self) {
        while self.passes.len() < self.context.settings.concurrency {
            let Some(arn) = self.queue.take() else { break };
            let mut memory = self.memories.remove(&arn).unwrap_or_default();
            let (context, clock) = (self.context.clone(), self.clock.clone());
            self.passes.push(Box::pin(async move {
                let begun = clock.instant();
                let result = context.pass(&arn, &mut memory).await;
                (arn, memory, result, clock.instant().duration_since(begun))
            }));
        }
        self.metrics
            .waiting_groups
            .set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }

    fn finish(&mut self, (arn, mut memory, result, took): Finished) -> Result<(), Fenced> {
        self.metrics.passes.inc();
        self.metrics.pass_seconds.observe(took.as_secs_f64());
        let now = self.clock.instant();
        match result {
            Ok(Some(wait)) => self.queue.wake_at(arn.clone(), now + wait),
            Ok(None) => {}
            Err(Error::Store(store::Error::LeaseLost { shard })) => {
                tracing::warn!(%shard, "the lease is somebody else's: stopping work on the shard");
                return Err(Fenced);
            }
            Err(error) => {
                self.metrics.failed_passes.inc();
                let wait = memory.backoff.next_delay();
                tracing::warn!(target_group = %arn, error = %Chain(&error), retry_ms = wait.as_millis(), "a pass failed");
                self.queue.wake_at(arn.clone(), now + wait);
            }
        }
        self.queue.done(arn.clone());
        self.memories.insert(arn, memory);
        Ok(())
    }

    async fn sweep(&mut self) {
        match self.context.store.groups(self.context.client.shard()).await {
            Ok(groups) => {
                self.memories.retain(|arn, _| groups.contains(arn));
                for arn in groups {
                    self.queue.wake(arn);
                }
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the sweep could not list the shard's target groups");
            }
        }
    }
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
