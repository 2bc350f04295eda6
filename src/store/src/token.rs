//! Bearer tokens, known by their hash alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{ClusterId, Name, scope::Scope};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store, audit,
    database::transaction,
    row::{self, Row, to_json},
    team,
};

/// What a token entitles to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Editor,
    Viewer,
    /// The stream of this cluster.
    Agent(ClusterId),
}

/// A token as it is listed: without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    pub id: Uuid,
    pub name: String,
    /// `admin`, `editor`, `viewer` or `agent`.
    pub role: String,
    /// Of an agent's.
    pub cluster: Option<Name>,
    /// `None`: everything. Of a team's: what the team has now of what the token is for.
    pub scope: Option<Scope>,
    pub team: Option<Name>,
    /// The token that made it and that it ends with.
    pub issuer: Option<Uuid>,
    pub created_at: Timestamp,
    /// `None`: it does not end by itself.
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Its SHA-256.
    pub hash: &'a [u8; 32],
    pub name: &'a str,
    pub role: Role,
    /// What it is for; `None`: all that its team has, and without a team everything.
    pub scope: Option<&'a Scope>,
    pub team: Option<&'a Name>,
    /// The token that it ends with.
    pub issuer: Option<Uuid>,
    /// `None`: it ends with its issuer, or never.
    pub lifetime: Option<Duration>,
}

/// What became of a token that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedToken {
    pub id: Uuid,
    pub expires_at: Option<Timestamp>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub token: Uuid,
    pub name: String,
    pub role: Role,
    /// `None`: everything. Of a team's: what the team has of what the token is for.
    pub scope: Option<Scope>,
    pub team: Option<Name>,
}

/// Far above what anybody looks after.
const MOST_MADE: i64 = 1000;

impl Store {
    /// Stores a token. `None`: it is there already, and nothing was done.
    pub async fn add_token(&self, actor: &str, token: NewToken<'_>) -> Result<Option<AddedToken>> {
        let (word, cluster) = match token.role {
            Role::Admin => ("admin", None),
            Role::Editor => ("editor", None),
            Role::Viewer => ("viewer", None),
            Role::Agent(cluster) => ("agent", Some(cluster.0)),
        };
        transaction!(self, Op::Token, |tx| {
            if let Some(issuer) = token.issuer {
                may_make(tx, issuer).await?;
            }
            let scope = match token.team {
                None => token.scope.cloned(),
                Some(name) => Some(team::of_team(token.scope, &team::places(tx, name).await?)),
            };
            let added = sqlx::query!(
                r#"
                insert into tokens (hash, name, role, cluster_id, scope, team, wish, issuer, expires_at)
                values ($1, $2, $3, $4, $5, $6, $9, $7, least(
                    now() + make_interval(secs => $8), (select expires_at from tokens where id = $7)
                ))
                on conflict (hash) do nothing returning id, expires_at as "expires_at: SqlTimestamp"
                "#,
                token.hash.as_slice(),
                token.name,
                word,
                cluster,
                scope.as_ref().map(to_json),
                token.team.map(Name::as_str),
                token.issuer,
                token.lifetime.map(|lifetime| lifetime.as_secs_f64()),
                token.team.and(token.scope).map(to_json),
            )
            .fetch_optional(&mut *tx)
            .await?;
            let Some(added) = added else { return Ok(None) };
            let after = serde_json::json!({
                "id": added.id, "role": word, "cluster": cluster, "scope": token.scope, "team": token.team,
            });
            audit::append(tx, actor, "token.add", token.name, None, Some(after)).await?;
            Ok(Some(AddedToken {
                id: added.id,
                expires_at: added.expires_at.map(SqlTimestamp::to_jiff),
            }))
        })
        .await
    }

    /// Whose token has this SHA-256.
    pub async fn principal(&self, hash: &[u8; 32]) -> Result<Option<Principal>> {
        self.find_principal(Some(hash), None).await
    }

    /// Whose token it still is.
    pub async fn principal_of(&self, token: Uuid) -> Result<Option<Principal>> {
        self.find_principal(None, Some(token)).await
    }

    async fn find_principal(
        &self,
        hash: Option<&[u8; 32]>,
        token: Option<Uuid>,
    ) -> Result<Option<Principal>> {
        let query = sqlx::query!(
            r#"
            select id, name, role, cluster_id, scope, team,
                (last_used_at is null or last_used_at < now() - interval '1 minute') as "unnoted!"
            from tokens where (hash = $1 or id = $2) and (expires_at is null or expires_at > now())
            "#,
            hash.map(<[u8; 32]>::as_slice),
            token,
        );
        let Some(row) = self.read(Op::Token, query.fetch_optional(&self.pool)).await? else {
            return Ok(None);
        };
        let at = Row::new("tokens", &row.id);
        let role = match (row.role.as_str(), row.cluster_id) {
            ("admin", None) => Role::Admin,
            ("editor", None) => Role::Editor,
            ("viewer", None) => Role::Viewer,
            ("agent", Some(cluster)) => Role::Agent(ClusterId(cluster)),
            (other, _) => return Err(at.inconsistent("role", &other)),
        };
        if row.unnoted {
            // Of callers that come at once, one writes.
            let note = sqlx::query!(
                "update tokens set last_used_at = now()
                where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')",
                row.id
            );
            if let Err(error) = self.read(Op::Token, note.execute(&self.pool)).await {
                tracing::debug!(%error, token = %row.id, "that the token was used could not be noted");
            }
        }
        Ok(Some(Principal {
            token: row.id,
            team: row.team.map(|team| at.text("team", &team)).transpose()?,
            scope: row.scope.map(|scope| at.json("scope", scope)).transpose()?,
            name: row.name,
            role,
        }))
    }

    /// Adds the first admin's token; `false`: there is an admin already, and nothing was done.
    pub async fn add_first_admin(&self, actor: &str, hash: &[u8; 32], name: &str) -> Result<bool> {
        transaction!(self, Op::Token, |tx| {
            // Of several processes that start at once, one makes it.
            sqlx::query!("lock table tokens in share row exclusive mode")
                .execute(&mut *tx)
                .await?;
            let added = sqlx::query!(
                r#"
                insert into tokens (hash, name, role)
                select $1, $2, 'admin' where not exists (select from tokens where role = 'admin')
                "#,
                hash.as_slice(),
                name,
            )
            .execute(&mut *tx)
            .await?;
            if added.rows_affected() == 0 {
                return Ok(false);
            }
            let after = serde_json::json!({ "role": "admin" });
            audit::append(tx, actor, "token.add", name, None, Some(after)).await?;
            Ok(true)
        })
        .await
    }

    /// Tokens by name; `of` = that one and those that it made alone; `after` = the id of the last of the page before.
    pub async fn tokens(
        &self,
        of: Option<Uuid>,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<StoredToken>> {
        let query = sqlx::query!(
            r#"
            select t.id, t.name, role, c.name as "cluster?", scope, team, issuer,
                t.created_at as "created_at: SqlTimestamp", expires_at as "expires_at: SqlTimestamp",
                last_used_at as "last_used_at: SqlTimestamp"
            from tokens t left join clusters c on c.id = t.cluster_id
            where ($1::uuid is null or (t.name, t.id) > (select last.name, last.id from tokens last where last.id = $1))
                and ($3::uuid is null or t.id = $3 or t.issuer = $3)
            order by t.name, t.id limit $2
            "#,
            after,
            row::limit(limit),
            of,
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("tokens", &row.id);
                Ok(StoredToken {
                    id: row.id,
                    name: row.name,
                    role: row.role,
                    cluster: row.cluster.map(|name| at.text("cluster", &name)).transpose()?,
                    scope: row.scope.map(|scope| at.json("scope", scope)).transpose()?,
                    team: row.team.map(|team| at.text("team", &team)).transpose()?,
                    issuer: row.issuer,
                    created_at: row.created_at.to_jiff(),
                    expires_at: row.expires_at.map(SqlTimestamp::to_jiff),
                    last_used_at: row.last_used_at.map(SqlTimestamp::to_jiff),
                })
            })
            .collect()
    }

    /// A successor of a person's or portal's token, which itself ends after `overlap`: the same name, role, scope and
    /// team, for as long again, and what the former made is the successor's. `of` = only that one or one that it made,
    /// and for no longer than that one lives.
    pub async fn rotate_token(
        &self,
        actor: &str,
        id: Uuid,
        of: Option<Uuid>,
        hash: &[u8; 32],
        overlap: Duration,
    ) -> Result<AddedToken> {
        transaction!(self, Op::Token, |tx| {
            lock(tx).await?;
            // Before the token, as whoever changes a team does: else the successor could have what the team had.
            sqlx::query!(
                "select from teams where name = (select team from tokens where id = $1) for share",
                id
            )
            .fetch_optional(&mut *tx)
            .await?;
            let former = sqlx::query!(
                r#"
                select name, role, successor from tokens where id = $1 and (expires_at is null or expires_at > now())
                    and ($2::uuid is null or id = $2 or issuer = $2)
                for update
                "#,
                id,
                of,
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("token", id))?;
            if former.role == "agent" {
                return Err(Error::Constraint(
                    "it is an agent's token: `elbow cluster rotate-token` makes its successor".to_owned(),
                ));
            }
            // It ends already, so that a second successor would have what is left of its time.
            if let Some(successor) = former.successor {
                return Err(Error::Constraint(format!(
                    "it has a successor, token {successor}: rotate that one, or make a new token"
                )));
            }
            let added = sqlx::query!(
                r#"
                insert into tokens (hash, name, role, scope, team, wish, issuer, expires_at)
                select $2, name, role, scope, team, wish, issuer, least(
                    now() + (expires_at - created_at),
                    (select expires_at from tokens where id = former.issuer),
                    (select expires_at from tokens where id = $3)
                )
                from tokens former where id = $1 returning id, expires_at as "expires_at: SqlTimestamp"
                "#,
                id,
                hash.as_slice(),
                of,
            )
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query!("update tokens set issuer = $2 where issuer = $1", id, added.id)
                .execute(&mut *tx)
                .await?;
            sqlx::query!("update tokens set successor = $2 where id = $1", id, added.id)
                .execute(&mut *tx)
                .await?;
            end(tx, id, overlap).await?;
            let after = serde_json::json!({ "id": added.id, "overlapSeconds": overlap.as_secs() });
            let before = serde_json::json!({ "id": id });
            audit::append(tx, actor, "token.rotate", &former.name, Some(before), Some(after)).await?;
            Ok(AddedToken {
                id: added.id,
                expires_at: added.expires_at.map(SqlTimestamp::to_jiff),
            })
        })
        .await
    }

    /// Ends a token and all that it made, now or after `overlap`. One that ends sooner anyway stays as it is. `of` = only
    /// that one or one that it made.
    pub async fn expire_token(
        &self,
        actor: &str,
        id: Uuid,
        of: Option<Uuid>,
        overlap: Duration,
        dry_run: bool,
    ) -> Result<()> {
        transaction!(self, Op::Token, |tx| {
            lock(tx).await?;
            let name = sqlx::query_scalar!(
                "select name from tokens where id = $1 and ($2::uuid is null or id = $2 or issuer = $2) for update",
                id,
                of,
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("token", id))?;
            if dry_run {
                return Ok(());
            }
            end(tx, id, overlap).await?;
            let after = serde_json::json!({ "id": id, "overlapSeconds": overlap.as_secs() });
            audit::append(tx, actor, "token.expire", &name, None, Some(after)).await
        })
        .await
    }

    /// Ends all tokens of a cluster's agent but the one with this hash, after `overlap`.
    pub async fn expire_other_agent_tokens(
        &self,
        actor: &str,
        cluster: ClusterId,
        kept: &[u8; 32],
        overlap: Duration,
    ) -> Result<()> {
        transaction!(self, Op::Token, |tx| {
            let ended = sqlx::query_scalar!(
                r#"
                update tokens set expires_at = least(expires_at, now() + make_interval(secs => $3))
                where cluster_id = $1 and hash <> $2 returning name
                "#,
                cluster.0,
                kept.as_slice(),
                overlap.as_secs_f64(),
            )
            .fetch_all(&mut *tx)
            .await?;
            if let Some(name) = ended.first() {
                let after = serde_json::json!({ "tokens": ended.len(), "overlapSeconds": overlap.as_secs() });
                audit::append(tx, actor, "token.expire", name, None, Some(after)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Whether anybody can administer this installation yet.
    pub async fn has_admin(&self) -> Result<bool> {
        let query =
            sqlx::query_scalar!(r#"select exists (select from tokens where role = 'admin') as "exists!""#);
        self.read(Op::Token, query.fetch_one(&self.pool)).await
    }
}

/// Whoever makes a token in another's name, or ends one, does so alone until its transaction ends: what is made in the name
/// of a token that somebody ends meanwhile would outlast it.
async fn lock(connection: &mut PgConnection) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('elbow.tokens'))")
        .execute(connection)
        .await?;
    Ok(())
}

async fn may_make(connection: &mut PgConnection, issuer: Uuid) -> Result<()> {
    lock(connection).await?;
    let made = sqlx::query_scalar!(
        r#"
        select (select count(*) from tokens where issuer = $1 and (expires_at is null or expires_at > now())) as "made!"
        from tokens where id = $1 and (expires_at is null or expires_at > now())
        "#,
        issuer,
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found("token", issuer))?;
    if made >= MOST_MADE {
        return Err(Error::Constraint(format!(
            "this token has made {made} tokens that have not ended: end some first (`elbow get tokens`)"
        )));
    }
    Ok(())
}

/// What it made ends with it (`tokens_end` of the migrations).
async fn end(connection: &mut PgConnection, id: Uuid, overlap: Duration) -> Result<()> {
    sqlx::query!(
        "update tokens set expires_at = least(expires_at, now() + make_interval(secs => $2)) where id = $1",
        id,
        overlap.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
