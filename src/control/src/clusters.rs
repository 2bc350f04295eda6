//! Clusters.

use std::time::Duration;

use model::{
    ClusterId, Name,
    cluster::{Cluster, ClusterSpec, Leaving},
    guard::Guards,
};
use store::{ClusterState, NewToken, Put};
use uuid::Uuid;

use crate::{
    Control, Error, Listing, Page, Principal, Token, Write, Written,
    authentication::agent_token_name,
    tokens::{Issued, known_already},
    view::{AgentView, ClusterView},
};

impl Control {
    pub async fn list_clusters(
        &self,
        principal: &Principal,
        page: &Page,
    ) -> Result<Listing<ClusterView>, Error> {
        principal.read("list clusters")?;
        let after = page.after::<Name>()?;
        let scope = principal.scope.as_ref();
        let clusters = self.store.clusters(scope, after.as_ref(), page.rows()).await?;
        Ok(page
            .cut(clusters, |state| state.cluster.name.to_string())
            .map(|state| self.cluster_view(state)))
    }

    pub async fn get_cluster(&self, principal: &Principal, name: &Name) -> Result<ClusterView, Error> {
        principal.read_of("read clusters", name)?;
        Ok(self.cluster_view(self.cluster(name).await?))
    }

    /// Registers a cluster or changes it. A new one comes with the first token of its agent.
    pub async fn put_cluster(
        &self,
        principal: &Principal,
        name: Name,
        spec: ClusterSpec,
        write: Write,
    ) -> Result<(Written<ClusterView>, Option<Token>), Error> {
        let actor = principal.write("register clusters")?;
        let stored = self.store.cluster(&name).await?;
        write
            .expected
            .check(stored.as_ref().map(|state| state.cluster.version))?;
        if write.dry_run {
            return Ok((would_be(stored, name, spec, &self.settings.guards)?, None));
        }
        match self
            .store
            .put_cluster(actor, &name, &spec, write.expected.version())
            .await?
        {
            Put::Created(cluster) => {
                let token = self.new_agent_token(actor, &cluster).await?.token;
                let value = self.cluster_view(self.cluster(&cluster.name).await?);
                Ok((Written { created: true, value }, Some(token)))
            }
            put @ (Put::Updated(_) | Put::Unchanged(_)) => {
                if let Put::Updated(cluster) = put {
                    // A role that was added, say, mends texts that were in error.
                    self.recompile(&cluster).await?;
                }
                let value = self.cluster_view(self.cluster(&name).await?);
                Ok((
                    Written {
                        created: false,
                        value,
                    },
                    None,
                ))
            }
        }
    }

    /// Takes a cluster away, with its targets as `targets` says; without it, only one that has none. The answer is what
    /// it was.
    pub async fn delete_cluster(
        &self,
        principal: &Principal,
        name: &Name,
        targets: Option<Leaving>,
        write: Write,
    ) -> Result<ClusterView, Error> {
        let actor = principal.write("delete clusters")?;
        let state = self.cluster(name).await?;
        write.expected.check(Some(state.cluster.version))?;
        if !write.dry_run {
            self.store
                .delete_cluster(actor, name, targets, write.expected.version())
                .await?;
        }
        Ok(self.cluster_view(state))
    }

    /// Sets a cluster aside, or takes it back. Cordoned, it adds no new target; what it has stays, and goes by the usual
    /// rules; and its silence is no sign that many are silent.
    pub async fn cordon_cluster(
        &self,
        principal: &Principal,
        name: &Name,
        cordon: bool,
        dry_run: bool,
    ) -> Result<ClusterView, Error> {
        let action = if cordon {
            "cordon clusters"
        } else {
            "uncordon clusters"
        };
        let actor = principal.write(action)?;
        if !dry_run {
            self.store.cordon_cluster(actor, name, cordon).await?;
        }
        let mut view = self.cluster_view(self.cluster(name).await?);
        if dry_run {
            let now = self.store.fleet().await?.now;
            view.cordoned_at = cordon.then(|| view.cordoned_at.unwrap_or(now));
        }
        Ok(view)
    }

    /// A further token for the cluster's agent. Those issued before end after `overlap`; without, they stay valid.
    pub async fn issue_agent_token(
        &self,
        principal: &Principal,
        name: &Name,
        overlap: Option<Duration>,
    ) -> Result<Issued, Error> {
        let actor = principal.write("issue tokens")?;
        let state = self.cluster(name).await?;
        if state.leaving.is_some() {
            let message = format!(
                "cluster `{name}` is on its way out: register it again once it is gone, or by another name"
            );
            return Err(Error::Conflict(message));
        }
        let cluster = state.cluster;
        let issued = self.new_agent_token(actor, &cluster).await?;
        if let Some(overlap) = overlap {
            let hash = issued.token.hash();
            self.store
                .expire_other_agent_tokens(actor, cluster.id, hash.as_bytes(), overlap)
                .await?;
        }
        Ok(issued)
    }

    async fn new_agent_token(&self, actor: &str, cluster: &Cluster) -> Result<Issued, Error> {
        let token = Token::generate();
        let hash = token.hash();
        let new = NewToken {
            hash: hash.as_bytes(),
            name: &agent_token_name(&cluster.name),
            role: store::Role::Agent(cluster.id),
            scope: None,
            team: None,
            issuer: None,
            lifetime: None,
        };
        let added = self.store.add_token(actor, new).await?;
        Ok(Issued::new(token, added.ok_or_else(known_already)?))
    }

    fn cluster_view(&self, state: ClusterState) -> ClusterView {
        view(state, &self.settings.guards)
    }

    pub(crate) async fn cluster(&self, name: &Name) -> Result<ClusterState, Error> {
        self.store
            .cluster(name)
            .await?
            .ok_or_else(|| Error::not_found("cluster", name))
    }
}

/// What a PUT would answer, decided as the store would.
fn would_be(
    stored: Option<ClusterState>,
    name: Name,
    spec: ClusterSpec,
    guards: &Guards,
) -> Result<Written<ClusterView>, Error> {
    let Some(mut state) = stored else {
        let cluster = Cluster {
            id: ClusterId(Uuid::nil()),
            name,
            spec,
            cordoned: false,
            version: 1,
        };
        let value = ClusterView {
            cluster,
            created_at: None,
            leaving: None,
            cordoned_at: None,
            agent: AgentView::default(),
        };
        return Ok(Written { created: true, value });
    };
    let (now, then) = (spec.shard(), state.cluster.spec.shard());
    if now != then {
        let message =
            format!("cluster `{name}` is in {then} and cannot move to {now}: register it by another name");
        return Err(Error::Conflict(message));
    }
    if state.cluster.spec != spec {
        state.cluster.spec = spec;
        state.cluster.version += 1;
    }
    Ok(Written {
        created: false,
        value: view(state, guards),
    })
}

/// The state with what follows from it at present.
fn view(state: ClusterState, guards: &Guards) -> ClusterView {
    let ClusterState {
        cluster,
        epoch,
        instance,
        cluster_uid: _,
        seen_at,
        sources_synced_at,
        unsynced,
        leaving,
        cordoned_at,
        surroundings,
        created_at,
        now,
    } = state;
    let agent = AgentView {
        epoch,
        instance,
        seen_at,
        stale: seen_at.is_some_and(|seen| now.duration_since(seen) > guards.silent_after),
        synced_at: sources_synced_at,
        unsynced,
        surroundings,
    };
    ClusterView {
        cluster,
        created_at: Some(created_at),
        leaving,
        cordoned_at,
        agent,
    }
}
