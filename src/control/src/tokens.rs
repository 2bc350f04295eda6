//! The tokens of people, portals and agents. A token is ended in the database, so no process needs to be restarted.
//!
//! A token never gives more than the one that made it: no higher role, no further places, no other team, no longer life;
//! and it ends with it. What an admin's token made stays when that ends, so that an admin may leave.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{Name, scope::Scope};
use store::{AddedToken, NewToken, StoredToken};
use uuid::Uuid;

use crate::{ApiRole, Control, Error, Listing, Page, Principal, Role, Token, text};

/// The longest life and the longest overlap that can be asked for.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);
/// Far above what anybody looks after.
const MAX_PLACES: usize = 1000;

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// Who owns it; the audit log says this name, after that of the editor's token that made it.
    pub name: String,
    pub role: ApiRole,
    /// `None`: all that its team has, and without a team all that its maker has.
    pub scope: Option<Scope>,
    pub team: Option<Name>,
    /// `None`: it ends with its maker, or never.
    pub lifetime: Option<Duration>,
}

impl TokenSpec {
    /// One for everything, without end.
    pub fn admin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: ApiRole::Admin,
            scope: None,
            team: None,
            lifetime: None,
        }
    }
}

/// A token in the clear, this once.
#[derive(Clone, Debug)]
pub struct Issued {
    pub id: Uuid,
    pub token: Token,
    pub expires_at: Option<Timestamp>,
}

impl Issued {
    pub(crate) fn new(token: Token, added: AddedToken) -> Self {
        let AddedToken { id, expires_at } = added;
        Self {
            id,
            token,
            expires_at,
        }
    }
}

impl Control {
    /// All tokens; for an editor its own and those that it made.
    pub async fn list_tokens(
        &self,
        principal: &Principal,
        page: &Page,
    ) -> Result<Listing<StoredToken>, Error> {
        let of = principal.issue("list tokens")?;
        let after = page.after::<Uuid>()?;
        let tokens = self.store.tokens(of, after, page.rows()).await?;
        Ok(page.cut(tokens, |token| token.id.to_string()))
    }

    /// A new token, shown this once. The tokens that were made before under the name stay valid.
    pub async fn issue_token(&self, principal: &Principal, spec: TokenSpec) -> Result<Issued, Error> {
        let issuer = principal.issue("issue tokens")?;
        // Before anything is looked up: whether somebody else's team is there is not told.
        let spec = within(principal, spec)?;
        let TokenSpec {
            name,
            role,
            scope,
            team,
            lifetime,
        } = self.token_spec(spec).await?;
        let token = Token::generate();
        let hash = token.hash();
        let new = NewToken {
            hash: hash.as_bytes(),
            name: &name,
            role: role.into(),
            scope: scope.as_ref(),
            team: team.as_ref(),
            issuer,
            lifetime,
        };
        let added = self.store.add_token(&principal.name, new).await?;
        Ok(Issued::new(token, added.ok_or_else(known_already)?))
    }

    /// A successor of a token, which itself ends after `overlap`: the same name, role, scope and team, for as long again, but
    /// for no longer than an editor that asks.
    pub async fn rotate_token(
        &self,
        principal: &Principal,
        id: Uuid,
        overlap: Duration,
    ) -> Result<Issued, Error> {
        let of = principal.issue("rotate tokens")?;
        no_longer("overlap", overlap)?;
        let token = Token::generate();
        let hash = token.hash();
        let added = self
            .store
            .rotate_token(&principal.name, id, of, hash.as_bytes(), overlap)
            .await?;
        Ok(Issued::new(token, added))
    }

    /// Ends a token and those that it made, now or after `overlap`.
    pub async fn end_token(
        &self,
        principal: &Principal,
        id: Uuid,
        overlap: Duration,
        dry_run: bool,
    ) -> Result<(), Error> {
        let of = principal.issue("end tokens")?;
        no_longer("overlap", overlap)?;
        let actor = &principal.name;
        Ok(self.store.expire_token(actor, id, of, overlap, dry_run).await?)
    }

    /// A token that can be, whoever makes it.
    pub(crate) async fn token_spec(&self, mut spec: TokenSpec) -> Result<TokenSpec, Error> {
        text::line("name", &spec.name)?;
        if let Some(lifetime) = spec.lifetime {
            no_longer("expiresIn", lifetime)?;
            if lifetime.is_zero() {
                return Err(Error::at(
                    "expiresIn",
                    "a token lives for a second at least, or without end",
                ));
            }
        }
        if spec.role == ApiRole::Admin {
            let everything = "an admin's token is for everything: leave it out, or make an editor's";
            if spec.scope.is_some() {
                return Err(Error::at("scope", everything));
            }
            if spec.team.is_some() {
                return Err(Error::at("team", everything));
            }
        }
        spec.scope = spec.scope.map(|scope| places("scope", scope)).transpose()?;
        if let Some(name) = &spec.team {
            let team = self.named_team("team", name).await?;
            let foreign = |scope: &Scope| {
                scope
                    .0
                    .iter()
                    .find(|place| !team.spec.scope.holds(place))
                    .cloned()
            };
            if let Some(place) = spec.scope.as_ref().and_then(foreign) {
                let message = format!("`{place}` is none of the places of team `{name}`");
                return Err(Error::at("scope", message));
            }
        }
        Ok(spec)
    }
}

/// What the caller may give of what it asks for.
fn within(principal: &Principal, mut spec: TokenSpec) -> Result<TokenSpec, Error> {
    if spec.role == ApiRole::Admin && principal.role != Role::Admin {
        return Err(principal.forbidden("issue tokens of the role admin", "admin"));
    }
    if principal.role != Role::Admin {
        // The audit log says it: nobody acts in another's name.
        spec.name = format!("{}/{}", principal.name, spec.name);
    }
    let Some(own) = &principal.scope else {
        return Ok(spec);
    };
    match &spec.scope {
        // As it is now: what its maker gets later is not passed on.
        None => spec.scope = Some(own.clone()),
        Some(wanted) => {
            principal.require(wanted.0.iter().all(|place| own.holds(place)), "issue tokens")?;
        }
    }
    match &spec.team {
        None => spec.team.clone_from(&principal.team),
        wanted => principal.require(*wanted == principal.team, "issue tokens of another team")?,
    }
    Ok(spec)
}

/// Places in order, each once.
pub(crate) fn places(field: &'static str, scope: Scope) -> Result<Scope, Error> {
    let places: BTreeSet<_> = scope.0.into_iter().collect();
    if places.is_empty() {
        let message = "name at least one place: `CLUSTER` or `CLUSTER/NAMESPACE`";
        return Err(Error::at(field, message));
    }
    if places.len() > MAX_PLACES {
        return Err(Error::at(field, format!("at most {MAX_PLACES} places")));
    }
    Ok(Scope(places.into_iter().collect()))
}

fn no_longer(field: &'static str, time: Duration) -> Result<(), Error> {
    if time > LONGEST {
        return Err(Error::at(field, "say at most ten years"));
    }
    Ok(())
}

/// 32 random bytes that were there already: the operating system's random numbers are broken.
pub(crate) fn known_already() -> Error {
    Error::Internal("a new token is an old one".into())
}
