//! Clusters.

use model::{
    ClusterId, Name,
    cluster::{Cluster, ClusterSpec, Leaving},
};
use store::{ClusterState, Put};
use uuid::Uuid;

use crate::{
    Control, Error, Listing, Page, Principal, Token, Write, Written,
    authentication::agent_token_name,
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
        let clusters = self.store.clusters(after.as_ref(), page.rows()).await?;
        Ok(page
            .cut(clusters, |state| state.cluster.name.to_string())
            .map(Into::into))
    }

    pub async fn get_cluster(&self, principal: &Principal, name: &Name) -> Result<ClusterView, Error> {
        principal.read("read clusters")?;
        Ok(self.cluster(name).await?.into())
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
            return Ok((would_be(stored, name, spec)?, None));
        }
        match self
            .store
            .put_cluster(actor, &name, &spec, write.expected.version())
            .await?
        {
            Put::Created(cluster) => {
                let token = self.new_agent_token(actor, &cluster).await?;
                let value = self.cluster(&cluster.name).await?.into();
                Ok((Written { created: true, value }, Some(token)))
            }
            Put::Updated(_) | Put::Unchanged(_) => {
                let value = self.cluster(&name).await?.into();
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
        Ok(state.into())
    }

    /// A further token for the cluster's agent. Those issued before stay valid.
    pub async fn issue_agent_token(&self, principal: &Principal, name: &Name) -> Result<Token, Error> {
        let actor = principal.write("issue tokens")?;
        let state = self.cluster(name).await?;
        if state.leaving.is_some() {
            let message = format!(
                "cluster `{name}` is on its way out: register it again once it is gone, or by another name"
            );
            return Err(Error::Conflict(message));
        }
        self.new_agent_token(actor, &state.cluster).await
    }

    async fn new_agent_token(&self, actor: &str, cluster: &Cluster) -> Result<Token, Error> {
        let token = Token::generate();
        let role = store::Role::Agent(cluster.id);
        self.store
            .add_token(
                actor,
                token.hash().as_bytes(),
                &agent_token_name(&cluster.name),
                role,
            )
            .await?;
        Ok(token)
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
) -> Result<Written<ClusterView>, Error> {
    let Some(mut state) = stored else {
        let cluster = Cluster {
            id: ClusterId(Uuid::nil()),
            name,
            spec,
            version: 1,
        };
        let value = ClusterView {
            cluster,
            created_at: None,
            leaving: None,
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
        value: state.into(),
    })
}

impl From<ClusterState> for ClusterView {
    fn from(state: ClusterState) -> Self {
        let ClusterState {
            cluster,
            epoch,
            instance,
            cluster_uid: _,
            seen_at,
            sources_synced_at,
            unsynced,
            leaving,
            surroundings,
            created_at,
            now: _,
        } = state;
        let agent = AgentView {
            epoch,
            instance,
            seen_at,
            synced_at: sources_synced_at,
            unsynced,
            surroundings,
        };
        Self {
            cluster,
            created_at: Some(created_at),
            leaving,
            agent,
        }
    }
}
