//! Holds that outlive a plan: shown to operators, and released by them.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    ClusterId, HoldId, Shard, TargetGroupArn,
    plan::{Hold, HoldReason},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store, audit,
    database::transaction,
    lease,
    row::{self, Row, to_json, to_word},
    wake,
};

/// A hold with its history. A cluster's hold (mass unbinding) names bindings, a group's names its targets too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHold {
    pub id: HoldId,
    pub shard: Shard,
    pub target_group: Option<TargetGroupArn>,
    pub cluster: Option<ClusterId>,
    pub hold: Hold,
    pub since: Timestamp,
    pub released_at: Option<Timestamp>,
    pub released_by: Option<String>,
    /// When it ended, released or not.
    pub ended_at: Option<Timestamp>,
}

/// Which holds; what is not given is not asked for.
#[derive(Clone, Debug, Default)]
pub struct HoldFilter {
    pub shard: Option<Shard>,
    pub target_group: Option<TargetGroupArn>,
    pub cluster: Option<ClusterId>,
    /// Those that have ended as well.
    pub ended: bool,
}

struct HoldRow {
    id: Uuid,
    shard: String,
    target_group_arn: Option<String>,
    cluster_id: Option<Uuid>,
    body: Value,
    since: SqlTimestamp,
    released_at: Option<SqlTimestamp>,
    released_by: Option<String>,
    ended_at: Option<SqlTimestamp>,
}

impl TryFrom<HoldRow> for StoredHold {
    type Error = Error;

    fn try_from(row: HoldRow) -> Result<Self> {
        let at = Row::new("holds", &row.id);
        Ok(Self {
            id: HoldId(row.id),
            shard: at.text("shard", &row.shard)?,
            target_group: row
                .target_group_arn
                .map(|arn| at.text("target_group_arn", &arn))
                .transpose()?,
            cluster: row.cluster_id.map(ClusterId),
            hold: at.json("body", row.body)?,
            since: row.since.to_jiff(),
            released_at: row.released_at.map(SqlTimestamp::to_jiff),
            released_by: row.released_by,
            ended_at: row.ended_at.map(SqlTimestamp::to_jiff),
        })
    }
}

impl Store {
    /// By id; `after` = the last id of the page before.
    pub async fn holds(
        &self,
        filter: &HoldFilter,
        after: Option<HoldId>,
        limit: u32,
    ) -> Result<Vec<StoredHold>> {
        let HoldFilter {
            shard,
            target_group,
            cluster,
            ended,
        } = filter;
        let query = sqlx::query_as!(
            HoldRow,
            r#"
            select id, shard, target_group_arn, cluster_id, body, since as "since: SqlTimestamp",
                released_at as "released_at: SqlTimestamp", released_by, ended_at as "ended_at: SqlTimestamp"
            from holds
            where ($1::text is null or shard = $1)
                and ($2::text is null or target_group_arn = $2)
                and ($3::uuid is null or cluster_id = $3)
                and ($4 or ended_at is null)
                and ($5::uuid is null or id > $5)
            order by id limit $6
            "#,
            shard.as_ref().map(ToString::to_string),
            target_group.as_ref().map(ToString::to_string),
            cluster.map(|cluster| cluster.0),
            *ended,
            after.map(|id| id.0),
            row::limit(limit),
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    pub async fn hold(&self, id: HoldId) -> Result<Option<StoredHold>> {
        let query = sqlx::query_as!(
            HoldRow,
            r#"
            select id, shard, target_group_arn, cluster_id, body, since as "since: SqlTimestamp",
                released_at as "released_at: SqlTimestamp", released_by, ended_at as "ended_at: SqlTimestamp"
            from holds where id = $1
            "#,
            id.0,
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// An operator lets go of what a hold keeps: exactly what it says now, nothing that comes later.
    pub async fn release_hold(&self, actor: &str, id: HoldId) -> Result<StoredHold> {
        transaction!(self, Op::Release, |tx| {
            let row = sqlx::query!(
                r#"
                update holds set released_at = now(), released_by = $2, ended_at = now()
                where id = $1 and ended_at is null
                returning target_group_arn, cluster_id, body
                "#,
                id.0,
                actor,
            )
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else {
                let exists =
                    sqlx::query_scalar!("select id from holds where id = $1", id.0).fetch_optional(&mut *tx);
                return Err(match exists.await? {
                    None => Error::not_found("hold", id),
                    Some(_) => Error::Constraint(format!(
                        "hold {id} has ended or grew into another one: read the holds again and decide anew"
                    )),
                });
            };
            let Hold { reason, .. } = Row::new("holds", &id).json("body", row.body.clone())?;
            if !reason.is_releasable() {
                return Err(Error::Constraint(format!(
                    "hold {id} cannot be released by itself; it ends by {}",
                    reason.release()
                )));
            }
            let (object, before) = (id.to_string(), Some(row.body));
            match row.cluster_id.map(ClusterId) {
                Some(cluster) => {
                    audit::append_in(tx, (cluster, None), actor, "hold.release", &object, before, None)
                        .await?;
                }
                None => audit::append(tx, actor, "hold.release", &object, before, None).await?,
            }
            if let Some(cluster) = row.cluster_id.map(ClusterId) {
                release_bindings(tx, cluster, id).await?;
            }
            wake::groups(tx, row.target_group_arn).await
        })
        .await?;
        self.hold(id).await?.ok_or_else(|| Error::not_found("hold", id))
    }

    /// Stores the holds of a plan that are listed for an operator, and ends those that are no longer among them. A hold that
    /// shrinks stays the same; one that grows is another, so that nobody releases what they have not seen.
    pub async fn sync_holds(
        &self,
        fence: &lease::Fence,
        arn: &TargetGroupArn,
        holds: &[Hold],
    ) -> Result<bool> {
        let name = arn.to_string();
        let wanted = by_reason(holds);
        transaction!(self, Op::SyncHolds, |tx| {
            let mut open = Vec::new();
            let rows = sqlx::query!(
                "select id, body from holds where target_group_arn = $1 and ended_at is null",
                name,
            )
            .fetch_all(&mut *tx)
            .await?;
            for row in rows {
                open.push((row.id, Row::new("holds", &row.id).json::<Hold>("body", row.body)?));
            }
            let (ended, changed, new) = compare(&open, &wanted.iter().collect::<Vec<_>>());
            if ended.is_empty() && changed.is_empty() && new.is_empty() {
                return Ok(false);
            }
            lease::check_group(tx, fence, arn).await?;
            sqlx::query!("update holds set ended_at = now() where id = any($1)", &ended)
                .execute(&mut *tx)
                .await?;
            for (id, hold) in changed {
                sqlx::query!("update holds set body = $2 where id = $1", id, to_json(hold))
                    .execute(&mut *tx)
                    .await?;
            }
            for hold in new {
                sqlx::query!(
                    "insert into holds (shard, target_group_arn, reason, body) values ($1, $2, $3, $4)",
                    fence.shard.to_string(),
                    name,
                    to_word(&hold.reason),
                    to_json(hold),
                )
                .execute(&mut *tx)
                .await?;
            }
            sqlx::query!(
                "delete from holds where target_group_arn = $1 and ended_at < now() - interval '7 days'",
                name,
            )
            .execute(&mut *tx)
            .await?;
            Ok(true)
        })
        .await
    }
}

/// The holds of a group that are kept here, one of each reason. Mass unbindings are kept with their cluster.
fn by_reason(holds: &[Hold]) -> Vec<Hold> {
    let mut kept: Vec<Hold> = Vec::new();
    for hold in holds
        .iter()
        .filter(|hold| hold.reason.is_listed() && hold.reason != HoldReason::MassUnbinding)
    {
        let Some(one) = kept.iter_mut().find(|one| one.reason == hold.reason) else {
            kept.push(hold.clone());
            continue;
        };
        let Hold {
            reason: _,
            bindings,
            removals,
            additions,
            until,
        } = hold.clone();
        one.bindings.extend(bindings);
        one.removals.extend(removals);
        one.additions.extend(additions);
        one.until = one.until.max(until);
    }
    for hold in &mut kept {
        hold.bindings.sort_unstable();
        hold.bindings.dedup();
        hold.removals.sort_unstable();
        hold.removals.dedup();
        hold.additions.sort_unstable();
        hold.additions.dedup();
    }
    kept
}

/// Which open holds end, which shrink, and which are new. There is one of each reason.
fn compare<'a>(
    open: &[(Uuid, Hold)],
    wanted: &[&'a Hold],
) -> (Vec<Uuid>, Vec<(Uuid, &'a Hold)>, Vec<&'a Hold>) {
    let (mut ended, mut changed, mut new) = (Vec::new(), Vec::new(), Vec::new());
    for (id, hold) in open {
        match wanted.iter().find(|wanted| wanted.reason == hold.reason) {
            Some(wanted) if wanted.removals.iter().all(|key| hold.removals.contains(key)) => {
                if !same_work(wanted, hold) {
                    changed.push((*id, *wanted));
                }
            }
            grown => {
                ended.push(*id);
                new.extend(grown);
            }
        }
    }
    new.extend(
        wanted
            .iter()
            .filter(|wanted| open.iter().all(|(_, hold)| hold.reason != wanted.reason)),
    );
    (ended, changed, new)
}

/// `until` moves with the clock and is no change of its own.
fn same_work(a: &Hold, b: &Hold) -> bool {
    a.removals == b.removals && a.additions == b.additions && a.bindings == b.bindings
}

/// The deletions of a mass unbinding count, and do not count again for the next one.
async fn release_bindings(connection: &mut PgConnection, cluster: ClusterId, hold: HoldId) -> Result<()> {
    let arns = sqlx::query_scalar!(
        r#"
        with released as (
            update bindings set hold_id = null, version = version + 1 where hold_id = $1 returning id, target_group_arn
        ), counted as (
            delete from unbindings where binding_id in (select id from released)
        )
        select distinct target_group_arn as "arn!" from released where target_group_arn is not null
        "#,
        hold.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    wake::groups(connection, arns).await?;
    wake::cluster(connection, cluster).await
}

/// Brings a mass unbinding up to the bindings that it still keeps; when none is left, it is over.
pub(crate) async fn refresh(connection: &mut PgConnection, cluster: ClusterId) -> Result<()> {
    sqlx::query!(
        r#"
        with kept as (
            select h.id, jsonb_set(h.body, '{bindings}', coalesce(jsonb_agg(b.id order by b.id)
                filter (where b.id is not null), '[]')) as body, count(b.id) as bindings
            from holds h left join bindings b on b.hold_id = h.id
            where h.cluster_id = $1 and h.ended_at is null
            group by h.id
        )
        update holds set body = kept.body, ended_at = case when kept.bindings = 0 then now() end
        from kept
        where holds.id = kept.id and (kept.bindings = 0 or holds.body is distinct from kept.body)
        "#,
        cluster.0,
    )
    .execute(connection)
    .await?;
    Ok(())
}
