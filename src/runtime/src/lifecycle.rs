//! From start to exit: signals, the graceful stop, the hard one.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::Tasks;

/// The life of a process. The first SIGTERM or SIGINT asks all tasks to end; a second one, or the end of the grace, cuts
/// them.
#[derive(Debug, Default)]
pub struct Lifecycle {
    tasks: Tasks,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// Waits for a signal or the end of a critical task, then stops everything. An error if it was the latter.
    pub async fn run(self, grace: Duration) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let soft = self.tasks.soft();
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            () = soft.cancelled() => {}
        }
        tokio::select! {
            () = self.tasks.stop(grace) => {}
            _ = terminate.recv() => self.tasks.hard().cancel(),
            _ = interrupt.recv() => self.tasks.hard().cancel(),
        }
        if self.tasks.failed() {
            anyhow::bail!("a task that must not end has ended; the log above says which and why");
        }
        Ok(())
    }
}
