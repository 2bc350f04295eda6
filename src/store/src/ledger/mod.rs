//! The ledger: the targets, security-group rules and target groups that are ours. The only code that writes it. Rules:
//! `rules.rs`, target groups: `groups.rs`.
//!
//! A row's life, each arrow one transaction that checks the lease:
//!
//! | before | step or outcome | after |
//! | --- | --- | --- |
//! | – | `Register` | `registering` |
//! | – | `Claim` | `registered`, claimed |
//! | any | `Register` | `registering`, remembering the state before |
//! | any but – | `Deregister` | `deregistering`, remembering the state before; a removal for the window |
//! | `…ing` | acknowledged | `registered` or `deregistered` |
//! | `…ing` | surely not applied | the state before; no row, if there was none |
//! | `…ing` | ambiguous | the same, with the time |
//! | `deregistered` | `Forget` | – |

mod groups;
mod intend;
mod rules;
mod settle;

use jiff::Timestamp;
use model::{
    BindingId, TargetGroupArn, TargetKey,
    fact::PodRef,
    ledger::{LedgerState, LedgerTarget},
    target::{Target, TargetId, Zone},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{Error, Op, Result, Store, row::Row};

pub(crate) use groups::GroupRow;
pub use groups::SettledStep;
pub(crate) use intend::Subject;
pub(crate) use rules::RuleRow;
pub use rules::SettledRule;
pub use settle::{Call, Outcome};

/// A row of `ledger_targets` as `to_jsonb` writes it.
#[derive(Deserialize)]
pub(crate) struct TargetRow {
    target_group_arn: String,
    target_id: String,
    port: i64,
    zone: Option<String>,
    state: String,
    claimed: bool,
    bindings: Vec<Uuid>,
    pod: Option<PodRef>,
    changed_at: Timestamp,
    ambiguous_at: Option<Timestamp>,
    unwanted_since: Option<Timestamp>,
}

impl TryFrom<TargetRow> for LedgerTarget {
    type Error = Error;

    fn try_from(row: TargetRow) -> Result<Self> {
        let key = format!("{} {}:{}", row.target_group_arn, row.target_id, row.port);
        let at = Row::new("ledger_targets", &key);
        let id: TargetId = at.text("target_id", &row.target_id)?;
        let state: LedgerState = at.word("state", &row.state)?;
        Ok(Self {
            target: Target {
                key: TargetKey {
                    id,
                    port: at.number("port", row.port)?,
                },
                zone: row.zone.as_deref().map(Zone::from),
            },
            state,
            claimed: row.claimed,
            bindings: row.bindings.into_iter().map(BindingId).collect(),
            pod: row.pod,
            changed_at: row.changed_at,
            ambiguous_at: row.ambiguous_at,
            unwanted_since: row.unwanted_since,
        })
    }
}

impl Store {
    /// Our targets of a group.
    pub async fn ledger(&self, arn: &TargetGroupArn) -> Result<Vec<LedgerTarget>> {
        let query = sqlx::query_scalar!(
            r#"
            select to_jsonb(l) as "row!" from ledger_targets l where target_group_arn = $1 order by target_id, port
            "#,
            arn.to_string(),
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                Row::new("ledger_targets", arn)
                    .json::<TargetRow>("row", row)?
                    .try_into()
            })
            .collect()
    }
}
