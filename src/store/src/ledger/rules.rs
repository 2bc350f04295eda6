//! The ledger's security-group rules: intents and outcomes, as for targets.
//!
//! | before | step or outcome | after |
//! | --- | --- | --- |
//! | – | `Authorize` | `authorizing`, without an id |
//! | any | `Authorize` | `authorizing`, remembering the state before |
//! | any but – | `Revoke` by its id | `revoking`, remembering the state before |
//! | any | `Confirm` | `authorized`, with the id |
//! | `…ing` | acknowledged | `authorized` with the id, or `revoked` |
//! | `…ing` | surely not applied | the state before; no row, if there was none |
//! | `…ing` | ambiguous | the same, with the time |
//! | any | `Forget`, `Relinquish` | – |

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{
    BindingId, ClusterId, PlanId, SecurityGroupId,
    condition::Problem,
    network::{LedgerRule, Permission, RuleState, SecurityGroupRuleId},
    rule_plan::{Authorization, Confirmation, Revocation, RulePlan, RuleStep, Sharing},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Outcome,
    intend::{Subject, journal},
};
use crate::{
    Error, Op, Result, Store, cluster,
    database::transaction,
    lease::{self, Fence},
    pause,
    row::{Row, to_json},
    wake,
};

/// A row of `ledger_rules` as `to_jsonb` writes it.
#[derive(Deserialize)]
pub(crate) struct RuleRow {
    security_group_id: String,
    permission: Permission,
    rule_id: Option<String>,
    state: String,
    clusters: BTreeSet<Uuid>,
    bindings: Option<BTreeSet<Uuid>>,
    changed_at: Timestamp,
    ambiguous_at: Option<Timestamp>,
}

impl TryFrom<RuleRow> for LedgerRule {
    type Error = Error;

    fn try_from(row: RuleRow) -> Result<Self> {
        let key = format!("{} {}", row.security_group_id, row.permission);
        let at = Row::new("ledger_rules", &key);
        let state: RuleState = at.word("state", &row.state)?;
        Ok(Self {
            rule: row.rule_id.map(|id| at.text("rule_id", &id)).transpose()?,
            permission: row.permission,
            state,
            clusters: row.clusters.into_iter().map(ClusterId).collect(),
            bindings: row
                .bindings
                .map(|bindings| bindings.into_iter().map(BindingId).collect()),
            changed_at: row.changed_at,
            ambiguous_at: row.ambiguous_at,
        })
    }
}

/// What became of a call, for one rule. A rule that was made has the id that AWS gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledRule {
    pub permission: Permission,
    pub rule: Option<SecurityGroupRuleId>,
    pub outcome: Outcome,
    /// AWS's name of the request, for its support and for CloudTrail; `None`: AWS did not answer.
    pub request_id: Option<String>,
}

impl Store {
    /// Our rules of a security group.
    pub async fn ledger_rules(&self, group: &SecurityGroupId) -> Result<Vec<LedgerRule>> {
        let query = sqlx::query_scalar!(
            r#"select to_jsonb(l) as "row!" from ledger_rules l where security_group_id = $1 order by permission"#,
            group.as_str(),
        );
        let rows = self.read(Op::Query, query.fetch_all(&self.pool)).await?;
        rows.into_iter()
            .map(|row| {
                Row::new("ledger_rules", group)
                    .json::<RuleRow>("row", row)?
                    .try_into()
            })
            .collect()
    }

    /// Makes steps of a rule plan durable: the journal's row (with the plan's first steps) and the rows of the ledger, in
    /// one transaction. [`Error::PlanStale`]: the ledger is not what the plan was made from.
    pub async fn intend_rules(
        &self,
        fence: &Fence,
        id: PlanId,
        plan: &RulePlan,
        steps: &[RuleStep],
    ) -> Result<()> {
        let body = to_json(plan);
        transaction!(self, Op::Intend, |tx| {
            lease::check(tx, fence).await?;
            let group = plan.security_group.as_str();
            pause::check_rules(tx, fence, group, steps).await?;
            journal(tx, fence, id, Subject::Rules(group), &body).await?;
            let rules = Rules { fence, id, group };
            for step in steps {
                let (wanted, written) = match step {
                    RuleStep::Authorize { rules: new } => (new.len(), rules.authorize(tx, new).await?),
                    RuleStep::Revoke { rules: old } => (old.len(), rules.revoke(tx, old).await?),
                    RuleStep::Confirm { rules: seen } => (seen.len(), rules.confirm(tx, seen).await?),
                    RuleStep::Share { rules: shared } => (shared.len(), rules.share(tx, shared).await?),
                    RuleStep::Forget { rules: gone } => (gone.len(), rules.forget(tx, gone).await?),
                    RuleStep::Relinquish {
                        rules: given,
                        bindings,
                    } => {
                        rules.give_up(tx, bindings).await?;
                        (given.len(), rules.forget(tx, given).await?)
                    }
                };
                if wanted as u64 != written {
                    return Err(Error::PlanStale {
                        subject: plan.security_group.to_string(),
                    });
                }
            }
            Ok(())
        })
        .await
    }

    /// Records what became of intents of a plan, and writes it into the journal with AWS's request ids and the `problem`
    /// that AWS stated. Rules that another plan has taken up since are passed over.
    pub async fn settle_rules(
        &self,
        fence: &Fence,
        id: PlanId,
        group: &SecurityGroupId,
        outcomes: &[SettledRule],
        problem: Option<&Problem>,
    ) -> Result<()> {
        let rows: Value = outcomes
            .iter()
            .map(|settled| {
                json!({
                    "permission": settled.permission,
                    "rule_id": settled.rule,
                    "outcome": settled.outcome.label(),
                })
            })
            .collect();
        let of = |wanted| {
            let outcomes = outcomes.iter().filter(|settled| settled.outcome == wanted);
            outcomes
                .map(|settled| settled.permission.to_string())
                .collect::<Vec<_>>()
        };
        // One request may have made or ended many rules.
        let mut requests: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for settled in outcomes {
            if let Some(request) = &settled.request_id {
                let rules = requests.entry((request, settled.outcome.label())).or_default();
                rules.push(settled.permission.to_string());
            }
        }
        let requests: Vec<_> = requests
            .into_iter()
            .map(|((id, outcome), rules)| json!({ "requestId": id, "outcome": outcome, "rules": rules }))
            .collect();
        let entry = json!({
            "acknowledged": of(Outcome::Acknowledged),
            "failed": of(Outcome::Failed),
            "ambiguous": of(Outcome::Ambiguous),
            "requests": requests,
            "problem": problem,
        });
        transaction!(self, Op::Settle, |tx| {
            lease::check(tx, fence).await?;
            // One statement: what each part sees is the state before.
            sqlx::query!(
                r#"
                with settled as (
                    select l.permission, l.state, l.former_state, new.rule_id, new.outcome
                    from jsonb_to_recordset($3) as new (permission jsonb, rule_id text, outcome text)
                    join ledger_rules l on l.security_group_id = $1 and l.permission = new.permission
                    where l.plan_id = $2 and l.state in ('authorizing', 'revoking')
                ), acknowledged as (
                    update ledger_rules l
                    set state = case l.state when 'authorizing' then 'authorized' else 'revoked' end,
                        rule_id = coalesce(s.rule_id, l.rule_id), former_state = null, changed_at = now()
                    from settled s
                    where l.security_group_id = $1 and l.permission = s.permission and s.outcome = 'acknowledged'
                ), ambiguous as (
                    update ledger_rules l set ambiguous_at = now()
                    from settled s
                    where l.security_group_id = $1 and l.permission = s.permission and s.outcome = 'ambiguous'
                ), undone as (
                    update ledger_rules l set state = s.former_state, former_state = null, changed_at = now()
                    from settled s
                    where l.security_group_id = $1 and l.permission = s.permission and s.outcome = 'failed'
                        and s.former_state is not null and l.ambiguous_at is null
                ), removed as (
                    delete from ledger_rules l using settled s
                    where l.security_group_id = $1 and l.permission = s.permission and s.outcome = 'failed'
                        and s.former_state is null and s.state = 'authorizing' and l.ambiguous_at is null
                )
                update plans set outcome = coalesce(outcome, '[]')
                    || jsonb_build_array(jsonb_build_object('at', clock_timestamp()) || jsonb_strip_nulls($4))
                where id = $2
                "#,
                group.as_str(),
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

/// One security group's rows, for one plan. Each method answers how many rules it wrote.
struct Rules<'a> {
    fence: &'a Fence,
    id: PlanId,
    group: &'a str,
}

impl Rules<'_> {
    async fn authorize(&self, connection: &mut PgConnection, rules: &[Authorization]) -> Result<u64> {
        let rows: Value = rules
            .iter()
            .map(|rule| {
                json!({ "permission": rule.permission, "clusters": rule.clusters, "bindings": rule.bindings })
            })
            .collect();
        let written = sqlx::query!(
            r#"
            insert into ledger_rules as old (security_group_id, permission, shard, state, clusters, bindings, plan_id)
            select $1, permission, $2, 'authorizing', clusters, bindings, $3
            from jsonb_to_recordset($4) as new (permission jsonb, clusters uuid[], bindings uuid[])
            on conflict (security_group_id, permission) do update
            set state = 'authorizing',
                former_state = case old.state when 'authorizing' then old.former_state else old.state end,
                -- An intent without an outcome: its writer died, and its call may have been sent.
                ambiguous_at = case
                    when old.state like '%ing' and old.changed_at > coalesce(old.ambiguous_at, '-infinity') then now()
                    else old.ambiguous_at
                end,
                clusters = excluded.clusters, bindings = excluded.bindings, plan_id = excluded.plan_id, changed_at = now()
            "#,
            self.group,
            self.fence.shard.to_string(),
            self.id.0,
            rows,
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    async fn revoke(&self, connection: &mut PgConnection, rules: &[Revocation]) -> Result<u64> {
        let rows: Value = rules
            .iter()
            .map(|rule| json!({ "permission": rule.permission, "rule_id": rule.rule }))
            .collect();
        let written = sqlx::query!(
            r#"
            update ledger_rules l
            set state = 'revoking',
                former_state = case l.state when 'revoking' then l.former_state else l.state end,
                ambiguous_at = case
                    when l.state like '%ing' and l.changed_at > coalesce(l.ambiguous_at, '-infinity') then now()
                    else l.ambiguous_at
                end,
                plan_id = $2, changed_at = now()
            from jsonb_to_recordset($3) as old (permission jsonb, rule_id text)
            where l.security_group_id = $1 and l.permission = old.permission and l.rule_id = old.rule_id
            "#,
            self.group,
            self.id.0,
            rows,
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    async fn confirm(&self, connection: &mut PgConnection, rules: &[Confirmation]) -> Result<u64> {
        let rows: Value = rules
            .iter()
            .map(|rule| json!({ "permission": rule.permission, "rule_id": rule.rule }))
            .collect();
        let written = sqlx::query!(
            r#"
            update ledger_rules l
            set state = 'authorized', former_state = null, rule_id = seen.rule_id, plan_id = $2, changed_at = now()
            from jsonb_to_recordset($3) as seen (permission jsonb, rule_id text)
            where l.security_group_id = $1 and l.permission = seen.permission
            "#,
            self.group,
            self.id.0,
            rows,
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    async fn share(&self, connection: &mut PgConnection, rules: &[Sharing]) -> Result<u64> {
        let rows: Value = rules
            .iter()
            .map(|rule| {
                json!({ "permission": rule.permission, "clusters": rule.clusters, "bindings": rule.bindings })
            })
            .collect();
        let written = sqlx::query!(
            r#"
            update ledger_rules l set clusters = new.clusters, bindings = new.bindings, plan_id = $2
            from jsonb_to_recordset($3) as new (permission jsonb, clusters uuid[], bindings uuid[])
            where l.security_group_id = $1 and l.permission = new.permission
            "#,
            self.group,
            self.id.0,
            rows,
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    /// The openings of bindings that keep what they have and are no longer ours to follow. Their rows can go then.
    async fn give_up(&self, connection: &mut PgConnection, bindings: &BTreeSet<BindingId>) -> Result<()> {
        let ids: Vec<_> = bindings.iter().map(|binding| binding.0).collect();
        let arns = sqlx::query_scalar!(
            r#"
            with given as (
                delete from openings where security_group_id = $1 and binding_id = any($2) returning binding_id
            )
            select distinct b.target_group_arn as "arn!" from given join bindings b on b.id = given.binding_id
            where b.target_group_arn is not null
            "#,
            self.group,
            &ids,
        )
        .fetch_all(&mut *connection)
        .await?;
        wake::groups(connection, arns).await
    }

    async fn forget(&self, connection: &mut PgConnection, rules: &[Permission]) -> Result<u64> {
        let permissions: Vec<_> = rules.iter().map(to_json).collect();
        let served = sqlx::query_scalar!(
            "delete from ledger_rules where security_group_id = $1 and permission = any($2) returning clusters",
            self.group,
            &permissions,
        )
        .fetch_all(&mut *connection)
        .await?;
        // A cluster that leaves stays until its last rule has gone.
        for cluster in served.iter().flatten().collect::<BTreeSet<_>>() {
            cluster::forget_left(connection, ClusterId(*cluster)).await?;
        }
        Ok(served.len() as u64)
    }
}
