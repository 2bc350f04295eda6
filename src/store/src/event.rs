//! Events: what changed, for whoever follows it. Triggers write them (`migrations/0004_operate.sql`), in the transaction
//! of the change.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::scope::Scope;
use serde_json::Value;

use crate::{
    Op, Result, Store,
    row::{self, Row, limit, to_bigint},
};

/// Where a reader is: after the event that has it.
///
/// Events are in the order of their transactions, and one is only told when no transaction before it is under way: what
/// commits late is not passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    transaction: u64,
    id: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.transaction, self.id)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (transaction, id) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
        Ok(Self {
            transaction: number(transaction).ok_or(())?,
            id: number(id).ok_or(())?,
        })
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub at: Timestamp,
    /// `binding.status`, `cluster.put`, `hold.opened`, …
    pub change: String,
    /// The resource's name, as REST writes it.
    pub object: String,
    pub body: Value,
}

impl Store {
    /// The next events after `after` of what is in `scope`, the oldest first.
    pub async fn events(&self, scope: Option<&Scope>, after: EventId, count: u32) -> Result<Vec<Event>> {
        let (clusters, namespaces) = row::places(scope).unzip();
        let query = sqlx::query!(
            r#"
            select transaction::text as "transaction!", id, at as "at: SqlTimestamp", change, object, body from events
            where (transaction, id) > ($1::text::xid8, $2) and transaction < pg_snapshot_xmin(pg_current_snapshot())
                and ($4::text[] is null or exists (
                    select from unnest($4::text[], $5::text[]) as place (cluster, namespace)
                    join clusters on clusters.name = place.cluster
                    -- Not of another cluster that once had the name.
                    where place.cluster = events.cluster and clusters.created_at <= events.at
                        and (place.namespace is null or place.namespace = events.namespace)
                ))
            order by transaction, id limit $3
            "#,
            after.transaction.to_string(),
            to_bigint(after.id),
            limit(count),
            clusters.as_deref(),
            namespaces.as_deref() as Option<&[Option<String>]>,
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                let at = Row::new("events", &row.id);
                let transaction: i64 = at.text("transaction", &row.transaction)?;
                Ok(Event {
                    id: EventId {
                        transaction: at.number("transaction", transaction)?,
                        id: at.number("id", row.id)?,
                    },
                    at: row.at.to_jiff(),
                    change: row.change,
                    object: row.object,
                    body: row.body,
                })
            })
            .collect()
    }

    /// After everything that is told by now.
    pub async fn latest_event(&self) -> Result<EventId> {
        let query = sqlx::query_scalar!(
            r#"select (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1) as "transaction!""#
        );
        let transaction = self.read(Op::Query, query.fetch_one(&self.pool)).await?;
        Ok(EventId {
            transaction: transaction.unsigned_abs(),
            id: i64::MAX.unsigned_abs(),
        })
    }

    /// Whether `id` is so old that what came after it may have been forgotten.
    pub async fn is_before_events(&self, id: EventId) -> Result<bool> {
        let query = sqlx::query_scalar!(
            r#"
            select not exists (select from events where (transaction, id) <= ($1::text::xid8, $2))
                and exists (select from events) as "forgotten!"
            "#,
            id.transaction.to_string(),
            to_bigint(id.id),
        );
        self.read(Op::Query, query.fetch_one(&self.pool)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_does() {
        let id = EventId {
            transaction: 7,
            id: 9,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "7", "-", "7-x", "-7-9", "7-99999999999999999999"] {
            assert_eq!(wrong.parse::<EventId>(), Err(()), "{wrong}");
        }
    }
}
