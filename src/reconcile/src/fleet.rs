//! Watches all clusters together: whether so many fell silent at once that nothing may go without proof.

use std::time::Duration;

use model::guard::Guards;
use store::Store;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use crate::shard::Chain;

/// How often is looked. The freeze must come before the removals that it is to keep back.
const EVERY: Duration = Duration::from_secs(2);
/// A verdict that is older says nothing: this process or the database was away, and so may be the agents.
const BELIEVED: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Verdict {
    frozen: bool,
    at: Instant,
}

/// What is known of the fleet, for whoever plans.
#[derive(Clone, Debug)]
pub(crate) struct Watch(watch::Receiver<Option<Verdict>>);

impl Watch {
    /// Whether removals without proof are to wait. What is not known is no leave to remove.
    pub(crate) fn is_frozen(&self) -> bool {
        let verdict = *self.0.borrow();
        verdict.is_none_or(|verdict| verdict.frozen || verdict.at.elapsed() > BELIEVED)
    }
}

/// The other end of [`Watch`].
#[derive(Debug)]
pub(crate) struct Fleet {
    verdict: watch::Sender<Option<Verdict>>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            verdict: watch::Sender::new(None),
        }
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(self.verdict.subscribe())
    }

    /// Looks for ever, and calls `changed` when the freeze begins or ends.
    pub(crate) async fn run(&self, store: &Store, guards: &Guards, changed: impl Fn()) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = self.watch();
        loop {
            tick.tick().await;
            // From before the question: the verdict may be as old as that.
            let at = Instant::now();
            let before = watch.is_frozen();
            match store.fleet().await {
                Ok(fleet) => {
                    let frozen = planner::is_frozen(&fleet, guards);
                    self.verdict.send_replace(Some(Verdict { frozen, at }));
                    if frozen && !before {
                        tracing::warn!(
                            clusters = fleet.last_seen.len(),
                            "many clusters fell silent at once: nothing is removed without proof"
                        );
                    }
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "the fleet could not be read"),
            }
            if watch.is_frozen() != before {
                changed();
            }
        }
    }
}
