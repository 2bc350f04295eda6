//! The ledger's managed target groups: intents and outcomes, as for targets.
//!
//! | before | step or outcome | after |
//! | --- | --- | --- |
//! | – or `creating` | `Create` | `creating`, with what it sets |
//! | – or `adopting` | `Adopt` | `adopting`, with what is declared |
//! | any | `Confirm` | `present`, with the ARN, and declared to bindings |
//! | `present` | a change | `present`, with neither value of what it sets: either may come |
//! | `present` | a change acknowledged | `present`, with what it set |
//! | `present` | `Note` | `present`, with what AWS has |
//! | `present`, `deleting` | `Delete` | `deleting`, if nothing is in it |
//! | `present`, `releasing` | `Release` | `releasing` |
//! | `…ing` | surely not applied | the state before; no row, if there was none |
//! | `…ing` | ambiguous | the same, with the time |
//! | any | `Forget` | –, and with it a declaration that is on its way out |

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    Name, PlanId, TargetGroupArn,
    condition::Problem,
    managed::{Definition, GroupPlan, GroupState, GroupStep, LedgerGroup, Setting},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    Outcome,
    intend::{Subject, journal},
};
use crate::{
    Error, Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    managed, pause,
    row::{Row, to_json, to_word},
    target_group, wake,
};

/// A row of `ledger_resources` as `to_jsonb` writes it.
#[derive(Deserialize)]
pub(crate) struct GroupRow {
    name: String,
    arn: Option<String>,
    state: GroupState,
    applied: BTreeMap<Setting, String>,
    changed_at: Timestamp,
    ambiguous_at: Option<Timestamp>,
}

impl TryFrom<GroupRow> for LedgerGroup {
    type Error = Error;

    fn try_from(row: GroupRow) -> Result<Self> {
        let GroupRow {
            name,
            arn,
            state,
            applied,
            changed_at,
            ambiguous_at,
        } = row;
        let at = Row::new("ledger_resources", &name);
        Ok(Self {
            state,
            arn: arn.map(|arn| at.text("arn", &arn)).transpose()?,
            applied,
            changed_at,
            ambiguous_at,
        })
    }
}

/// What became of a step's call.
#[derive(Clone, Debug)]
pub struct SettledStep<'a> {
    pub step: &'a GroupStep,
    pub outcome: Outcome,
    /// AWS's name of the request.
    pub request_id: Option<String>,
    /// What AWS stated.
    pub problem: Option<Problem>,
}

impl Store {
    /// Makes a step of a plan durable: the journal's row and the ledger's, in one transaction. [`Error::PlanStale`]: the
    /// declaration or the ledger is not what the plan was made from. [`Error::Paused`]: an operator has stopped it.
    pub async fn intend_group(
        &self,
        fence: &Fence,
        id: PlanId,
        plan: &GroupPlan,
        step: &GroupStep,
    ) -> Result<()> {
        let body = to_json(plan);
        transaction!(self, Op::Intend, |tx| {
            lease::check(tx, fence).await?;
            let stale = || Error::PlanStale {
                subject: plan.name.to_string(),
            };
            let definition = managed::for_update(tx, &plan.name).await?.ok_or_else(stale)?;
            if definition.version != plan.version || definition.spec.managed.shard() != fence.shard {
                return Err(stale());
            }
            pause::check_group(tx, fence, &definition, step).await?;
            journal(tx, fence, id, Subject::Group(plan.name.as_str()), &body).await?;
            let group = Group {
                fence,
                id,
                definition: &definition,
            };
            if group.intend(tx, step).await? == 1 {
                Ok(())
            } else {
                Err(stale())
            }
        })
        .await
    }

    /// Records what became of a step that was intended, and writes it into the journal.
    pub async fn settle_group(
        &self,
        fence: &Fence,
        id: PlanId,
        name: &Name,
        settled: SettledStep<'_>,
    ) -> Result<()> {
        let SettledStep {
            step,
            outcome,
            request_id,
            problem,
        } = settled;
        let entry = json!({
            "step": step, "outcome": outcome.label(), "requestId": request_id, "problem": problem,
        });
        let (set, unset) = match step {
            GroupStep::Modify { settings, .. }
            | GroupStep::SetAttributes { settings, .. }
            | GroupStep::Tag { settings, .. } => (to_json(settings), Vec::new()),
            GroupStep::Untag { keys, .. } => (json!({}), keys.iter().map(ToString::to_string).collect()),
            _ => (json!({}), Vec::new()),
        };
        transaction!(self, Op::Settle, |tx| {
            lease::check(tx, fence).await?;
            sqlx::query!(
                r#"
                with acknowledged as (
                    update ledger_resources set applied = (applied || $3) - $4::text[],
                        changed_at = case state when 'present' then now() else changed_at end
                    where kind = 'targetGroup' and name = $1 and plan_id = $2 and $5 = 'acknowledged'
                ), ambiguous as (
                    update ledger_resources set ambiguous_at = now()
                    where kind = 'targetGroup' and name = $1 and plan_id = $2 and $5 = 'ambiguous'
                ), undone as (
                    update ledger_resources set state = former_state, former_state = null, changed_at = now()
                    where kind = 'targetGroup' and name = $1 and plan_id = $2 and $5 = 'failed'
                        and former_state is not null and state <> 'present' and ambiguous_at is null
                ), removed as (
                    delete from ledger_resources
                    where kind = 'targetGroup' and name = $1 and plan_id = $2 and $5 = 'failed'
                        and former_state is null and state in ('creating', 'adopting') and ambiguous_at is null
                )
                update plans set outcome = coalesce(outcome, '[]')
                    || jsonb_build_array(jsonb_build_object('at', clock_timestamp()) || jsonb_strip_nulls($6))
                where id = $2
                "#,
                name.as_str(),
                id.0,
                set.clone(),
                &unset,
                outcome.label(),
                entry.clone(),
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}

/// One group's row, for one plan. Each method answers how many rows it wrote.
struct Group<'a> {
    fence: &'a Fence,
    id: PlanId,
    definition: &'a Definition,
}

impl Group<'_> {
    async fn intend(&self, connection: &mut PgConnection, step: &GroupStep) -> Result<u64> {
        match step {
            GroupStep::Create { settings } => {
                // Our own tags are no setting of the declaration.
                let declared = self.definition.spec.managed.stated();
                let set: BTreeMap<_, _> = settings
                    .iter()
                    .filter(|(setting, _)| declared.contains_key(*setting))
                    .collect();
                self.begin(connection, GroupState::Creating, None, to_json(&set))
                    .await
            }
            GroupStep::Adopt { arn, settings: _ } => {
                // What it has otherwise is somebody else's doing, and goes by the policy on that.
                let declared = to_json(&self.definition.spec.managed.stated());
                self.begin(connection, GroupState::Adopting, Some(arn), declared)
                    .await
            }
            GroupStep::Confirm { arn } => self.confirm(connection, arn).await,
            GroupStep::Modify { arn, settings }
            | GroupStep::SetAttributes { arn, settings }
            | GroupStep::Tag { arn, settings } => {
                let unsure = settings.keys().map(ToString::to_string).collect();
                self.note(connection, Some(arn), (json!({}), unsure)).await
            }
            // A tag is ours to take away until AWS says that it is gone.
            GroupStep::Untag { arn, keys: _ } => {
                self.note(connection, Some(arn), (json!({}), Vec::new())).await
            }
            GroupStep::Note { settings, dropped } => {
                let dropped = dropped.iter().map(ToString::to_string).collect();
                self.note(connection, None, (to_json(settings), dropped)).await
            }
            GroupStep::Delete { arn } => {
                target_group::refuse_used(connection, &self.definition.name, arn).await?;
                self.end(connection, arn, GroupState::Deleting).await
            }
            GroupStep::Release { arn, .. } => self.end(connection, arn, GroupState::Releasing).await,
            GroupStep::Forget => self.forget(connection).await,
        }
    }

    async fn begin(
        &self,
        connection: &mut PgConnection,
        state: GroupState,
        arn: Option<&TargetGroupArn>,
        applied: Value,
    ) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            insert into ledger_resources as old (kind, name, shard, arn, state, applied, plan_id)
            values ('targetGroup', $1, $2, $3, $4, $5, $6)
            on conflict (kind, name) do update
            set applied = excluded.applied, plan_id = excluded.plan_id, changed_at = now(),
                -- An intent without an outcome: its writer died, and its call may have been sent.
                ambiguous_at = case
                    when old.changed_at > coalesce(old.ambiguous_at, '-infinity') then now() else old.ambiguous_at
                end
            where old.state = excluded.state
            "#,
            self.definition.name.as_str(),
            self.fence.shard.to_string(),
            arn.map(ToString::to_string),
            to_word(&state),
            applied,
            self.id.0,
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    async fn confirm(&self, connection: &mut PgConnection, arn: &TargetGroupArn) -> Result<u64> {
        let name = &self.definition.name;
        let written = sqlx::query!(
            r#"
            insert into ledger_resources (kind, name, shard, arn, state, plan_id)
            values ('targetGroup', $1, $2, $3, 'present', $4)
            on conflict (kind, name) do update
            set arn = excluded.arn, state = 'present', former_state = null, ambiguous_at = null,
                plan_id = excluded.plan_id
            "#,
            name.as_str(),
            self.fence.shard.to_string(),
            arn.to_string(),
            self.id.0,
        )
        .execute(&mut *connection)
        .await?;
        if self.definition.ending.is_none() {
            let declared = self.definition.spec.declared(arn.clone());
            managed::declare(connection, name, &declared, self.definition.version).await?;
            sqlx::query!(
                "update managed_groups set announced = false where name = $1",
                name.as_str()
            )
            .execute(&mut *connection)
            .await?;
            wake::declared(connection).await?;
        }
        Ok(written.rows_affected())
    }

    async fn note(
        &self,
        connection: &mut PgConnection,
        arn: Option<&TargetGroupArn>,
        (set, unset): (Value, Vec<String>),
    ) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            update ledger_resources set applied = (applied || $3) - $4::text[], plan_id = $2,
                -- A call is on its way, and answers may be of before.
                changed_at = case when $5::text is null then changed_at else now() end
            where kind = 'targetGroup' and name = $1 and state = 'present' and ($5::text is null or arn = $5)
            "#,
            self.definition.name.as_str(),
            self.id.0,
            set,
            &unset,
            arn.map(ToString::to_string),
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    async fn end(
        &self,
        connection: &mut PgConnection,
        arn: &TargetGroupArn,
        state: GroupState,
    ) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            update ledger_resources l
            set state = $3, former_state = case l.state when $3 then l.former_state else l.state end,
                ambiguous_at = case
                    when l.state <> $3 then null
                    when l.changed_at > coalesce(l.ambiguous_at, '-infinity') then now()
                    else l.ambiguous_at
                end,
                plan_id = $2, changed_at = now()
            where kind = 'targetGroup' and name = $1 and state in ('present', $3) and arn = $4
            "#,
            self.definition.name.as_str(),
            self.id.0,
            to_word(&state),
            arn.to_string(),
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    /// A declaration that is on its way out may have no row any more.
    async fn forget(&self, connection: &mut PgConnection) -> Result<u64> {
        let name = self.definition.name.as_str();
        let forgotten = sqlx::query!(
            "delete from ledger_resources where kind = 'targetGroup' and name = $1",
            name,
        )
        .execute(&mut *connection)
        .await?;
        if self.definition.ending.is_none() {
            return Ok(forgotten.rows_affected());
        }
        let ended = sqlx::query!("delete from managed_groups where name = $1", name)
            .execute(connection)
            .await?;
        Ok(ended.rows_affected())
    }
}
