//! Teams.

use model::{
    Name,
    scope::Scope,
    team::{Team, TeamSpec},
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    Error, Op, Put, Result, Store, audit,
    database::transaction,
    row::{self, Row, to_json},
    version,
};

struct TeamRow {
    name: String,
    spec: Value,
    version: i64,
}

impl TryFrom<TeamRow> for Team {
    type Error = Error;

    fn try_from(row: TeamRow) -> Result<Self> {
        let at = Row::new("teams", &row.name);
        Ok(Self {
            name: at.text("name", &row.name)?,
            spec: at.json("spec", row.spec)?,
            version: row.version,
        })
    }
}

impl Store {
    /// Makes a team or changes what it has: for all of its tokens, in the same transaction.
    pub async fn put_team(
        &self,
        actor: &str,
        name: &Name,
        spec: &TeamSpec,
        expected: Option<i64>,
    ) -> Result<Put<Team>> {
        transaction!(self, Op::Declare, |tx| {
            let stored = for_update(tx, name).await?;
            version::check(expected, stored.as_ref().map(|team| team.version))?;
            if let Some(team) = &stored
                && team.spec == *spec
            {
                return Ok(Put::Unchanged(team.clone()));
            }
            let version = sqlx::query_scalar!(
                r#"
                insert into teams as old (name, spec) values ($1, $2)
                on conflict (name) do update set spec = excluded.spec, version = old.version + 1
                returning version
                "#,
                name.as_str(),
                to_json(spec),
            )
            .fetch_one(&mut *tx)
            .await?;
            narrow_tokens(tx, name, &spec.scope).await?;
            let before = stored.as_ref().map(|team| to_json(&team.spec));
            audit::append(tx, actor, "team.put", name.as_str(), before, Some(to_json(spec))).await?;
            let team = Team {
                name: name.clone(),
                spec: spec.clone(),
                version,
            };
            Ok(match stored {
                None => Put::Created(team),
                Some(_) => Put::Updated(team),
            })
        })
        .await
    }

    /// Forgets a team that has nothing any more. Its ended tokens go with it.
    pub async fn delete_team(&self, actor: &str, name: &Name, expected: Option<i64>) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            let Some(team) = for_update(tx, name).await? else {
                return Err(Error::not_found("team", name));
            };
            version::check(expected, Some(team.version))?;
            let tokens = sqlx::query_scalar!(
                r#"select count(*) as "tokens!" from tokens where team = $1 and (expires_at is null or expires_at > now())"#,
                name.as_str(),
            )
            .fetch_one(&mut *tx)
            .await?;
            if tokens > 0 {
                return Err(Error::Constraint(format!(
                    "team `{name}` still has {tokens} tokens: end them first (`elbow get tokens`)"
                )));
            }
            sqlx::query!("delete from tokens where team = $1", name.as_str()).execute(&mut *tx).await?;
            sqlx::query!("delete from teams where name = $1", name.as_str()).execute(&mut *tx).await?;
            audit::append(tx, actor, "team.delete", name.as_str(), Some(to_json(&team.spec)), None).await
        })
        .await
    }

    pub async fn team(&self, name: &Name) -> Result<Option<Team>> {
        let query = sqlx::query_as!(
            TeamRow,
            "select name, spec, version from teams where name = $1",
            name.as_str()
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// By name; `only` = no other than this; `after` = the last name of the page before.
    pub async fn teams(&self, only: Option<&Name>, after: Option<&Name>, limit: u32) -> Result<Vec<Team>> {
        let query = sqlx::query_as!(
            TeamRow,
            r#"
            select name, spec, version from teams
            where ($1::text is null or name > $1) and ($3::text is null or name = $3)
            order by name limit $2
            "#,
            after.map(Name::as_str),
            row::limit(limit),
            only.map(Name::as_str),
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }
}

/// What each token of the team may reach from now on: what the team has of what the token is for.
async fn narrow_tokens(connection: &mut PgConnection, team: &Name, places: &Scope) -> Result<()> {
    let tokens = sqlx::query!(
        "select id, wish from tokens where team = $1 and (expires_at is null or expires_at > now()) order by id",
        team.as_str()
    )
    .fetch_all(&mut *connection)
    .await?;
    let (mut ids, mut scopes) = (Vec::new(), Vec::new());
    for token in tokens {
        let at = Row::new("tokens", &token.id);
        let wish: Option<Scope> = token.wish.map(|wish| at.json("wish", wish)).transpose()?;
        ids.push(token.id);
        scopes.push(to_json(&of_team(wish.as_ref(), places)));
    }
    sqlx::query!(
        "update tokens set scope = narrow.scope from unnest($1::uuid[], $2::jsonb[]) as narrow (id, scope)
        where tokens.id = narrow.id",
        &ids,
        &scopes,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a team's token may reach that is for `wish`, or for all that the team has.
pub(crate) fn of_team(wish: Option<&Scope>, places: &Scope) -> Scope {
    wish.map_or_else(|| places.clone(), |wish| wish.meet(places))
}

/// What the team has, which nobody changes until the transaction ends.
pub(crate) async fn places(connection: &mut PgConnection, name: &Name) -> Result<Scope> {
    let spec = sqlx::query_scalar!("select spec from teams where name = $1 for share", name.as_str())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| Error::not_found("team", name))?;
    let team: TeamSpec = Row::new("teams", name).json("spec", spec)?;
    Ok(team.scope)
}

async fn for_update(connection: &mut PgConnection, name: &Name) -> Result<Option<Team>> {
    sqlx::query_as!(
        TeamRow,
        "select name, spec, version from teams where name = $1 for update",
        name.as_str(),
    )
    .fetch_optional(connection)
    .await?
    .map(TryInto::try_into)
    .transpose()
}
