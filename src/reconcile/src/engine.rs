//! A replica: which shards it holds, their workers, and who wakes them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws::{Aws, ShardClient};
use jiff::{SignedDuration, Timestamp};
use model::Shard;
use runtime::{Clock, Kind, Tasks};
use store::{Fence, Lease, Store, Wake, Wakes};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    DatabaseClock, Metrics, Settings,
    fleet::Fleet,
    pass::Context,
    shard::{self, Chain, Key, Signal},
};

/// Leases shards and works on them. Clones are one.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    aws: Aws,
    settings: Arc<Settings>,
    clock: Clock,
    database: DatabaseClock,
    metrics: Metrics,
    workers: Mutex<HashMap<Shard, Worker>>,
    /// Something about shards changed: look at the leases now.
    hurry: Notify,
    fleet: Fleet,
}

struct Worker {
    fence: Fence,
    /// Until when the database said last that the lease lasts.
    promised: Timestamp,
    deadline: watch::Sender<Instant>,
    signals: mpsc::Sender<Signal>,
    stop: CancellationToken,
}

/// Signals beyond this many are replaced by one sweep.
const SIGNALS: usize = 1024;

impl Engine {
    /// `aws` must tell the time by `database`.
    pub fn new(
        store: Store,
        aws: Aws,
        settings: Settings,
        clock: Clock,
        database: DatabaseClock,
        metrics: Metrics,
    ) -> Self {
        let inner = Inner {
            store,
            aws,
            settings: Arc::new(settings),
            clock,
            database,
            metrics,
            workers: Mutex::default(),
            hurry: Notify::new(),
            fleet: Fleet::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Spawns the loops, woken by `wakes`. They end with the soft stop and give the leases back.
    pub fn spawn(&self, tasks: &Tasks, wakes: Wakes) {
        let (engine, leasing) = (self.clone(), tasks.clone());
        tasks.spawn(
            Kind::Critical,
            "leases",
            async move { engine.lease(&leasing).await },
        );
        let (engine, stop) = (self.clone(), tasks.soft());
        tasks.spawn(Kind::Critical, "fleet", async move {
            let Inner {
                store,
                settings,
                fleet,
                ..
            } = &*engine.inner;
            let watching = fleet.run(store, &settings.guards, || engine.wake(Wake::All));
            stop.run_until_cancelled(watching).await;
        });
        let (engine, stop) = (self.clone(), tasks.soft());
        tasks.spawn(Kind::Critical, "wakes", async move {
            stop.run_until_cancelled(engine.listen(wakes)).await;
        });
    }

    async fn lease(&self, tasks: &Tasks) {
        let stop = tasks.soft();
        let mut tick = tokio::time::interval(self.inner.settings.lease_renewal);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
                () = self.inner.hurry.notified() => {}
            }
            self.renew(tasks).await;
        }
        let workers: Vec<Worker> = self.workers().drain().map(|(_, worker)| worker).collect();
        for Worker {
            fence, stop, signals, ..
        } in workers
        {
            stop.cancel();
            // A successor may write as soon as the lease is free: wait until ours has nothing under way.
            signals.closed().await;
            if let Err(error) = self.inner.store.release_lease(&fence).await {
                tracing::warn!(shard = %fence.shard, error = %Chain(&error), "the lease could not be given back and runs out");
            }
        }
    }

    async fn renew(&self, tasks: &Tasks) {
        let Settings {
            replica,
            lease_ttl,
            max_shards,
            ..
        } = &*self.inner.settings;
        // Counted from before the renewal: the lease may be as old as the question.
        let asked = self.inner.clock.instant();
        let leases = match self.inner.store.lease(replica, *lease_ttl, *max_shards).await {
            Ok(leases) => leases,
            Err(error) => {
                // Workers go on until their deadline, which nobody moves now.
                tracing::warn!(error = %Chain(&error), "the leases could not be renewed");
                return;
            }
        };
        if self.forgot(&leases) {
            tracing::warn!(
                "the database forgot a lease: it went back in time, and removals wait until each shard is released"
            );
            if let Err(error) = self.inner.store.went_back().await {
                // Nobody works by the new leases, which run out.
                tracing::warn!(error = %Chain(&error), "the shards could not be marked as restored");
                return;
            }
        }
        let entered = match self.inner.store.account_roles().await {
            Ok(roles) => self.inner.aws.enter_by(roles),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the roles of accounts could not be read");
                Vec::new()
            }
        };
        let mut workers = self.workers();
        let held: Vec<&Shard> = leases.iter().map(|lease| &lease.shard).collect();
        workers.retain(|shard, worker| {
            let (held, ended) = (held.contains(&shard), worker.signals.is_closed());
            if !held && !ended {
                tracing::warn!(%shard, "the lease is no longer ours: stopping work on the shard");
                self.inner.metrics.lost_leases.inc();
            }
            if !held || ended {
                worker.stop.cancel();
            }
            held && !ended
        });
        // They begin again, with other credentials, at the renewal after their end.
        for (_, worker) in workers
            .iter()
            .filter(|(shard, _)| entered.contains(&shard.account))
        {
            worker.stop.cancel();
        }
        for lease in leases {
            self.inner.database.set(lease.now);
            let left = Duration::try_from(lease.deadline.duration_since(lease.now)).unwrap_or_default();
            let deadline = asked + left;
            match workers.get_mut(&lease.shard) {
                Some(worker) if worker.fence.epoch == lease.epoch => {
                    worker.promised = lease.deadline;
                    worker.deadline.send_replace(deadline);
                }
                former => {
                    if let Some(former) = former {
                        former.stop.cancel();
                    }
                    let worker = self.start(&lease, deadline, tasks);
                    workers.insert(lease.shard.clone(), worker);
                }
            }
        }
        self.inner
            .metrics
            .shards
            .set(i64::try_from(workers.len()).unwrap_or(i64::MAX));
    }

    /// Whether a lease that was promised to us stood for less in the database: only one that has forgotten the promise
    /// does that, whether it gives the shard to somebody else now or to us.
    fn forgot(&self, leases: &[Lease]) -> bool {
        let workers = self.workers();
        leases.iter().any(|lease| {
            workers
                .get(&lease.shard)
                .is_some_and(|worker| lease.known_deadline < Some(worker.promised))
        })
    }

    fn start(&self, lease: &Lease, deadline: Instant, tasks: &Tasks) -> Worker {
        let Inner {
            store,
            aws,
            settings,
            clock,
            metrics,
            ..
        } = &*self.inner;
        let client: ShardClient = if lease.former_deadline.is_some() {
            aws.take_over(&lease.shard)
        } else {
            aws.shard(&lease.shard)
        };
        let timeout = SignedDuration::try_from(settings.attempt_timeout).unwrap_or(SignedDuration::MAX);
        let (sender, receiver) = watch::channel(deadline);
        let (signals, inbox) = mpsc::channel(SIGNALS);
        let stop = tasks.soft().child_token();
        let context = Context {
            store: store.clone(),
            client: client.clone(),
            settings: settings.clone(),
            fence: lease.fence(),
            deadline: receiver,
            fenced_until: lease.former_deadline.map(|former| former + timeout),
            fleet: self.inner.fleet.watch(),
            metrics: metrics.clone(),
            database: self.inner.database.clone(),
        };
        tracing::info!(shard = %lease.shard, epoch = lease.epoch, "holding the shard");
        let run = shard::run(
            Arc::new(context),
            inbox,
            metrics.clone(),
            clock.clone(),
            stop.clone(),
        );
        tasks.spawn(Kind::Job, "shard", run);
        tasks.spawn(Kind::Job, "warm", async move {
            if let Err(error) = client.warm().await {
                tracing::warn!(shard = %client.shard(), error = %Chain(&error), "AWS could not be reached yet");
            }
        });
        Worker {
            fence: lease.fence(),
            promised: lease.deadline,
            deadline: sender,
            signals,
            stop,
        }
    }

    async fn listen(&self, mut wakes: Wakes) {
        loop {
            self.wake(wakes.next().await);
        }
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::News(arn, news) => {
                if let Some(worker) = self.workers().get(arn.shard()) {
                    worker.signal(Signal::News(arn, news));
                }
            }
            Wake::Group(arn) => {
                for (shard, worker) in self.workers().iter() {
                    let key = if shard == arn.shard() {
                        Key::TargetGroup(arn.clone())
                    } else if shard.region == arn.shard().region {
                        // A group is reached across accounts, and never across regions.
                        Key::Openings(arn.clone())
                    } else {
                        continue;
                    };
                    worker.signal(Signal::Look(key));
                }
            }
            Wake::SecurityGroup(shard, id) => {
                if let Some(worker) = self.workers().get(&shard) {
                    worker.signal(Signal::Look(Key::SecurityGroup(id)));
                }
            }
            Wake::ManagedGroup(shard, name) => {
                if let Some(worker) = self.workers().get(&shard) {
                    worker.signal(Signal::Look(Key::ManagedGroup(name)));
                }
            }
            Wake::Shard(shard) => {
                if let Some(worker) = self.workers().get(&shard) {
                    worker.signal(Signal::Sweep);
                }
                self.inner.hurry.notify_one();
            }
            Wake::All => {
                for worker in self.workers().values() {
                    worker.signal(Signal::Sweep);
                }
            }
            // The affair of streams and of those who follow.
            Wake::Cluster(_) | Wake::Declared | Wake::Events => {}
        }
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, HashMap<Shard, Worker>> {
        self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn signal(&self, signal: Signal) {
        // A full inbox: the worker is behind, and its next sweep finds what this would have told.
        if self.signals.try_send(signal).is_err() {
            tracing::debug!(shard = %self.fence.shard, "a wake waits for the sweep");
        }
    }
}
