//! What bindings need open in which security group: computed by the writer of the shard that has the group, in the pass of
//! the target group, and made into rules in that of the security group, which answers with what became of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, SecurityGroupId, Shard, TargetGroupArn,
    condition::Problem,
    network::{Opening, Openings, Permission, Standing},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    row::{Row, to_json},
    wake,
};

/// A row of `openings`, as a group's snapshot has it.
#[derive(Deserialize)]
pub(crate) struct OpeningRow {
    permissions: BTreeSet<Permission>,
    changed_at: Timestamp,
    standing: Option<Standing>,
}

impl From<OpeningRow> for Opening {
    fn from(row: OpeningRow) -> Self {
        let OpeningRow {
            permissions,
            changed_at,
            standing,
        } = row;
        Self {
            permissions,
            changed_at,
            standing,
        }
    }
}

impl Store {
    /// Stores what a binding of the group needs open in the security groups of the writer's shard, or why that could not be
    /// computed, and wakes the writers for whom it is news. `None`: it stays as it was.
    pub async fn write_openings(
        &self,
        fence: &Fence,
        arn: &TargetGroupArn,
        binding: BindingId,
        openings: Option<&Openings>,
        problem: Option<&Problem>,
    ) -> Result<bool> {
        transaction!(self, Op::WriteOpenings, |tx| {
            lease::check(tx, fence).await?;
            let told = sqlx::query!(
                "update bindings set unopened = $2 where id = $1 and unopened is distinct from $2",
                binding.0,
                problem.map(to_json),
            )
            .execute(&mut *tx)
            .await?
            .rows_affected()
                > 0;
            let opened = match openings {
                Some(openings) => replace(tx, fence, binding, openings).await?,
                None => false,
            };
            // Who writes the group looks at them next in this very pass, or elsewhere.
            if (told || opened) && *arn.shard() != fence.shard {
                wake::group(tx, arn).await?;
            }
            Ok(told || opened)
        })
        .await
    }

    /// The target groups of other shards for which something is or was to be open in security groups of this one.
    pub async fn groups_afar(&self, shard: &Shard) -> Result<Vec<TargetGroupArn>> {
        let query = sqlx::query_scalar!(
            r#"
            select distinct b.target_group_arn as "arn!" from bindings b join clusters c on c.id = b.cluster_id
            where c.shard = $1 and b.shard <> $1 and b.target_group_arn is not null
                and (b.spec -> 'networking' is not null or b.unopened is not null
                    or exists (select from openings o where o.binding_id = b.id))
            order by 1
            "#,
            shard.to_string(),
        );
        let arns = self.read(Op::Groups, query.fetch_all(&self.pool)).await?;
        arns.iter()
            .map(|arn| Row::new("bindings", arn).text("target_group_arn", arn))
            .collect()
    }

    /// Stores what became of openings, and wakes the target groups that wait for it. Answers how many changed.
    pub async fn report_openings(
        &self,
        fence: &Fence,
        group: &SecurityGroupId,
        standings: &BTreeMap<BindingId, Standing>,
    ) -> Result<usize> {
        if standings.is_empty() {
            return Ok(0);
        }
        let rows: Value = standings
            .iter()
            .map(|(binding, standing)| json!({ "binding_id": binding, "standing": to_json(standing) }))
            .collect();
        transaction!(self, Op::ReportOpenings, |tx| {
            lease::check(tx, fence).await?;
            let arns = sqlx::query_scalar!(
                r#"
                update openings o set standing = new.standing
                from jsonb_to_recordset($3) as new (binding_id uuid, standing jsonb), bindings b
                where o.shard = $1 and o.security_group_id = $2 and o.binding_id = new.binding_id
                    and b.id = o.binding_id and o.standing is distinct from new.standing
                returning b.target_group_arn
                "#,
                fence.shard.to_string(),
                group.as_str(),
                rows.clone(),
            )
            .fetch_all(&mut *tx)
            .await?;
            let changed = arns.len();
            wake::groups(tx, arns.into_iter().flatten()).await?;
            Ok(changed)
        })
        .await
    }
}

async fn replace(
    connection: &mut PgConnection,
    fence: &Fence,
    binding: BindingId,
    openings: &Openings,
) -> Result<bool> {
    let rows: Value = openings
        .iter()
        .map(|(group, permissions)| json!({ "security_group_id": group, "permissions": permissions }))
        .collect();
    let changed = sqlx::query!(
        r#"
        with new as (
            select * from jsonb_to_recordset($3) as new (security_group_id text, permissions jsonb)
        ), gone as (
            delete from openings
            where binding_id = $1 and security_group_id not in (select security_group_id from new)
            returning shard, security_group_id
        ), written as (
            insert into openings as old (binding_id, security_group_id, shard, permissions)
            select b.id, new.security_group_id, $2, new.permissions from new join bindings b on b.id = $1
            on conflict (binding_id, security_group_id) do update
            -- What was refused is asked for anew.
            set permissions = excluded.permissions, changed_at = now(), standing = old.standing - 'problem'
            where old.permissions is distinct from excluded.permissions
            returning shard, security_group_id
        )
        select shard as "shard!", security_group_id as "security_group_id!" from gone
        union select shard, security_group_id from written
        order by 1, 2
        "#,
        binding.0,
        fence.shard.to_string(),
        rows,
    )
    .fetch_all(&mut *connection)
    .await?;
    let groups = changed.iter().map(|row| (&*row.shard, &*row.security_group_id));
    wake::security_groups(connection, groups).await?;
    Ok(!changed.is_empty())
}
