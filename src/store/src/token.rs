//! Bearer tokens, known by their hash alone.

use model::{ClusterId, scope::Scope};

use crate::{
    Op, Result, Store, audit,
    database::transaction,
    row::{Row, to_json},
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

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub role: Role,
    /// `None`: everything.
    pub scope: Option<Scope>,
}

impl Store {
    /// Stores the SHA-256 of a token.
    pub async fn add_token(
        &self,
        actor: &str,
        hash: &[u8; 32],
        name: &str,
        role: Role,
        scope: Option<&Scope>,
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
                insert into tokens (hash, name, role, cluster_id, scope) values ($1, $2, $3, $4, $5)
                on conflict (hash) do nothing
                "#,
                hash.as_slice(),
                name,
                word,
                cluster,
                scope.map(to_json),
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
            "select name, role, cluster_id, scope from tokens where hash = $1",
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

    /// Whether anybody can administer this installation yet.
    pub async fn has_admin(&self) -> Result<bool> {
        let query =
            sqlx::query_scalar!(r#"select exists (select from tokens where role = 'admin') as "exists!""#);
        self.read(Op::Token, query.fetch_one(&self.pool)).await
    }
}
