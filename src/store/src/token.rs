//! Bearer tokens, known by their hash alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{ClusterId, Name, scope::Scope};
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store, audit,
    database::transaction,
    row::{self, Row, to_json},
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
    /// `admin`, `viewer` or `agent`.
    pub role: String,
    /// Of an agent's.
    pub cluster: Option<Name>,
    pub created_at: Timestamp,
    /// `None`: it does not end by itself.
    pub expires_at: Option<Timestamp>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub role: Role,
    /// `None`: everything.
    pub scope: Option<Scope>,
}

impl Store {
    /// Stores the SHA-256 of a token that ends after `lifetime`, if that is given.
    pub async fn add_token(
        &self,
        actor: &str,
        hash: &[u8; 32],
        name: &str,
        role: Role,
        scope: Option<&Scope>,
        lifetime: Option<Duration>,
    ) -> Result<()> {
        let (word, cluster) = match role {
            Role::Admin => ("admin", None),
            Role::Editor => ("editor", None),
            Role::Viewer => ("viewer", None),
            Role::Agent(cluster) => ("agent", Some(cluster.0)),
        };
        transaction!(self, Op::Token, |tx| {
            sqlx::query!(
                r#"
                insert into tokens (hash, name, role, cluster_id, scope, expires_at)
                values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6)) on conflict (hash) do nothing
                "#,
                hash.as_slice(),
                name,
                word,
                cluster,
                scope.map(to_json),
                lifetime.map(|lifetime| lifetime.as_secs_f64()),
            )
            .execute(&mut *tx)
            .await?;
            let after = serde_json::json!({ "role": word, "cluster": cluster, "scope": scope });
            audit::append(tx, actor, "token.add", name, None, Some(after)).await
        })
        .await
    }

    /// Whose token has this SHA-256.
    pub async fn principal(&self, hash: &[u8; 32]) -> Result<Option<Principal>> {
        let query = sqlx::query!(
            r#"
            select name, role, cluster_id, scope from tokens
            where hash = $1 and (expires_at is null or expires_at > now())
            "#,
            hash.as_slice()
        );
        let Some(row) = self.read(Op::Token, query.fetch_optional(&self.pool)).await? else {
            return Ok(None);
        };
        let role = match (row.role.as_str(), row.cluster_id) {
            ("admin", None) => Role::Admin,
            ("editor", None) => Role::Editor,
            ("viewer", None) => Role::Viewer,
            ("agent", Some(cluster)) => Role::Agent(ClusterId(cluster)),
            (other, _) => return Err(Row::new("tokens", &row.name).inconsistent("role", &other)),
        };
        let scope = row
            .scope
            .map(|scope| Row::new("tokens", &row.name).json("scope", scope))
            .transpose()?;
        Ok(Some(Principal {
            name: row.name,
            role,
            scope,
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

    /// All tokens, by name; `after` = the id of the last of the page before.
    pub async fn tokens(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<StoredToken>> {
        let query = sqlx::query!(
            r#"
            select t.id, t.name, role, c.name as "cluster?", t.created_at as "created_at: SqlTimestamp",
                expires_at as "expires_at: SqlTimestamp"
            from tokens t left join clusters c on c.id = t.cluster_id
            where $1::uuid is null or (t.name, t.id) > (select last.name, last.id from tokens last where last.id = $1)
            order by t.name, t.id limit $2
            "#,
            after,
            row::limit(limit),
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
                    created_at: row.created_at.to_jiff(),
                    expires_at: row.expires_at.map(SqlTimestamp::to_jiff),
                })
            })
            .collect()
    }

    /// Ends a token, now or after `overlap`. One that ends sooner anyway stays as it is.
    pub async fn expire_token(&self, actor: &str, id: Uuid, overlap: Duration) -> Result<()> {
        transaction!(self, Op::Token, |tx| {
            let ended = sqlx::query_scalar!(
                r#"
                update tokens set expires_at = least(expires_at, now() + make_interval(secs => $2))
                where id = $1 returning name
                "#,
                id,
                overlap.as_secs_f64(),
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("token", id))?;
            let after = serde_json::json!({ "overlapSeconds": overlap.as_secs() });
            audit::append(tx, actor, "token.expire", &ended, None, Some(after)).await
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
