//! Supervised tasks: each is spawned with a kind that says what its end means.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The process is of no use without it: if it ends before a stop was asked for, the process ends.
    Critical,
    /// It may end. A panic is logged and ends nothing else.
    Job,
}

/// Spawns tasks and tells them to stop. Clones share one fate.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    soft: CancellationToken,
    hard: CancellationToken,
    failed: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        let hard = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            soft: hard.child_token(),
            hard,
            failed: CancellationToken::new(),
        }
    }

    /// Runs `future` until it ends or the hard stop cuts it.
    pub fn spawn(&self, kind: Kind, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        let supervised = async move {
            let ended = tasks
                .hard
                .run_until_cancelled(AssertUnwindSafe(future).catch_unwind())
                .await;
            let panicked = matches!(ended, Some(Err(_)));
            if panicked {
                // The panic hook has printed where and why.
                tracing::error!(task = name, "task panicked");
            }
            if kind == Kind::Critical && !tasks.soft.is_cancelled() {
                tracing::error!(task = name, "a task that must not end has ended: stopping");
                tasks.failed.cancel();
                tasks.soft.cancel();
            }
        };
        self.tracker.spawn(supervised);
    }

    /// Cancelled when everybody should finish what they are at and end.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when the grace is over.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Whether a critical task ended by itself.
    pub fn failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Asks all tasks to end and waits for them; after `grace` they are cut.
    pub async fn stop(&self, grace: std::time::Duration) {
        self.soft.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!("tasks did not end within the grace and are cut");
            self.hard.cancel();
            self.tracker.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_critical_task_stops_the_process() {
        let tasks = Tasks::new();
        tasks.spawn(Kind::Critical, "short", async {});
        tasks.soft().cancelled().await;
        assert!(tasks.failed());
    }

    #[tokio::test]
    async fn a_job_may_panic_and_the_rest_goes_on() {
        let tasks = Tasks::new();
        tasks.spawn(Kind::Job, "bad", async { panic!("on purpose") });
        let (done, wait) = tokio::sync::oneshot::channel();
        tasks.spawn(Kind::Job, "good", async move {
            done.send(()).ok();
        });
        wait.await.unwrap();
        assert!(!tasks.soft().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_within_the_grace_is_cut() {
        let tasks = Tasks::new();
        tasks.spawn(Kind::Job, "stubborn", std::future::pending());
        tasks.stop(Duration::from_secs(5)).await;
        assert!(tasks.hard().is_cancelled());
    }
}
