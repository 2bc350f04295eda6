//! Who calls, and what they may do.

use model::ClusterId;

use crate::Error;

/// What a token entitles to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything over REST.
    Admin,
    /// Reading over REST.
    Viewer,
    /// The stream of one cluster, and nothing over REST.
    Agent { cluster: ClusterId },
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's name: the actor in the audit log.
    pub name: String,
    pub role: Role,
}

impl Principal {
    /// Permission to read. `action` completes "may not …".
    pub(crate) fn read(&self, action: &'static str) -> Result<(), Error> {
        match self.role {
            Role::Admin | Role::Viewer => Ok(()),
            Role::Agent { .. } => Err(self.forbidden(action, "viewer or admin")),
        }
    }

    /// Permission to change something; the answer is the actor for the audit log.
    pub(crate) fn write(&self, action: &'static str) -> Result<&str, Error> {
        match self.role {
            Role::Admin => Ok(&self.name),
            Role::Viewer | Role::Agent { .. } => Err(self.forbidden(action, "admin")),
        }
    }

    fn forbidden(&self, action: &'static str, needed: &'static str) -> Error {
        Error::Forbidden {
            principal: self.name.clone(),
            action,
            needed,
        }
    }
}
