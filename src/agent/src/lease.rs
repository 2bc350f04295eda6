//! One active replica by a coordination.k8s.io Lease. It chooses; it does not fence: the server's epoch does.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::ObjectMeta, api::PostParams};
use runtime::Clock;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How long a Lease counts after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
const DURATION_SECONDS: i32 = 15;
/// A holder that could not renew for this long stops being active, before anybody else may begin.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

pub struct Elector {
    pub client: Client,
    pub namespace: String,
    pub name: String,
    pub identity: String,
    pub clock: Clock,
    pub active: watch::Sender<bool>,
    pub metrics: Metrics,
}

/// The Lease as it was last seen to change, by our own clock: the holders' clocks need not agree.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Elector {
    /// Takes part until the soft stop, then gives the Lease up.
    pub async fn run(self, soft: CancellationToken) {
        let mut seen = Seen {
            version: None,
            at: self.clock.instant(),
        };
        let mut renewed: Option<Instant> = None;
        while !soft.is_cancelled() {
            let begun = self.clock.instant();
            match timeout(RETRY, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => renewed = Some(begun),
                Ok(Ok(false)) => renewed = None,
                Ok(Err(error)) => tracing::info!(%error, "the Lease could not be renewed"),
                Err(_) => tracing::info!("the Lease could not be renewed in time"),
            }
            let active = renewed.is_some_and(|at| self.clock.instant() - at < RENEW_WITHIN);
            self.set(active);
            soft.run_until_cancelled(sleep(RETRY)).await;
        }
        self.set(false);
        if renewed.is_some()
            && let Ok(Err(error)) = timeout(RETRY, self.give_up()).await
        {
            tracing::info!(%error, "the Lease could not be given up; it expires");
        }
    }

    fn set(&self, active: bool) {
        let changed = self
            .active
            .send_if_modified(|present| std::mem::replace(present, active) != active);
        self.metrics.active(active);
        if changed {
            tracing::info!(active, lease = %self.name, "the role of this replica changed");
        }
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Whether we hold it.
    async fn attempt(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api().get_opt(&self.name).await? else {
            let metadata = ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(self.taken(None)),
            };
            return won(self.api().create(&PostParams::default(), &lease).await);
        };
        if seen.version != lease.metadata.resource_version {
            *seen = Seen {
                version: lease.metadata.resource_version.clone(),
                at: self.clock.instant(),
            };
        }
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let expired = seen.at.elapsed() > duration.map_or(DURATION, Duration::from_secs);
        if holder != self.identity && !holder.is_empty() && !expired {
            return Ok(false);
        }
        // The resourceVersion that was read goes with it: of two who try, one wins.
        lease.spec = Some(self.taken(Some(spec)));
        won(self
            .api()
            .replace(&self.name, &PostParams::default(), &lease)
            .await)
    }

    fn taken(&self, former: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let former = former.unwrap_or_default();
        let ours = former.holder_identity.as_deref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            acquire_time: if ours {
                former.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(former.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }

    async fn give_up(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api().get_opt(&self.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            self.api()
                .replace(&self.name, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}

/// A conflict is somebody else's success.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
