//! Bindings that were declared by API. Their deletion is always meant: the rule on many at once is for objects.

use model::{
    BindingId, ClusterId,
    binding::{Binding, BindingSpec, Lifecycle, Origin},
    condition::Problem,
    fact::ObjectName,
    ownership::Standing,
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    Error, Op, Put, Result, Store, audit, cluster,
    database::transaction,
    ingest,
    row::{Row, to_json},
    status, version, wake,
};

impl Store {
    /// Declares a binding or changes it. Its target group stays. One whose target group is not there yet has a problem in
    /// place of what it means.
    pub async fn put_binding(
        &self,
        actor: &str,
        cluster: ClusterId,
        object: &ObjectName,
        source: &Value,
        verdict: &std::result::Result<BindingSpec, Problem>,
        expected: Option<i64>,
    ) -> Result<Put<Binding>> {
        transaction!(self, Op::Declare, |tx| {
            cluster::lock(tx, cluster).await?;
            let stored = active(tx, cluster, object).await?;
            version::check(expected, stored.as_ref().map(|(binding, _)| binding.version))?;
            let spec = verdict.as_ref().ok();
            let (before, put) = match stored {
                None => (None, Put::Created(insert(tx, cluster, object, source, verdict).await?)),
                Some((binding, told)) => match &binding.spec {
                    Some(before) if Some(before) == spec && told == *source => return Ok(Put::Unchanged(binding)),
                    Some(before) if spec.is_none_or(|spec| before.target_group != spec.target_group) => {
                        return Err(Error::Constraint(format!(
                            "binding `{object}` is to {} and cannot become one to another target group: delete it and \
                             declare it anew",
                            before.target_group
                        )));
                    }
                    before => (before.as_ref().map(to_json), Put::Updated(update(tx, &binding, source, verdict).await?)),
                },
            };
            let (place, after) = ((cluster, Some(object.namespace.as_str())), spec.map_or_else(|| source.clone(), to_json));
            audit::append_in(tx, place, actor, "binding.put", &object.to_string(), before, Some(after)).await?;
            wake::groups(tx, spec.map(|spec| spec.target_group.to_string())).await?;
            status::report_unbound(tx, cluster).await?;
            ingest::sync_services(tx, cluster).await?;
            wake::cluster(tx, cluster).await?;
            Ok(put)
        })
        .await
    }

    /// Deletes a binding: its targets go at once, and its row with the last of them.
    pub async fn delete_binding(
        &self,
        actor: &str,
        cluster: ClusterId,
        object: &ObjectName,
        expected: Option<i64>,
    ) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            cluster::lock(tx, cluster).await?;
            let Some((binding, _)) = active(tx, cluster, object).await? else {
                return Err(Error::not_found("binding", object));
            };
            version::check(expected, Some(binding.version))?;
            if binding.spec.is_some() {
                sqlx::query!(
                    "update bindings set deleted_at = now(), version = version + 1 where id = $1",
                    binding.id.0,
                )
                .execute(&mut *tx)
                .await?;
            } else {
                // It never had a target.
                sqlx::query!("delete from bindings where id = $1", binding.id.0)
                    .execute(&mut *tx)
                    .await?;
            }
            let before = binding.spec.as_ref().map(to_json);
            let place = (cluster, Some(object.namespace.as_str()));
            audit::append_in(
                tx,
                place,
                actor,
                "binding.delete",
                &object.to_string(),
                before,
                None,
            )
            .await?;
            wake::groups(tx, binding.spec.map(|spec| spec.target_group.to_string())).await?;
            wake::cluster(tx, cluster).await
        })
        .await
    }
}

/// With its text.
async fn active(
    connection: &mut PgConnection,
    cluster: ClusterId,
    object: &ObjectName,
) -> Result<Option<(Binding, Value)>> {
    let row = sqlx::query!(
        r#"
        select id, generation, source, spec, version from bindings
        where cluster_id = $1 and namespace = $2 and name = $3 and origin = 'api' and deleted_at is null
        "#,
        cluster.0,
        object.namespace,
        object.name,
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let spec = row
            .spec
            .map(|spec| Row::new("bindings", &row.id).json("spec", spec))
            .transpose()?;
        let id = BindingId(row.id);
        let binding = binding(id, cluster, object, row.generation, row.version, spec);
        Ok((binding, row.source))
    })
    .transpose()
}

async fn insert(
    connection: &mut PgConnection,
    cluster: ClusterId,
    object: &ObjectName,
    source: &Value,
    verdict: &std::result::Result<BindingSpec, Problem>,
) -> Result<Binding> {
    let spec = verdict.as_ref().ok();
    let row = sqlx::query!(
        r#"
        insert into bindings
            (cluster_id, namespace, name, origin, generation, source, spec, problem, target_group_arn, service)
        values ($1, $2, $3, 'api', 1, $4, $5, $6, $7, $8)
        returning id, version
        "#,
        cluster.0,
        object.namespace,
        object.name,
        source,
        spec.map(to_json),
        verdict.as_ref().err().map(to_json),
        spec.map(|spec| spec.target_group.to_string()),
        spec.map(|spec| spec.service.as_str()),
    )
    .fetch_one(connection)
    .await?;
    Ok(binding(
        BindingId(row.id),
        cluster,
        object,
        1,
        row.version,
        spec.cloned(),
    ))
}

async fn update(
    connection: &mut PgConnection,
    before: &Binding,
    source: &Value,
    verdict: &std::result::Result<BindingSpec, Problem>,
) -> Result<Binding> {
    let spec = verdict.as_ref().ok();
    let row = sqlx::query!(
        r#"
        update bindings set generation = generation + 1, version = version + 1, source = $2, spec = $3, problem = $4,
            target_group_arn = $5, service = $6
        where id = $1
        returning generation, version
        "#,
        before.id.0,
        source,
        spec.map(to_json),
        verdict.as_ref().err().map(to_json),
        spec.map(|spec| spec.target_group.to_string()),
        spec.map(|spec| spec.service.as_str()),
    )
    .fetch_one(connection)
    .await?;
    Ok(binding(
        before.id,
        before.cluster,
        &before.object,
        row.generation,
        row.version,
        spec.cloned(),
    ))
}

fn binding(
    id: BindingId,
    cluster: ClusterId,
    object: &ObjectName,
    generation: i64,
    version: i64,
    spec: Option<BindingSpec>,
) -> Binding {
    Binding {
        id,
        cluster,
        object: object.clone(),
        origin: Origin::Api,
        generation,
        lifecycle: Lifecycle::Active,
        standing: Standing::Served,
        spec,
        problem: None,
        version,
    }
}
