//! Teams: people and portals whose tokens reach the same places.

use model::{
    Name,
    team::{Team, TeamSpec},
};
use store::Put;

use crate::{Control, Error, Listing, Page, Principal, Write, Written, tokens::places};

impl Control {
    /// A caller with a scope is told its own team alone.
    pub async fn list_teams(&self, principal: &Principal, page: &Page) -> Result<Listing<Team>, Error> {
        principal.read("list teams")?;
        let after = page.after::<Name>()?;
        let only = match (&principal.scope, &principal.team) {
            (None, _) => None,
            (Some(_), Some(own)) => Some(own),
            (Some(_), None) => return Ok(page.cut(Vec::new(), |team: &Team| team.name.to_string())),
        };
        let teams = self.store.teams(only, after.as_ref(), page.rows()).await?;
        Ok(page.cut(teams, |team| team.name.to_string()))
    }

    pub async fn get_team(&self, principal: &Principal, name: &Name) -> Result<Team, Error> {
        principal.read("read teams")?;
        if principal.scope.is_some() && principal.team.as_ref() != Some(name) {
            return Err(Error::not_found("team", name));
        }
        self.team(name).await
    }

    /// Makes a team or changes what it has: for all of its tokens, at once.
    pub async fn put_team(
        &self,
        principal: &Principal,
        name: Name,
        mut spec: TeamSpec,
        write: Write,
    ) -> Result<Written<Team>, Error> {
        let actor = principal.write("make teams")?;
        spec.scope = places("spec.scope", spec.scope)?;
        let stored = self.store.team(&name).await?;
        write.expected.check(stored.as_ref().map(|team| team.version))?;
        if write.dry_run {
            let version = match &stored {
                None => 1,
                Some(team) => team.version + i64::from(team.spec != spec),
            };
            return Ok(Written {
                created: stored.is_none(),
                value: Team { name, spec, version },
            });
        }
        let put = self
            .store
            .put_team(actor, &name, &spec, write.expected.version())
            .await?;
        Ok(Written {
            created: matches!(put, Put::Created(_)),
            value: put.into_inner(),
        })
    }

    /// Forgets a team that has no tokens. The answer is what it was.
    pub async fn delete_team(&self, principal: &Principal, name: &Name, write: Write) -> Result<Team, Error> {
        let actor = principal.write("delete teams")?;
        let team = self.team(name).await?;
        write.expected.check(Some(team.version))?;
        if !write.dry_run {
            self.store
                .delete_team(actor, name, write.expected.version())
                .await?;
        }
        Ok(team)
    }

    async fn team(&self, name: &Name) -> Result<Team, Error> {
        self.store
            .team(name)
            .await?
            .ok_or_else(|| Error::not_found("team", name))
    }

    /// A team that somebody names in a field.
    pub(crate) async fn named_team(&self, field: &'static str, name: &Name) -> Result<Team, Error> {
        self.store.team(name).await?.ok_or_else(|| {
            let message = format!("team `{name}` does not exist: make it first, or correct the name");
            Error::at(field, message)
        })
    }
}
