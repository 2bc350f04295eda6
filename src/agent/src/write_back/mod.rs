//! Writes the service's answers into the cluster: status and events of TargetGroupBindings, readiness gates of pods. The
//! latest per object, and of a pod per gate, wins.

mod gate;
mod object;
mod order;
mod status;

use std::{sync::atomic::AtomicBool, time::Duration};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use runtime::{Clock, backoff::Backoff};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use order::{Order, Writer};

use crate::{engine::Finding, metrics::Metrics};

/// At most so many statuses a second.
pub const STATUS_PACE: Duration = Duration::from_millis(20);
/// Gates are many at once and somebody waits for each.
pub const GATE_PACE: Duration = Duration::from_millis(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server refused the write: {0}")]
    Kube(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Error {
    /// Whether the same write may succeed later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Kube(kube::Error::Api(status)) => matches!(status.code, 409 | 429 | 500..),
            Self::Kube(_) | Self::Timeout(_) => true,
        }
    }
}

/// Does the writing.
pub struct WriteBack {
    pub client: Client,
    pub writer: Writer,
    /// Between two objects.
    pub pace: Duration,
    pub findings: mpsc::Sender<Finding>,
    pub instance: String,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Whether the cluster's definition of the kind has our counts. Another's drops them, and they would be written anew
    /// each time.
    pub knows_counts: AtomicBool,
}

impl WriteBack {
    /// Runs until the soft stop.
    pub async fn run(self, soft: CancellationToken) {
        let reporter = Reporter {
            controller: "elbow-agent".to_owned(),
            instance: Some(self.instance.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut pace = interval(self.pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let Some(job) = soft.run_until_cancelled(self.writer.next()).await else {
                return;
            };
            let written = match &job.order {
                Order::Object(write_back) => self.write(write_back, &recorder).await,
                Order::Gate { id: _, pod, gate } => self.write_gate(pod, gate).await,
            };
            self.metrics.wrote_back(written.is_ok());
            let error = match written {
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(error) if error.is_passing() && job.attempt < ATTEMPTS => {
                    tracing::info!(object = ?job.order.key(), %error, "what is to be written back is written again later");
                    self.writer.retry(job);
                    soft.run_until_cancelled(tokio::time::sleep(backoff.next_delay()))
                        .await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(object = ?job.order.key(), %error, "what is to be written back cannot be written");
                    Some(error.to_string())
                }
            };
            let found = Finding::WrittenBack {
                epoch: job.epoch,
                id: job.order.id(),
                error,
            };
            if self.findings.send(found).await.is_err() {
                return;
            }
        }
    }
}
