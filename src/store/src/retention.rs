//! What is kept for people, and for how long.

use std::time::Duration;

use crate::{Op, Result, Store};

/// For how long the records for people are kept. What the loops need is kept apart from these.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub audit: Duration,
    /// At most: of each target group's, the journal keeps the last 50.
    pub plans: Duration,
    pub events: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(24 * days);
        Self {
            audit: days(400),
            plans: days(90),
            events: days(7),
        }
    }
}

/// Rows that one statement deletes at most: its locks and its WAL stay small.
const BATCH: i64 = 1000;

impl Store {
    /// Forgets a batch of what is too old; says whether there may be more.
    pub async fn forget(&self, retention: &Retention) -> Result<bool> {
        let Retention { audit, plans, events } = retention;
        let query = sqlx::query_scalar!(
            r#"
            with old_audit as (
                delete from audit where id in (
                    select id from audit where at < now() - make_interval(secs => $1) order by at limit $4
                    for update skip locked
                ) returning 1
            ), old_plans as (
                delete from plans where id in (
                    select id from plans where at < now() - make_interval(secs => $2) order by at limit $4
                    for update skip locked
                ) returning 1
            ), old_events as (
                delete from events where (transaction, id) in (
                    select transaction, id from events where at < now() - make_interval(secs => $3) order by at limit $4
                    for update skip locked
                ) returning 1
            ), expired as (
                delete from tokens where hash in (
                    select hash from tokens where expires_at < now() - interval '1 day' limit $4 for update skip locked
                ) returning 1
            )
            select greatest(
                (select count(*) from old_audit), (select count(*) from old_plans), (select count(*) from old_events),
                (select count(*) from expired)
            ) as "most!"
            "#,
            audit.as_secs_f64(),
            plans.as_secs_f64(),
            events.as_secs_f64(),
            BATCH,
        );
        let most = self.read(Op::Forget, query.fetch_one(&self.pool)).await?;
        Ok(most >= BATCH)
    }
}
