//! Wakes for the sessions and waiting requests of this process, and one poll for all of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::ClusterId;
use store::{OutgoingMark, Store, Wake};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Clusters that one read of the poll asks about.
const BATCH: usize = 1000;

/// Who waits for which cluster. A cluster that nobody waits for has no entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes {
    clusters: Arc<Mutex<HashMap<ClusterId, Waiting>>>,
    events: watch::Sender<()>,
    declared: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    wake: watch::Sender<()>,
    /// What the last poll saw.
    mark: Option<OutgoingMark>,
}

impl Wakes {
    /// Hears every wake of the cluster from now on. Wakes that come while nobody looks become one.
    pub(crate) fn subscribe(&self, cluster: ClusterId) -> watch::Receiver<()> {
        let mut waiting = self.waiting();
        // Those who have gone are forgotten when somebody comes.
        waiting.retain(|_, waiting| waiting.wake.receiver_count() > 0);
        waiting.entry(cluster).or_default().wake.subscribe()
    }

    /// Hears that there are events.
    pub(crate) fn events(&self) -> watch::Receiver<()> {
        self.events.subscribe()
    }

    /// Hears that AWS has named managed target groups.
    pub(crate) fn declared(&self) -> watch::Receiver<()> {
        self.declared.subscribe()
    }

    fn wake(&self, cluster: ClusterId) {
        if let Some(waiting) = self.waiting().get(&cluster) {
            waiting.wake.send_replace(());
        }
    }

    fn wake_all(&self) {
        self.events.send_replace(());
        self.declared.send_replace(());
        for waiting in self.waiting().values() {
            waiting.wake.send_replace(());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ClusterId, Waiting>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the database's wakes on for ever.
    pub(crate) async fn pass_on(self, mut heard: store::Wakes) {
        loop {
            match heard.next().await {
                Wake::Cluster(cluster) => self.wake(cluster),
                Wake::All => self.wake_all(),
                Wake::Events => {
                    self.events.send_replace(());
                }
                Wake::Declared => {
                    self.declared.send_replace(());
                }
                Wake::Group(_)
                | Wake::News(..)
                | Wake::SecurityGroup(..)
                | Wake::ManagedGroup(..)
                | Wake::Shard(_) => {}
            }
        }
    }

    /// Looks for ever whether there is news that no wake told of: one read for all, however many wait. Whoever has none
    /// is not bothered.
    pub(crate) async fn poll(self, store: Store, every: Duration) {
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.look(&store).await {
                tracing::warn!(error = %error, "the poll for news did not get an answer and comes again");
            }
        }
    }

    async fn look(&self, store: &Store) -> Result<(), store::Error> {
        let clusters: Vec<_> = self.waiting().keys().copied().collect();
        for batch in clusters.chunks(BATCH) {
            let marks = store.outgoing_marks(batch).await?;
            let mut waiting = self.waiting();
            for (cluster, mark) in marks {
                let Some(one) = waiting.get_mut(&cluster) else {
                    continue;
                };
                if one.mark.replace(mark) != Some(mark) {
                    one.wake.send_replace(());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_reaches_the_sessions_of_its_cluster_alone() {
        let (one, two) = (
            ClusterId(uuid::Uuid::from_u128(1)),
            ClusterId(uuid::Uuid::from_u128(2)),
        );
        let wakes = Wakes::default();
        let (first, second) = (wakes.subscribe(one), wakes.subscribe(two));
        wakes.wake(one);
        assert!(first.has_changed().unwrap());
        assert!(!second.has_changed().unwrap());
        wakes.wake_all();
        assert!(second.has_changed().unwrap());
    }

    #[test]
    fn clusters_that_nobody_waits_for_are_forgotten() {
        let wakes = Wakes::default();
        for id in 0..100 {
            drop(wakes.subscribe(ClusterId(uuid::Uuid::from_u128(id))));
        }
        assert!(wakes.waiting().len() <= 1);
    }
}
