//! Wakes for the sessions and waiting requests of this process, from one listener.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::ClusterId;
use runtime::backoff::Backoff;
use store::{Store, Wake};
use tokio::sync::watch;

/// Who waits for which cluster. A cluster that nobody waits for has no entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes(Arc<Mutex<HashMap<ClusterId, watch::Sender<()>>>>);

impl Wakes {
    /// Hears every wake of the cluster from now on. Wakes that come while nobody looks become one.
    pub(crate) fn subscribe(&self, cluster: ClusterId) -> watch::Receiver<()> {
        let mut waiting = self.waiting();
        // Those who have gone are forgotten when somebody comes.
        waiting.retain(|_, sender| sender.receiver_count() > 0);
        waiting
            .entry(cluster)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe()
    }

    fn wake(&self, cluster: ClusterId) {
        if let Some(sender) = self.waiting().get(&cluster) {
            sender.send_replace(());
        }
    }

    fn wake_all(&self) {
        for sender in self.waiting().values() {
            sender.send_replace(());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ClusterId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for ever.
    pub(crate) async fn run(self, store: Store) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let Err(error) = self.listen(&store, &mut backoff).await;
            tracing::warn!(error = %error, "wakes are not heard; sessions poll until they are");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn listen(
        &self,
        store: &Store,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, store::Error> {
        let mut listener = store.listen().await?;
        // What was committed before is not heard.
        self.wake_all();
        loop {
            let wake = listener.next().await?;
            backoff.reset();
            match wake {
                Wake::Cluster(cluster) => self.wake(cluster),
                Wake::All => self.wake_all(),
                Wake::Group(_) | Wake::Shard(_) => {}
            }
        }
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
