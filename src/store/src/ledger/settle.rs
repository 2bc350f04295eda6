//! Outcomes: what AWS's answer makes of an intent.

use model::{PlanId, TargetGroupArn, TargetKey, condition::Problem, sabotage};
use serde_json::{Value, json};

use crate::{
    Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
};

/// What became of a call, for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// AWS says that it is done.
    Acknowledged,
    /// It was surely not applied.
    Failed,
    /// No answer, or one that does not say: it may have been applied, or may be yet.
    Ambiguous,
}

impl Outcome {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// One call to AWS, with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub targets: Vec<TargetKey>,
    pub outcome: Outcome,
    /// AWS's name of the request, for its support and for CloudTrail; `None`: AWS did not answer.
    pub request_id: Option<String>,
}

impl Store {
    /// Records what became of intents of a plan, and writes it into the journal with AWS's request ids and the `problem`
    /// that AWS stated. Targets that another plan has taken up since are passed over.
    pub async fn settle(
        &self,
        fence: &Fence,
        id: PlanId,
        arn: &TargetGroupArn,
        calls: &[Call],
        problem: Option<&Problem>,
    ) -> Result<()> {
        let name = arn.to_string();
        let of_call = |call: &Call| {
            let outcome = call.outcome.label();
            let row =
                move |key: &TargetKey| json!({ "target_id": key.id, "port": key.port, "outcome": outcome });
            call.targets.iter().map(row).collect::<Vec<_>>()
        };
        let rows: Value = calls.iter().flat_map(of_call).collect();
        let keys = |wanted| {
            let calls = calls.iter().filter(move |call| call.outcome == wanted);
            calls.flat_map(|call| &call.targets).collect::<Vec<_>>()
        };
        let requests: Vec<_> = calls
            .iter()
            .filter(|_| !sabotage::is_on("S22"))
            .filter_map(|call| {
                let id = call.request_id.as_ref()?;
                Some(json!({ "requestId": id, "outcome": call.outcome.label(), "targets": call.targets }))
            })
            .collect();
        let entry = json!({
            "acknowledged": keys(Outcome::Acknowledged),
            "failed": keys(Outcome::Failed),
            "ambiguous": keys(Outcome::Ambiguous),
            "requests": requests,
            "problem": problem,
        });
        transaction!(self, Op::Settle, |tx| {
            lease::check_group(tx, fence, arn).await?;
            // One statement: what each part sees is the state before.
            sqlx::query!(
                r#"
                with settled as (
                    select l.target_id, l.port, l.state, l.former_state, new.outcome
                    from jsonb_to_recordset($3) as new (target_id text, port integer, outcome text)
                    join ledger_targets l
                        on l.target_group_arn = $1 and l.target_id = new.target_id and l.port = new.port
                    where l.plan_id = $2 and l.state in ('registering', 'deregistering')
                ), acknowledged as (
                    update ledger_targets l
                    set state = case l.state when 'registering' then 'registered' else 'deregistered' end,
                        former_state = null, changed_at = now()
                    from settled s
                    where l.target_group_arn = $1 and l.target_id = s.target_id and l.port = s.port
                        and s.outcome = 'acknowledged'
                ), ambiguous as (
                    update ledger_targets l set ambiguous_at = now()
                    from settled s
                    where l.target_group_arn = $1 and l.target_id = s.target_id and l.port = s.port
                        and s.outcome = 'ambiguous'
                ), undone as (
                    update ledger_targets l set state = s.former_state, former_state = null, changed_at = now()
                    from settled s
                    where l.target_group_arn = $1 and l.target_id = s.target_id and l.port = s.port
                        and s.outcome = 'failed' and s.former_state is not null and l.ambiguous_at is null
                ), removed as (
                    delete from ledger_targets l using settled s
                    where l.target_group_arn = $1 and l.target_id = s.target_id and l.port = s.port
                        and s.outcome = 'failed' and s.former_state is null and s.state = 'registering'
                        and l.ambiguous_at is null
                ), drifted as (
                    -- It was ours and registered, so it had vanished.
                    insert into ledger_drifts (target_group_arn, plan_id)
                    select distinct $1, $2::uuid from settled
                    where outcome = 'acknowledged' and state = 'registering' and former_state = 'registered'
                    on conflict do nothing
                ), forgotten as (
                    delete from ledger_drifts where target_group_arn = $1 and at < now() - interval '1 day'
                ), uncounted as (
                    delete from ledger_removals r using settled s
                    where r.target_group_arn = $1 and r.target_id = s.target_id and r.port = s.port and r.plan_id = $2
                        and s.outcome = 'failed' and s.state = 'deregistering'
                )
                update plans set outcome = coalesce(outcome, '[]')
                    || jsonb_build_array(jsonb_build_object('at', clock_timestamp()) || jsonb_strip_nulls($4))
                where id = $2
                "#,
                name,
                id.0,
                rows.clone(),
                entry.clone(),
            )
            .execute(&mut *tx)
            .await?;
            Ok(())
        })
        .await
    }
}
