//! What an agent states, into the store.

use std::collections::BTreeSet;

use model::stream::{Change, Source, Statement, Update};
use store::{Ingested, JudgedSource};

use super::{Reply, Scope, Session, continuity::Verdict};
use crate::Error;

impl Session {
    /// Stores a statement and answers it. The answer to an update comes when it is stored for good.
    pub async fn ingest(&mut self, statement: Statement) -> Result<Vec<Reply>, Error> {
        let store = &self.control.store;
        match statement {
            Statement::Update { revision, update } => return self.update(revision, update).await,
            Statement::Heartbeat { surroundings } => store.touch(self.stream, surroundings.as_ref()).await?,
            Statement::Unsynced {
                kind,
                namespace,
                reason,
            } => {
                let namespace = namespace.as_deref();
                tracing::warn!(cluster = %self.cluster.name, kind, namespace, reason, "the agent cannot see a kind");
                store
                    .ingest_unsynced(self.stream, &kind, namespace, &reason)
                    .await?;
            }
            Statement::WriteBackResult {
                id,
                error: Some(error),
            } => {
                tracing::warn!(cluster = %self.cluster.name, id, error, "a status could not be written back");
                self.told.write_back_failed();
            }
            Statement::WriteBackResult { id, error: None } => {
                if let Some(version) = self.told.gate_version(id) {
                    store.gate_written(self.stream.cluster, version).await?;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn update(&mut self, revision: u64, update: Update) -> Result<Vec<Reply>, Error> {
        let Verdict {
            take,
            mut resync,
            reason,
        } = self.continuity.judge(revision, &update);
        let mut because = reason;
        if take {
            let scope = scope(&update);
            let ingested = self.store(update).await?;
            if ingested.needs_reset && self.continuity.lose(&scope) {
                because = "what the patch is relative to is no longer stored";
                resync.push(scope);
            }
        }
        let resyncs = resync.into_iter().map(|scope| Reply::Resync {
            scope,
            reason: because,
        });
        Ok(resyncs.chain([Reply::Ack { revision }]).collect())
    }

    async fn store(&self, update: Update) -> Result<Ingested, Error> {
        let (store, stream) = (&self.control.store, self.stream);
        Ok(match update {
            Update::Sources(change) => return self.sources(change, None).await,
            Update::SourcesOf { namespaces, sources } => {
                return self.sources(Change::Reset(sources), Some(&namespaces)).await;
            }
            Update::Service { object, state } => {
                store.ingest_service(stream, &object, state.as_ref()).await?
            }
            Update::Slices { service, change } => store.ingest_slices(stream, &service, &change).await?,
            Update::Departures { service, vanished } => {
                store.ingest_departures(stream, &service, &vanished).await?
            }
            Update::Nodes(change) => store.ingest_nodes(stream, &change).await?,
            Update::NodesGone(nodes) => store.ingest_nodes_gone(stream, &nodes).await?,
            Update::Pods {
                service,
                change,
                shortest_grace,
            } => {
                store
                    .ingest_pods(stream, &service, &change, shortest_grace)
                    .await?
            }
            Update::Confirm(confirm) => store.ingest_confirm(stream, &confirm).await?,
        })
    }

    /// Sources; a reset is of these namespaces, or of all.
    async fn sources(
        &self,
        change: Change<Source>,
        within: Option<&BTreeSet<String>>,
    ) -> Result<Ingested, Error> {
        let stated = change.stated();
        let compiler = self
            .control
            .compiler(&self.cluster, stated.iter().map(|source| &source.spec))
            .await?;
        let mut unresolved = false;
        let mut judge = |source: Source| {
            let verdict = compiler.compile(&source.object.namespace, &source.spec);
            unresolved |= verdict.is_err() && source.spec.get("targetGroupName").is_some();
            JudgedSource { source, verdict }
        };
        let change = match change {
            Change::Reset(stated) => Change::Reset(stated.into_iter().map(&mut judge).collect()),
            Change::Patch { upserted, deleted } => Change::Patch {
                upserted: upserted.into_iter().map(&mut judge).collect(),
                deleted,
            },
        };
        let (store, guard) = (&self.control.store, &self.control.settings.guards.unbinding);
        let ingested = store.ingest_sources(self.stream, &change, within, guard).await?;
        if unresolved {
            // A group that was declared since the names were looked up did not see these texts.
            self.control.recompile(&self.cluster).await?;
        }
        Ok(ingested)
    }
}

fn scope(update: &Update) -> Scope {
    match update {
        Update::Sources(_) | Update::SourcesOf { .. } => Scope::Sources,
        Update::Service { object: service, .. }
        | Update::Slices { service, .. }
        | Update::Departures { service, .. } => Scope::Service(service.clone()),
        Update::Pods { service, .. } => Scope::Pods(service.clone()),
        Update::Nodes(_) | Update::NodesGone(_) => Scope::Nodes,
        Update::Confirm(confirm) => Scope::Service(confirm.object.clone()),
    }
}
