//! Shard leases: one writer per shard, by Postgres's clock alone.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{Shard, TargetGroupArn};
use sqlx::PgConnection;

use crate::{
    Error, Op, Result, Store, audit,
    database::transaction,
    row::{Row, limit, to_bigint},
    wake,
};

/// A shard that is ours until the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub shard: Shard,
    pub holder: String,
    /// Rises with every change of hands.
    pub epoch: u64,
    /// Postgres's clock when the lease was renewed.
    pub now: Timestamp,
    pub deadline: Timestamp,
    /// Until when the holder before could start calls; they may arrive later still.
    pub former_deadline: Option<Timestamp>,
    /// Since when removals wait for an operator, the database having gone back in time.
    pub restored_at: Option<Timestamp>,
    /// The deadline that stood until now, whosever it was.
    pub known_deadline: Option<Timestamp>,
}

impl Lease {
    pub fn fence(&self) -> Fence {
        Fence {
            shard: self.shard.clone(),
            holder: self.holder.clone(),
            epoch: self.epoch,
        }
    }
}

/// What a write to the ledger must show: that its author still holds the shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    pub shard: Shard,
    pub holder: String,
    pub epoch: u64,
}

/// A shard as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardState {
    pub shard: Shard,
    /// `None`: nobody's, or its holder let the deadline pass.
    pub holder: Option<String>,
    pub epoch: u64,
    pub deadline: Option<Timestamp>,
    pub restored_at: Option<Timestamp>,
}

struct LeaseRow {
    shard: String,
    epoch: i64,
    now: SqlTimestamp,
    deadline: SqlTimestamp,
    former_deadline: Option<SqlTimestamp>,
    restored_at: Option<SqlTimestamp>,
    known_deadline: Option<SqlTimestamp>,
}

struct ShardRow {
    shard: String,
    holder: Option<String>,
    epoch: i64,
    deadline: Option<SqlTimestamp>,
    restored_at: Option<SqlTimestamp>,
}

impl TryFrom<ShardRow> for ShardState {
    type Error = Error;

    fn try_from(row: ShardRow) -> Result<Self> {
        let at = Row::new("shards", &row.shard);
        Ok(Self {
            shard: at.text("shard", &row.shard)?,
            holder: row.holder,
            epoch: at.number("epoch", row.epoch)?,
            deadline: row.deadline.map(SqlTimestamp::to_jiff),
            restored_at: row.restored_at.map(SqlTimestamp::to_jiff),
        })
    }
}

impl Store {
    /// Renews all leases of `replica` and takes expired ones, up to `max` in all. `replica` must be this process's alone.
    /// A lease of ours that had expired is nobody's: it comes back, if at all, with another epoch.
    pub async fn lease(&self, replica: &str, ttl: Duration, max: u32) -> Result<Vec<Lease>> {
        let query = sqlx::query_as!(
            LeaseRow,
            r#"
            with held as (
                select shard, deadline from shards where holder = $1 and deadline > clock_timestamp()
                for no key update
            ), renewed as (
                update shards set deadline = clock_timestamp() + make_interval(secs => $2)
                from held where shards.shard = held.shard
                returning shards.shard, epoch, clock_timestamp() as now, shards.deadline, former_deadline, restored_at,
                    held.deadline as known_deadline
            ), free as (
                select shard, deadline from shards where deadline is null or deadline <= clock_timestamp()
                order by deadline nulls first, shard
                limit greatest($3 - (select count(*) from renewed), 0)
                for update skip locked
            ), taken as (
                update shards set holder = $1, former_deadline = shards.deadline,
                    epoch = greatest(epoch + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint),
                    deadline = clock_timestamp() + make_interval(secs => $2)
                from free where shards.shard = free.shard
                returning shards.shard, epoch, clock_timestamp() as now, shards.deadline, former_deadline, restored_at,
                    free.deadline as known_deadline
            )
            select shard as "shard!", epoch as "epoch!", now as "now!: SqlTimestamp", deadline as "deadline!: SqlTimestamp",
                former_deadline as "former_deadline: SqlTimestamp", restored_at as "restored_at: SqlTimestamp",
                known_deadline as "known_deadline: SqlTimestamp"
            from (select * from renewed union all select * from taken) held
            order by shard
            "#,
            replica,
            ttl.as_secs_f64(),
            limit(max),
        );
        let rows = self.read(Op::Lease, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("shards", &row.shard);
                Ok(Lease {
                    shard: at.text("shard", &row.shard)?,
                    holder: replica.to_owned(),
                    epoch: at.number("epoch", row.epoch)?,
                    now: row.now.to_jiff(),
                    deadline: row.deadline.to_jiff(),
                    former_deadline: row.former_deadline.map(SqlTimestamp::to_jiff),
                    restored_at: row.restored_at.map(SqlTimestamp::to_jiff),
                    known_deadline: row.known_deadline.map(SqlTimestamp::to_jiff),
                })
            })
            .collect()
    }

    /// Gives a shard back, once no call of ours is under way. It is free at once.
    pub async fn release_lease(&self, fence: &Fence) -> Result<()> {
        transaction!(self, Op::Lease, |tx| {
            let released = sqlx::query!(
                r#"
                update shards set holder = null, deadline = clock_timestamp()
                where shard = $1 and holder = $2 and epoch = $3 and deadline > clock_timestamp()
                "#,
                fence.shard.to_string(),
                fence.holder,
                to_bigint(fence.epoch),
            )
            .execute(&mut *tx)
            .await?;
            // A lease that has expired needs no release.
            if released.rows_affected() == 0 {
                Ok(())
            } else {
                wake::shard(tx, &fence.shard.to_string()).await
            }
        })
        .await
    }

    pub async fn shards(&self) -> Result<Vec<ShardState>> {
        let query = sqlx::query_as!(
            ShardRow,
            r#"
            select shard, case when deadline > clock_timestamp() then holder end as holder, epoch,
                deadline as "deadline: SqlTimestamp", restored_at as "restored_at: SqlTimestamp"
            from shards order by shard
            "#
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    pub async fn shard(&self, shard: &Shard) -> Result<Option<ShardState>> {
        let query = sqlx::query_as!(
            ShardRow,
            r#"
            select shard, case when deadline > clock_timestamp() then holder end as holder, epoch,
                deadline as "deadline: SqlTimestamp", restored_at as "restored_at: SqlTimestamp"
            from shards where shard = $1
            "#,
            shard.to_string(),
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// An operator says that removing is safe again after the database went back in time.
    pub async fn release_shard(&self, actor: &str, shard: &Shard) -> Result<ShardState> {
        transaction!(self, Op::Release, |tx| {
            let name = shard.to_string();
            let before = sqlx::query_scalar!(
                r#"select restored_at::text from shards where shard = $1 for no key update"#,
                name,
            )
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("shard", shard))?;
            if let Some(restored_at) = before {
                sqlx::query!("update shards set restored_at = null where shard = $1", name)
                    .execute(&mut *tx)
                    .await?;
                let before = serde_json::json!({ "restoredAt": restored_at });
                audit::append(tx, actor, "shard.release", &name, Some(before), None).await?;
                wake::shard(tx, &name).await?;
            }
            Ok(())
        })
        .await?;
        self.shard(shard)
            .await?
            .ok_or_else(|| Error::not_found("shard", shard))
    }
}

/// Checks that the lease is held and that the group is of its shard, and keeps the shard: while the transaction lasts,
/// nobody else takes it.
pub(crate) async fn check_group(
    connection: &mut PgConnection,
    fence: &Fence,
    arn: &TargetGroupArn,
) -> Result<()> {
    if *arn.shard() == fence.shard {
        check(connection, fence).await
    } else {
        Err(Error::LeaseLost {
            shard: arn.shard().clone(),
        })
    }
}

/// As [`check_group`], for what belongs to no group. The lock conflicts with a change of hands, which locks the row for
/// update, and not with a renewal: a busy writer must not keep itself from renewing.
pub(crate) async fn check(connection: &mut PgConnection, fence: &Fence) -> Result<()> {
    if model::sabotage::is_on("S8") {
        return Ok(());
    }
    let held = sqlx::query_scalar!(
        r#"
        select deadline > clock_timestamp() as "held!" from shards where shard = $1 and holder = $2 and epoch = $3
        for key share
        "#,
        fence.shard.to_string(),
        fence.holder,
        to_bigint(fence.epoch),
    )
    .fetch_optional(connection)
    .await?;
    if held == Some(true) {
        Ok(())
    } else {
        Err(Error::LeaseLost {
            shard: fence.shard.clone(),
        })
    }
}

/// The shard's row, for what refers to it.
pub(crate) async fn ensure_shard(connection: &mut PgConnection, shard: &Shard) -> Result<()> {
    let name = shard.to_string();
    let inserted = sqlx::query!(
        "insert into shards (shard) values ($1) on conflict do nothing",
        name
    )
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        Ok(())
    } else {
        wake::shard(connection, &name).await
    }
}

/// The database went back in time: no shard removes anything until an operator releases it.
pub(crate) async fn mark_restored(connection: &mut PgConnection) -> Result<()> {
    let shards = sqlx::query_scalar!(
        "update shards set restored_at = now() where restored_at is null returning shard"
    )
    .fetch_all(&mut *connection)
    .await?;
    for shard in shards {
        wake::shard(connection, &shard).await?;
    }
    Ok(())
}
