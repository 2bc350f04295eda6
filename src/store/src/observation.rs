//! What AWS said last about a group, for those who only read: written when it changed, so its time is that of the change.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{Observed, TargetGroupArn, target::ObservedTarget, target_group::TargetGroupFacts};
use serde::{Deserialize, Serialize};

use crate::{
    Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    row::{Row, to_json},
};

/// What AWS said last.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
    /// Since when it says so; the `at` of both as well.
    pub changed_at: Timestamp,
}

/// An [`Observed`] without its time, which changes with every look.
#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
enum Seen<T> {
    Unknown,
    Absent,
    Present { value: T },
}

impl<'a, T> From<&'a Observed<T>> for Seen<&'a T> {
    fn from(observed: &'a Observed<T>) -> Self {
        match observed {
            Observed::Unknown => Self::Unknown,
            Observed::Absent { at: _ } => Self::Absent,
            Observed::Present { at: _, value } => Self::Present { value },
        }
    }
}

impl<T> Seen<T> {
    fn observed(self, at: Timestamp) -> Observed<T> {
        match self {
            Self::Unknown => Observed::Unknown,
            Self::Absent => Observed::Absent { at },
            Self::Present { value } => Observed::Present { at, value },
        }
    }
}

impl Store {
    /// Stores what AWS said, if it is something else than before.
    pub async fn record_observation(
        &self,
        fence: &Fence,
        arn: &TargetGroupArn,
        facts: &Observed<TargetGroupFacts>,
        targets: &Observed<Vec<ObservedTarget>>,
    ) -> Result<bool> {
        let (facts, targets) = (to_json(&Seen::from(facts)), to_json(&Seen::from(targets)));
        transaction!(self, Op::RecordObservation, |tx| {
            let known = sqlx::query_scalar!(
                r#"
                select exists (
                    select from observations where target_group_arn = $1 and facts = $2 and targets = $3
                ) as "known!"
                "#,
                arn.to_string(),
                facts.clone(),
                targets.clone(),
            )
            .fetch_one(&mut *tx)
            .await?;
            if known {
                return Ok(false);
            }
            lease::check_group(tx, fence, arn).await?;
            let written = sqlx::query!(
                r#"
                insert into observations as old (target_group_arn, shard, facts, targets) values ($1, $2, $3, $4)
                on conflict (target_group_arn) do update
                set facts = excluded.facts, targets = excluded.targets, changed_at = now()
                where (old.facts, old.targets) is distinct from (excluded.facts, excluded.targets)
                "#,
                arn.to_string(),
                fence.shard.to_string(),
                facts.clone(),
                targets.clone(),
            )
            .execute(&mut *tx)
            .await?;
            Ok(written.rows_affected() > 0)
        })
        .await
    }

    pub async fn observation(&self, arn: &TargetGroupArn) -> Result<Option<Observation>> {
        let query = sqlx::query!(
            r#"
            select facts, targets, changed_at as "changed_at: SqlTimestamp" from observations where target_group_arn = $1
            "#,
            arn.to_string(),
        );
        let Some(row) = self.read(Op::Query, query.fetch_optional(&self.pool)).await? else {
            return Ok(None);
        };
        let at = Row::new("observations", arn);
        let changed_at = row.changed_at.to_jiff();
        Ok(Some(Observation {
            facts: at.json::<Seen<_>>("facts", row.facts)?.observed(changed_at),
            targets: at.json::<Seen<_>>("targets", row.targets)?.observed(changed_at),
            changed_at,
        }))
    }
}
