//! How much there is, for the metrics.

use std::collections::BTreeMap;

use model::plan::HoldReason;
use serde::Deserialize;
use serde_json::Value;

use crate::{Op, Result, Store, row::Row};

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    pub clusters: u64,
    /// Not deleted.
    pub bindings: u64,
    /// Not deleted, with a problem in their text.
    pub bindings_in_error: u64,
    /// Targets of ours by their state in the ledger.
    pub targets: BTreeMap<String, u64>,
    pub open_holds: BTreeMap<HoldReason, u64>,
    /// Shards whose removals wait because the database went back in time.
    pub restored_shards: u64,
}

impl Store {
    pub async fn counts(&self) -> Result<Counts> {
        let query = sqlx::query_scalar!(
            r#"
            select json_build_object(
                'clusters', (select count(*) from clusters),
                'bindings', (select count(*) from bindings where deleted_at is null),
                'bindings_in_error', (select count(*) from bindings where deleted_at is null and problem is not null),
                'targets', (
                    select coalesce(json_object_agg(state, number), '{}')
                    from (select state, count(*) as number from ledger_targets group by state) by_state
                ),
                'open_holds', (
                    select coalesce(json_object_agg(reason, number), '{}')
                    from (select reason, count(*) as number from holds where ended_at is null group by reason) by_reason
                ),
                'restored_shards', (select count(*) from shards where restored_at is not null)
            ) as "counts!: Value"
            "#
        );
        let counts = self.read(Op::Counts, query.fetch_one(&self.pool)).await?;
        Row::new("counts", &"all").json("counts", counts)
    }
}
