//! Whose a token is, and the making of tokens.

use model::Name;

use crate::{Control, Error, Principal, Role, Token, text};

impl Control {
    /// Whose token it is.
    pub async fn authenticate(&self, token: &Token) -> Result<Principal, Error> {
        let found = self.store.principal(token.hash().as_bytes()).await?;
        let store::Principal { name, role } = found.ok_or(Error::Unauthenticated)?;
        let role = match role {
            store::Role::Admin => Role::Admin,
            store::Role::Viewer => Role::Viewer,
            store::Role::Agent(cluster) => Role::Agent { cluster },
        };
        Ok(Principal { name, role })
    }

    /// Makes a token for a person or a portal. For whoever has the database: it asks for no permission.
    pub async fn create_token(&self, name: &str, role: ApiRole) -> Result<Token, Error> {
        let token = Token::generate();
        self.register_token(name, role, &token).await?;
        Ok(token)
    }

    /// Takes a token that was made elsewhere. The same token again changes nothing.
    pub async fn register_token(&self, name: &str, role: ApiRole, token: &Token) -> Result<(), Error> {
        text::line("name", name)?;
        let role = match role {
            ApiRole::Admin => store::Role::Admin,
            ApiRole::Viewer => store::Role::Viewer,
        };
        Ok(self
            .store
            .add_token("command line", token.hash().as_bytes(), name, role)
            .await?)
    }
}

/// The roles of people and portals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRole {
    Admin,
    Viewer,
}

/// The name of an agent's token.
pub(crate) fn agent_token_name(cluster: &Name) -> String {
    format!("agent of {cluster}")
}
