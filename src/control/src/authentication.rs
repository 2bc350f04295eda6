//! Whose a token is, and the making of tokens.

use model::{Name, scope::Scope};

use crate::{Control, Error, Principal, Role, Token, text};

impl Control {
    /// Whose token it is.
    pub async fn authenticate(&self, token: &Token) -> Result<Principal, Error> {
        let found = self.store.principal(token.hash().as_bytes()).await?;
        let store::Principal { name, role, scope } = found.ok_or(Error::Unauthenticated)?;
        let role = match role {
            store::Role::Admin => Role::Admin,
            store::Role::Editor => Role::Editor,
            store::Role::Viewer => Role::Viewer,
            store::Role::Agent(cluster) => Role::Agent { cluster },
        };
        Ok(Principal { name, role, scope })
    }

    /// Makes a token for a person or a portal. For whoever has the database: it asks for no permission.
    pub async fn create_token(
        &self,
        name: &str,
        role: ApiRole,
        scope: Option<Scope>,
    ) -> Result<Token, Error> {
        let token = Token::generate();
        self.register_token(name, role, scope, &token).await?;
        Ok(token)
    }

    /// Takes a token that was made elsewhere. The same token again changes nothing.
    pub async fn register_token(
        &self,
        name: &str,
        role: ApiRole,
        scope: Option<Scope>,
        token: &Token,
    ) -> Result<(), Error> {
        text::line("name", name)?;
        if role == ApiRole::Admin && scope.is_some() {
            let message = "an admin's token is for everything: leave the scope out, or make an editor's";
            return Err(Error::at("scope", message));
        }
        let hash = token.hash();
        Ok(self
            .store
            .add_token(
                "command line",
                hash.as_bytes(),
                name,
                role.into(),
                scope.as_ref(),
                None,
            )
            .await?)
    }

    /// The first admin's token of an installation that has no admin; `None`: it has one.
    pub async fn bootstrap(&self) -> Result<Option<Token>, Error> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let token = Token::generate();
        let hash = token.hash();
        let added = self
            .store
            .add_first_admin("first start", hash.as_bytes(), "bootstrap")
            .await?;
        Ok(added.then_some(token))
    }
}

/// The roles of people and portals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiRole {
    Admin,
    Editor,
    Viewer,
}

impl From<ApiRole> for store::Role {
    fn from(role: ApiRole) -> Self {
        match role {
            ApiRole::Admin => Self::Admin,
            ApiRole::Editor => Self::Editor,
            ApiRole::Viewer => Self::Viewer,
        }
    }
}

/// The name of an agent's token.
pub(crate) fn agent_token_name(cluster: &Name) -> String {
    format!("agent of {cluster}")
}
