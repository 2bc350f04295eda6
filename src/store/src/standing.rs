//! Who acts on the objects of a cluster, as `model::ownership` says, and an operator's word that it is Elbow.

use model::{
    BindingId, ClusterId,
    ownership::{Marks, Serve, Standing},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    Error, Op, Result, Store, audit, cluster,
    database::transaction,
    ingest,
    row::{Row, to_json, to_word},
    wake,
};

impl Store {
    /// Takes a binding over: from now on nobody else writes to its targets, says `actor`. LBC's marks on the object, if
    /// there are any, are removed by the cluster's agent, and until then nothing is written.
    pub async fn adopt(&self, actor: &str, id: BindingId, of_version: i64) -> Result<Standing> {
        transaction!(self, Op::Adopt, |tx| {
            let Some(row) = sqlx::query!(
                "select cluster_id, namespace, name, target_group_arn from bindings where id = $1",
                id.0,
            )
            .fetch_optional(&mut *tx)
            .await?
            else {
                return Err(Error::not_found("binding", id));
            };
            let cluster = ClusterId(row.cluster_id);
            // Its statements wait, so that none of them is judged by what it was before.
            cluster::lock(tx, cluster).await?;
            let stored = sqlx::query!(
                "select version, standing, marks from bindings where id = $1 and deleted_at is null",
                id.0,
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("binding", id))?;
            crate::version::check(Some(of_version), Some(stored.version))?;
            let marks = stored
                .marks
                .map(|marks| Row::new("bindings", &id).json::<Marks>("marks", marks))
                .transpose()?;
            let standing = Standing::adopted(marks.as_ref());
            sqlx::query!(
                "update bindings set standing = $2, adopted_at = now(), version = version + 1 where id = $1",
                id.0,
                to_word(&standing),
            )
            .execute(&mut *tx)
            .await?;
            let object = format!("{}/{}", row.namespace, row.name);
            let (before, after) = (
                json!({ "standing": stored.standing }),
                json!({ "standing": standing }),
            );
            let place = (cluster, Some(row.namespace.as_str()));
            audit::append_in(
                tx,
                place,
                actor,
                "binding.adopt",
                &object,
                Some(before),
                Some(after),
            )
            .await?;
            wake::groups(tx, row.target_group_arn).await?;
            wake::cluster(tx, cluster).await?;
            Ok(standing)
        })
        .await
    }
}

/// Which objects of the cluster are served.
pub(crate) async fn serve(connection: &mut PgConnection, cluster: ClusterId) -> Result<Serve> {
    let serve = sqlx::query_scalar!("select serve from clusters where id = $1", cluster.0)
        .fetch_one(connection)
        .await?;
    Row::new("clusters", &cluster).text("serve", &serve)
}

/// Judges the cluster's objects anew because what it serves changed. None of them is deleted by that.
pub(crate) async fn reconsider(
    connection: &mut PgConnection,
    cluster: ClusterId,
    serve: Serve,
) -> Result<()> {
    let rows = sqlx::query!(
        r#"
        select id, marks, standing, adopted_at is not null as "adopted!" from bindings
        where cluster_id = $1 and origin = 'object' and deleted_at is null
        "#,
        cluster.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut changed = Vec::new();
    for row in rows {
        let at = Row::new("bindings", &row.id);
        let marks = row
            .marks
            .map(|marks| at.json::<Marks>("marks", marks))
            .transpose()?;
        let before: Standing = at.word("standing", &row.standing)?;
        let after = Standing::of(marks.as_ref(), serve, Some(before), row.adopted);
        if after != before {
            changed.push(json!({ "id": row.id, "standing": to_json(&after) }));
        }
    }
    sqlx::query!(
        r#"
        update bindings b set standing = new.standing, version = version + 1
        from jsonb_to_recordset($1) as new (id uuid, standing text)
        where b.id = new.id
        "#,
        Value::from(changed),
    )
    .execute(&mut *connection)
    .await?;
    ingest::sync_services(connection, cluster).await
}
