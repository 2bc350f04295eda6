//! Whose a token is, and the making of tokens.

use model::Name;
use store::NewToken;

use crate::{Control, Error, Principal, Role, Token, tokens::TokenSpec};

impl Control {
    /// Whose token it is.
    pub async fn authenticate(&self, token: &Token) -> Result<Principal, Error> {
        let found = self.store.principal(token.hash().as_bytes()).await?;
        principal(found)
    }

    /// The caller as it is now: its token may have ended, or its team have something else.
    pub(crate) async fn again(&self, former: &Principal) -> Result<Principal, Error> {
        principal(self.store.principal_of(former.token).await?)
    }

    /// Makes a token for a person or a portal. For whoever has the database: it asks for no permission.
    pub async fn create_token(&self, spec: TokenSpec) -> Result<Token, Error> {
        let token = Token::generate();
        self.register_token(spec, &token).await?;
        Ok(token)
    }

    /// Takes a token that was made elsewhere. The same token again changes nothing.
    pub async fn register_token(&self, spec: TokenSpec, token: &Token) -> Result<(), Error> {
        let spec = self.token_spec(spec).await?;
        let hash = token.hash();
        let new = NewToken {
            hash: hash.as_bytes(),
            name: &spec.name,
            role: spec.role.into(),
            scope: spec.scope.as_ref(),
            team: spec.team.as_ref(),
            issuer: None,
            lifetime: spec.lifetime,
        };
        self.store.add_token("command line", new).await?;
        Ok(())
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

fn principal(found: Option<store::Principal>) -> Result<Principal, Error> {
    let store::Principal {
        token,
        name,
        role,
        scope,
        team,
    } = found.ok_or(Error::Unauthenticated)?;
    let role = match role {
        store::Role::Admin => Role::Admin,
        store::Role::Editor => Role::Editor,
        store::Role::Viewer => Role::Viewer,
        store::Role::Agent(cluster) => Role::Agent { cluster },
    };
    Ok(Principal {
        token,
        name,
        role,
        scope,
        team,
    })
}

/// The name of an agent's token.
pub(crate) fn agent_token_name(cluster: &Name) -> String {
    format!("agent of {cluster}")
}
