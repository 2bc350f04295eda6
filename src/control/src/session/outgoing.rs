//! What a session has to tell, compared with what it has told.

use std::collections::{BTreeMap, BTreeSet};

use model::{BindingId, condition::Reason, fact::ObjectName};
use store::Subscriptions;

use super::{Directive, Event, GateWriteBack, Session, WriteBack};
use crate::Error;

/// Statuses, or gates, that are read at once.
const WRITE_BACKS: u32 = 200;

/// What the agent has been told on this stream.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `None`: nothing was said yet, not even that there is nothing.
    wanted: Option<Wanted>,
    relists: BTreeSet<u64>,
    /// The highest version of a status that was sent.
    version: i64,
    /// The same of gates.
    gate_version: i64,
    /// The reason that each binding had last. `None`: the first look at the statuses is yet to come; what it shows is no
    /// news, since an earlier stream has told it.
    reasons: Option<BTreeMap<BindingId, Reason>>,
    /// A write-back failed: all are sent again after a while.
    write_back_failed: bool,
}

/// What the agent is to state, each with the token of its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    services: BTreeMap<ObjectName, i64>,
    nodes: Option<i64>,
}

impl From<Subscriptions> for Wanted {
    fn from(subscriptions: Subscriptions) -> Self {
        let Subscriptions { services, nodes } = subscriptions;
        Self {
            services: services.into_iter().map(|it| (it.service, it.token)).collect(),
            nodes,
        }
    }
}

impl Wanted {
    /// Without what was told by another token: its facts were forgotten in between, so the agent must be unsubscribed and
    /// state them anew.
    fn unforgotten(&self, told: &Self) -> Self {
        let mut kept = self.clone();
        kept.services
            .retain(|service, token| told.services.get(service).is_none_or(|told| told == token));
        kept.nodes = kept
            .nodes
            .filter(|token| told.nodes.is_none_or(|told| told == *token));
        kept
    }

    fn names(&self) -> BTreeSet<ObjectName> {
        self.services.keys().cloned().collect()
    }
}

impl Told {
    /// What the agent could not read is to be asked for again, and what it could not write to be written again. Whether
    /// there is anything of the kind.
    pub(super) fn begin_again(&mut self) -> bool {
        let unread = !std::mem::take(&mut self.relists).is_empty();
        let unwritten = std::mem::take(&mut self.write_back_failed);
        if unwritten {
            self.version = 0;
            self.gate_version = 0;
        }
        unread || unwritten
    }

    /// The version of what was sent with this id, if it may be that of a gate that was sent.
    pub(super) fn gate_version(&self, id: u64) -> Option<i64> {
        i64::try_from(id)
            .ok()
            .filter(|version| *version <= self.gate_version)
    }

    pub(super) fn write_back_failed(&mut self) {
        self.write_back_failed = true;
    }
}

impl Session {
    /// What is to be told now: only what this stream has not told yet.
    pub async fn outgoing(&mut self) -> Result<Vec<Directive>, Error> {
        self.require_newest().await?;
        let mut directives = self.subscribe().await?;
        self.relist(&mut directives).await?;
        self.write_back(&mut directives).await?;
        self.write_gates(&mut directives).await?;
        Ok(directives)
    }

    async fn require_newest(&mut self) -> Result<(), Error> {
        let state = self.control.store.cluster_by_id(self.stream.cluster).await?;
        // A cluster that was deleted has no stream: its token is gone as well.
        let state = state
            .filter(|state| state.leaving.is_none())
            .ok_or(Error::Unauthenticated)?;
        if state.epoch == self.stream.epoch {
            // What an admin says of the cluster counts for the texts that come next.
            self.cluster = state.cluster;
            Ok(())
        } else if state.instance.is_some() {
            Err(Error::Superseded)
        } else {
            Err(Error::Forgotten)
        }
    }

    async fn subscribe(&mut self) -> Result<Vec<Directive>, Error> {
        let wanted: Wanted = self
            .control
            .store
            .subscriptions(self.stream.cluster)
            .await?
            .into();
        if self.told.wanted.as_ref() == Some(&wanted) {
            return Ok(Vec::new());
        }
        let told = self.told.wanted.take().unwrap_or_default();
        let kept = wanted.unforgotten(&told);
        let mut directives = Vec::new();
        if kept != wanted {
            directives.push(self.follow(&kept));
        }
        directives.push(self.follow(&wanted));
        self.told.wanted = Some(wanted);
        Ok(directives)
    }

    fn follow(&mut self, wanted: &Wanted) -> Directive {
        self.continuity.subscribe(wanted.names(), wanted.nodes.is_some());
        Directive::Subscribe {
            services: wanted.services.keys().cloned().collect(),
            nodes: wanted.nodes.is_some(),
        }
    }

    async fn relist(&mut self, directives: &mut Vec<Directive>) -> Result<(), Error> {
        let pending = self.control.store.relists(self.stream.cluster).await?;
        let ids = pending.iter().map(|relist| relist.id).collect();
        for relist in pending {
            if !self.told.relists.contains(&relist.id) {
                directives.push(Directive::Relist {
                    id: relist.id,
                    service: relist.service,
                    pods: relist.pods,
                    nodes: relist.nodes,
                });
            }
        }
        self.told.relists = ids;
        Ok(())
    }

    async fn write_back(&mut self, directives: &mut Vec<Directive>) -> Result<(), Error> {
        let first = self.told.reasons.is_none();
        loop {
            let rows = self
                .control
                .store
                .write_backs(self.stream.cluster, self.told.version, WRITE_BACKS)
                .await?;
            let last = rows.len() < usize::try_from(WRITE_BACKS).unwrap_or(usize::MAX);
            for row in rows {
                let before = self
                    .told
                    .reasons
                    .get_or_insert_default()
                    .insert(row.binding, row.status.ready.reason);
                let event = if first {
                    None
                } else {
                    Event::of(&row.status, before)
                };
                self.told.version = self.told.version.max(row.version);
                directives.push(Directive::WriteBack(WriteBack {
                    id: u64::try_from(row.version).unwrap_or_default(),
                    object: row.object,
                    uid: row.uid,
                    status: row.status,
                    take_over: row.take_over,
                    event,
                }));
            }
            if last {
                self.told.reasons.get_or_insert_default();
                return Ok(());
            }
        }
    }

    async fn write_gates(&mut self, directives: &mut Vec<Directive>) -> Result<(), Error> {
        loop {
            let rows = self
                .control
                .store
                .gates(self.stream.cluster, self.told.gate_version, WRITE_BACKS)
                .await?;
            let last = rows.len() < usize::try_from(WRITE_BACKS).unwrap_or(usize::MAX);
            for row in rows {
                self.told.gate_version = row.version;
                directives.push(Directive::WriteGate(GateWriteBack {
                    id: u64::try_from(row.version).unwrap_or_default(),
                    pod: row.pod,
                    name: row.name,
                    state: row.state,
                }));
            }
            if last {
                return Ok(());
            }
        }
    }
}
