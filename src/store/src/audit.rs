//! Who changed what: a row in the transaction of every write that a person or portal asked for.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{ClusterId, scope::Scope};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{Op, Result, Store, row};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    pub id: i64,
    pub at: Timestamp,
    /// The name of the caller's token.
    pub actor: String,
    /// `cluster.put`, `hold.release`, …
    pub action: String,
    pub object: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Store {
    /// Newest first; `before` = the id of the last entry of the page before. Only what was done in `scope`, of `actor`
    /// and on `object`, if given.
    pub async fn audit(
        &self,
        scope: Option<&Scope>,
        actor: Option<&str>,
        object: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let (clusters, namespaces) = row::places(scope).unzip();
        let query = sqlx::query!(
            r#"
            select id, at as "at: SqlTimestamp", actor, action, object, before, after from audit
            where ($1::bigint is null or id < $1) and ($3::text is null or actor = $3)
                and ($4::text is null or object = $4)
                and ($5::text[] is null or exists (
                    select from unnest($5::text[], $6::text[]) as place (cluster, namespace)
                    join clusters on clusters.name = place.cluster
                    -- Not of another cluster that once had the name.
                    where place.cluster = audit.cluster and clusters.created_at <= audit.at
                        and (place.namespace is null or place.namespace = audit.namespace)
                ))
            order by id desc limit $2
            "#,
            before,
            row::limit(limit),
            actor,
            object,
            clusters.as_deref(),
            namespaces.as_deref() as Option<&[Option<String>]>,
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        Ok(rows
            .into_iter()
            .map(|row| AuditEntry {
                id: row.id,
                at: row.at.to_jiff(),
                actor: row.actor,
                action: row.action,
                object: row.object,
                before: row.before,
                after: row.after,
            })
            .collect())
    }
}

pub(crate) async fn append(
    connection: &mut PgConnection,
    actor: &str,
    action: &str,
    object: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    sqlx::query!(
        "insert into audit (actor, action, object, before, after) values ($1, $2, $3, $4, $5)",
        actor,
        action,
        object,
        before,
        after,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// As [`append`], of something in a cluster, and there in a namespace, if it is of one.
pub(crate) async fn append_in(
    connection: &mut PgConnection,
    (cluster, namespace): (ClusterId, Option<&str>),
    actor: &str,
    action: &str,
    object: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    sqlx::query!(
        r#"
        insert into audit (actor, action, object, before, after, cluster, namespace)
        values ($1, $2, $3, $4, $5, (select name from clusters where id = $6), $7)
        "#,
        actor,
        action,
        object,
        before,
        after,
        cluster.0,
        namespace,
    )
    .execute(connection)
    .await?;
    Ok(())
}
