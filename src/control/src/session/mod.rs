//! An agent's stream, free of its transport: what it states is stored, and what it is to do is told.

mod continuity;
mod directive;
mod ingest;
mod outgoing;
mod protocol;

pub use continuity::Scope;
pub use directive::{Directive, Event, GateWriteBack, Reply, WriteBack};

use std::time::Duration;

use model::{Name, cluster::Cluster, stream::Hello};
use store::Stream;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use self::{continuity::Continuity, outgoing::Told};
use crate::{Control, Error, Principal, Role};

/// One stream of one cluster, until a newer one begins.
#[derive(Debug)]
pub struct Session {
    control: Control,
    cluster: Cluster,
    stream: Stream,
    protocol: u32,
    continuity: Continuity,
    told: Told,
    wakes: watch::Receiver<()>,
    /// When what was asked of the agent, and not yet done, is asked again.
    again: Interval,
}

impl Control {
    /// Begins a stream. It is the cluster's newest: what an older one states from now on is not taken.
    pub async fn open(&self, principal: &Principal, hello: Hello) -> Result<Session, Error> {
        let Hello {
            cluster: claimed,
            instance,
            protocol,
            version,
            last_epoch,
            cluster_uid,
        } = hello;
        let Role::Agent { cluster } = principal.role else {
            return Err(Error::Forbidden {
                principal: principal.name.clone(),
                action: "state what a cluster holds",
                needed: "agent",
            });
        };
        let state = self
            .store
            .cluster_by_id(cluster)
            .await?
            .ok_or(Error::Unauthenticated)?;
        let registered = state.cluster;
        if registered.name != claimed {
            return Err(Error::WrongCluster {
                token_of: registered.name,
                claimed,
            });
        }
        let protocol = protocol::negotiate(protocol)?;
        // From before the stream is the newest, so that nothing is missed in between.
        let wakes = self.wakes.subscribe(cluster);
        let opened = self
            .store
            .open_stream(cluster, &instance, last_epoch, &cluster_uid)
            .await?;
        if opened.restored {
            tracing::warn!(
                cluster = %claimed,
                last_epoch,
                "the agent knows an epoch that the database does not: the database went back in time"
            );
        }
        tracing::info!(cluster = %claimed, instance, version, epoch = opened.epoch, "an agent's stream begins");
        let mut again = interval_at(Instant::now() + self.settings.poll, self.settings.poll);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Session {
            control: self.clone(),
            cluster: registered,
            stream: Stream {
                cluster,
                epoch: opened.epoch,
            },
            protocol,
            continuity: Continuity::default(),
            told: Told::default(),
            wakes,
            again,
        })
    }
}

impl Session {
    /// What every statement of this stream carries.
    pub fn epoch(&self) -> u64 {
        self.stream.epoch
    }

    /// Whose stream it is.
    pub fn cluster(&self) -> &Name {
        &self.cluster.name
    }

    pub fn protocol(&self) -> u32 {
        self.protocol
    }

    /// How often the agent says that it lives.
    pub fn heartbeat(&self) -> Duration {
        self.control.settings.heartbeat
    }

    /// Waits until there may be something to tell: a wake, or the time to ask again for what the agent could not do.
    pub async fn woken(&mut self) {
        loop {
            tokio::select! {
                Ok(()) = self.wakes.changed() => return,
                _ = self.again.tick() => {
                    if self.told.begin_again() {
                        return;
                    }
                }
            }
        }
    }
}
