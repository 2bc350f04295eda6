//! Declared target groups: somebody else's, which ours may be put into.

use model::{
    Name, Shard, TargetGroupArn,
    target_group::{TargetGroup, TargetGroupSpec},
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    Error, Op, Put, Result, Store, audit,
    database::transaction,
    lease, managed,
    row::{Row, to_json},
    version, wake,
};

struct TargetGroupRow {
    name: String,
    spec: Value,
    version: i64,
}

impl TryFrom<TargetGroupRow> for TargetGroup {
    type Error = Error;

    fn try_from(row: TargetGroupRow) -> Result<Self> {
        let at = Row::new("target_groups", &row.name);
        Ok(Self {
            name: at.text("name", &row.name)?,
            spec: at.json("spec", row.spec)?,
            version: row.version,
        })
    }
}

impl Store {
    /// Declares a target group or changes who may use it. Its ARN stays, and no other declaration may have it.
    pub async fn put_target_group(
        &self,
        actor: &str,
        name: &Name,
        spec: &TargetGroupSpec,
        expected: Option<i64>,
    ) -> Result<Put<TargetGroup>> {
        transaction!(self, Op::Declare, |tx| {
            refuse_managed(tx, name).await?;
            let stored = for_update(tx, name).await?;
            version::check(expected, stored.as_ref().map(|group| group.version))?;
            match stored {
                None => {
                    refuse_second_name(tx, &spec.arn).await?;
                    lease::ensure_shard(tx, spec.arn.shard()).await?;
                    let group = insert(tx, name, spec).await?;
                    audit::append(tx, actor, "targetGroup.put", name.as_str(), None, Some(to_json(spec))).await?;
                    wake::group(tx, &spec.arn).await?;
                    Ok(Put::Created(group))
                }
                Some(group) if group.spec == *spec => Ok(Put::Unchanged(group)),
                Some(group) if group.spec.arn != spec.arn => Err(Error::Constraint(format!(
                    "target group `{name}` is {} and cannot become another: declare the other one by another name",
                    group.spec.arn
                ))),
                Some(mut group) => {
                    let before = to_json(&group.spec);
                    sqlx::query!(
                        "update target_groups set spec = $2, version = version + 1 where name = $1",
                        name.as_str(),
                        to_json(spec),
                    )
                    .execute(&mut *tx)
                    .await?;
                    group.version += 1;
                    group.spec = spec.clone();
                    audit::append(tx, actor, "targetGroup.put", name.as_str(), Some(before), Some(to_json(spec)))
                        .await?;
                    wake::group(tx, &spec.arn).await?;
                    Ok(Put::Updated(group))
                }
            }
        })
        .await
    }

    pub async fn target_group_by_arn(&self, arn: &TargetGroupArn) -> Result<Option<TargetGroup>> {
        let query = sqlx::query_as!(
            TargetGroupRow,
            "select name, spec, version from target_groups where arn = $1",
            arn.to_string(),
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// The declared groups of a shard by their name in AWS. A group that was deleted in AWS and made again has the same
    /// name and another ARN, so there may be several.
    pub async fn target_groups_by_aws_name(&self, shard: &Shard, aws_name: &str) -> Result<Vec<TargetGroup>> {
        let query = sqlx::query_as!(
            TargetGroupRow,
            "select name, spec, version from target_groups where shard = $1 and aws_name = $2 order by name",
            shard.to_string(),
            aws_name,
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    /// Forgets a group that nothing uses and in which nothing is ours.
    pub async fn delete_target_group(&self, actor: &str, name: &Name, expected: Option<i64>) -> Result<()> {
        transaction!(self, Op::Declare, |tx| {
            refuse_managed(tx, name).await?;
            let Some(group) = for_update(tx, name).await? else {
                return Err(Error::not_found("target group", name));
            };
            version::check(expected, Some(group.version))?;
            refuse_used(tx, name, &group.spec.arn).await?;
            forget(tx, &group).await?;
            audit::append(
                tx,
                actor,
                "targetGroup.delete",
                name.as_str(),
                Some(to_json(&group.spec)),
                None,
            )
            .await
        })
        .await
    }
}

pub(crate) async fn for_update(connection: &mut PgConnection, name: &Name) -> Result<Option<TargetGroup>> {
    sqlx::query_as!(
        TargetGroupRow,
        "select name, spec, version from target_groups where name = $1 for update",
        name.as_str(),
    )
    .fetch_optional(connection)
    .await?
    .map(TryInto::try_into)
    .transpose()
}

/// A managed group has its own ways; it became one since the caller looked.
async fn refuse_managed(connection: &mut PgConnection, name: &Name) -> Result<()> {
    match managed::for_update(connection, name).await? {
        None => Ok(()),
        Some(_) => Err(Error::Constraint(format!(
            "target group `{name}` is managed by Elbow since: read it again and decide anew"
        ))),
    }
}

/// Refuses to end a group that something uses or in which something is ours.
pub(crate) async fn refuse_used(
    connection: &mut PgConnection,
    name: &Name,
    arn: &TargetGroupArn,
) -> Result<()> {
    let left = sqlx::query!(
        r#"
        select (select count(*) from bindings where target_group_arn = $1) as "bindings!",
            (select count(*) from ledger_targets where target_group_arn = $1) as "targets!"
        "#,
        arn.to_string(),
    )
    .fetch_one(connection)
    .await?;
    if left.bindings + left.targets == 0 {
        return Ok(());
    }
    Err(Error::Constraint(format!(
        "target group `{name}` is still used by {} bindings and has {} targets of ours: delete the bindings and wait until \
         their targets are gone",
        left.bindings, left.targets
    )))
}

/// Takes a declaration away.
pub(crate) async fn forget(connection: &mut PgConnection, group: &TargetGroup) -> Result<()> {
    let arn = &group.spec.arn;
    sqlx::query!("delete from target_groups where name = $1", group.name.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "delete from observations where target_group_arn = $1",
        arn.to_string()
    )
    .execute(&mut *connection)
    .await?;
    wake::group(connection, arn).await
}

async fn refuse_second_name(connection: &mut PgConnection, arn: &TargetGroupArn) -> Result<()> {
    let name = sqlx::query_scalar!("select name from target_groups where arn = $1", arn.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    match name {
        None => managed::refuse_ours(connection, arn).await,
        Some(name) => Err(Error::Constraint(format!(
            "{arn} is declared as target group `{name}` already: use that name"
        ))),
    }
}

async fn insert(connection: &mut PgConnection, name: &Name, spec: &TargetGroupSpec) -> Result<TargetGroup> {
    let version = sqlx::query_scalar!(
        r#"
        insert into target_groups (name, arn, shard, aws_name, spec) values ($1, $2, $3, $4, $5) returning version
        "#,
        name.as_str(),
        spec.arn.to_string(),
        spec.arn.shard().to_string(),
        spec.arn.name(),
        to_json(spec),
    )
    .fetch_one(connection)
    .await?;
    Ok(TargetGroup {
        name: name.clone(),
        spec: spec.clone(),
        version,
    })
}
