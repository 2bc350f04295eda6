//! What a session has to tell, compared with what it has told.

use std::collections::{BTreeMap, BTreeSet};

use model::{BindingId, condition::Reason, fact::ObjectName};

use super::{Directive, Event, Session, WriteBack};
use crate::Error;

/// Statuses that are read at once.
const WRITE_BACKS: u32 = 200;

/// What the agent has been told on this stream.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Service → token of the subscription. `None`: nothing was said yet, not even that there is nothing.
    services: Option<BTreeMap<ObjectName, i64>>,
    relists: BTreeSet<u64>,
    /// The highest version of a status that was sent.
    version: i64,
    /// The reason that each binding had last. `None`: the first look at the statuses is yet to come; what it shows is no
    /// news, since an earlier stream has told it.
    reasons: Option<BTreeMap<BindingId, Reason>>,
    /// A write-back failed: all are sent again after a while.
    write_back_failed: bool,
}

impl Told {
    /// What the agent could not read is to be asked for again, and what it could not write to be written again. Whether
    /// there is anything of the kind.
    pub(super) fn begin_again(&mut self) -> bool {
        let unread = !std::mem::take(&mut self.relists).is_empty();
        let unwritten = std::mem::take(&mut self.write_back_failed);
        if unwritten {
            self.version = 0;
        }
        unread || unwritten
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
        Ok(directives)
    }

    async fn require_newest(&self) -> Result<(), Error> {
        let state = self.control.store.cluster_by_id(self.stream.cluster).await?;
        // A cluster that was deleted has no stream: its token is gone as well.
        let state = state
            .filter(|state| state.leaving.is_none())
            .ok_or(Error::Unauthenticated)?;
        if state.epoch == self.stream.epoch {
            Ok(())
        } else {
            Err(Error::Superseded)
        }
    }

    async fn subscribe(&mut self) -> Result<Vec<Directive>, Error> {
        let subscriptions = self.control.store.subscriptions(self.stream.cluster).await?;
        let wanted: BTreeMap<_, _> = subscriptions
            .into_iter()
            .map(|it| (it.service, it.token))
            .collect();
        if self.told.services.as_ref() == Some(&wanted) {
            return Ok(Vec::new());
        }
        let told = self.told.services.take().unwrap_or_default();
        // Their facts were forgotten in between: the agent must be unsubscribed, so that it states them anew.
        let forgotten =
            |service: &ObjectName, token: &i64| told.get(service).is_some_and(|told| told != token);
        let kept: Vec<_> = wanted
            .iter()
            .filter(|(service, token)| !forgotten(service, token))
            .map(|(it, _)| it.clone())
            .collect();
        let mut directives = Vec::new();
        if kept.len() < wanted.len() {
            self.continuity.subscribe(kept.iter().cloned().collect());
            directives.push(Directive::Subscribe(kept));
        }
        self.continuity.subscribe(wanted.keys().cloned().collect());
        directives.push(Directive::Subscribe(wanted.keys().cloned().collect()));
        self.told.services = Some(wanted);
        Ok(directives)
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
                    event,
                }));
            }
            if last {
                self.told.reasons.get_or_insert_default();
                return Ok(());
            }
        }
    }
}
