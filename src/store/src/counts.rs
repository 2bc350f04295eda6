//! How much there is, for the metrics.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::{Op, Result, Store, row::Row};

/// How much there is. What there is none of has no entry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Counts {
    /// Clusters by what is heard of them: `connected`, `silent`, `neverHeard`, `cordoned`, `leaving`.
    pub clusters: BTreeMap<String, u64>,
    /// When each cluster that counts for the fleet was last heard of: it was, it is not cordoned, and it stays.
    pub heard: BTreeMap<String, Timestamp>,
    /// Bindings by the reason of their `Ready` condition; `Unreported`: nobody has looked at it yet.
    pub bindings: BTreeMap<String, u64>,
    /// Targets of ours by their state in the ledger.
    pub targets: BTreeMap<String, u64>,
    /// By [`HoldReason`](model::plan::HoldReason)'s names; those alone that an operator can decide about are stored.
    pub open_holds: BTreeMap<String, OpenHolds>,
    /// Shards with a writer.
    pub held_shards: u64,
    /// Shards that nobody writes in.
    pub free_shards: u64,
    /// Shards whose removals wait because the database went back in time.
    pub restored_shards: u64,
}

/// Open holds of one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct OpenHolds {
    pub number: u64,
    /// The age of the oldest, in seconds.
    pub oldest: f64,
}

impl Store {
    /// A cluster that was heard of, but not for `silent_after`, is silent.
    pub async fn counts(&self, silent_after: SignedDuration) -> Result<Counts> {
        let query = sqlx::query_scalar!(
            r#"
            select json_build_object(
                'clusters', (
                    select coalesce(json_object_agg(state, number), '{}')
                    from (
                        select case
                            when leaving is not null then 'leaving'
                            when cordoned_at is not null then 'cordoned'
                            when seen_at is null then 'neverHeard'
                            when seen_at < clock_timestamp() - make_interval(secs => $1) then 'silent'
                            else 'connected'
                        end as state, count(*) as number
                        from clusters group by 1
                    ) by_state
                ),
                'heard', (
                    select coalesce(json_object_agg(name, seen_at), '{}') from clusters
                    where seen_at is not null and cordoned_at is null and leaving is null
                ),
                'bindings', (
                    select coalesce(json_object_agg(reason, number), '{}')
                    from (
                        select coalesce(s.body #>> '{ready,reason}', 'Unreported') as reason, count(*) as number
                        from bindings b left join statuses s on s.binding_id = b.id
                        where b.deleted_at is null
                        group by 1
                    ) by_reason
                ),
                'targets', (
                    select coalesce(json_object_agg(state, number), '{}')
                    from (select state, count(*) as number from ledger_targets group by state) by_state
                ),
                'open_holds', (
                    select coalesce(json_object_agg(reason, json_build_object('number', number, 'oldest', oldest)), '{}')
                    from (
                        select upper(left(reason, 1)) || substr(reason, 2) as reason, count(*) as number, extract(epoch from clock_timestamp() - min(since)) as oldest
                        from holds where ended_at is null group by reason
                    ) by_reason
                ),
                'held_shards', (select count(*) from shards where deadline > clock_timestamp()),
                'free_shards', (
                    select count(*) from shards where deadline is null or deadline <= clock_timestamp()
                ),
                'restored_shards', (select count(*) from shards where restored_at is not null)
            ) as "counts!: Value"
            "#,
            silent_after.as_secs_f64(),
        );
        let counts = self.read(Op::Counts, query.fetch_one(&self.pool)).await?;
        Row::new("counts", &"all").json("counts", counts)
    }
}
