//! Intents: durable before the call to AWS that they announce.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{
    PlanId, TargetGroupArn, TargetKey,
    fact::Evidence,
    ledger::Ground,
    plan::{Addition, MarkKey, Plan, Step, Subtraction},
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{
    Error, Op, Result, Store,
    database::transaction,
    lease::{self, Fence},
    pause,
    row::{to_bigint, to_json},
};

/// What a plan is of.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// Those of the target group of this ARN.
    Targets(&'a str),
    /// Those of the security group of this id.
    Rules(&'a str),
    /// The managed target group that is declared by this name.
    Group(&'a str),
}

impl<'a> Subject<'a> {
    /// The columns of `plans` that say so: `target_group_arn`, `security_group_id`, `managed_group`.
    pub(crate) fn columns(self) -> (Option<&'a str>, Option<&'a str>, Option<&'a str>) {
        match self {
            Self::Targets(arn) => (Some(arn), None, None),
            Self::Rules(id) => (None, Some(id), None),
            Self::Group(name) => (None, None, Some(name)),
        }
    }
}

/// How many plans of a group the journal keeps.
const JOURNAL: i64 = 50;

impl Store {
    /// Makes steps of a plan durable: the journal's row (with the plan's first steps), the rows of the ledger and the
    /// plan's marks, in one transaction. [`Error::PlanStale`]: the ledger is not what the plan was made from.
    /// [`Error::Paused`]: an operator has stopped what the steps write.
    pub async fn intend(&self, fence: &Fence, id: PlanId, plan: &Plan, steps: &[Step]) -> Result<()> {
        let arn = plan.target_group.to_string();
        let body = to_json(plan);
        transaction!(self, Op::Intend, |tx| {
            lease::check_group(tx, fence, &plan.target_group).await?;
            pause::check(tx, fence, &plan.target_group, steps).await?;
            if journal(tx, fence, id, Subject::Targets(&arn), &body).await? {
                mark(tx, &arn, &plan.marks).await?;
            }
            let group = Group { fence, id, arn: &arn };
            for step in steps {
                let (wanted, written) = match step {
                    Step::Register { targets } => (targets.len(), group.register(tx, targets).await?),
                    Step::Claim { targets } => (targets.len(), group.claim(tx, targets).await?),
                    Step::Deregister { targets } => (targets.len(), group.deregister(tx, targets).await?),
                    Step::Forget { targets } => (targets.len(), group.forget(tx, targets).await?),
                    Step::Unbind { targets } => (targets.len(), group.unbind(tx, targets).await?),
                };
                if wanted as u64 != written {
                    return Err(Error::PlanStale {
                        subject: plan.target_group.to_string(),
                    });
                }
            }
            Ok(())
        })
        .await
    }

    /// Writes hold-downs that begin or end, for a plan that has nothing else to write.
    pub async fn apply_marks(
        &self,
        fence: &Fence,
        arn: &TargetGroupArn,
        marks: &BTreeMap<MarkKey, Option<Timestamp>>,
    ) -> Result<()> {
        if marks.is_empty() {
            return Ok(());
        }
        transaction!(self, Op::Marks, |tx| {
            lease::check_group(tx, fence, arn).await?;
            mark(tx, &arn.to_string(), marks).await
        })
        .await
    }
}

/// Whether the plan is new to the journal.
pub(super) async fn journal(
    connection: &mut PgConnection,
    fence: &Fence,
    id: PlanId,
    subject: Subject<'_>,
    body: &Value,
) -> Result<bool> {
    let (arn, security_group, managed_group) = subject.columns();
    let inserted = sqlx::query!(
        r#"
        with old as (
            delete from plans
            where id in (
                select id from plans where target_group_arn = $2 or security_group_id = $7 or managed_group = $8
                order by at desc, id desc offset $6
            )
        )
        insert into plans (id, target_group_arn, shard, epoch, body, security_group_id, managed_group)
        values ($1, $2, $3, $4, $5, $7, $8)
        on conflict (id) do nothing
        "#,
        id.0,
        arn,
        fence.shard.to_string(),
        to_bigint(fence.epoch),
        body,
        JOURNAL - 1,
        security_group,
        managed_group,
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn mark(
    connection: &mut PgConnection,
    arn: &str,
    marks: &BTreeMap<MarkKey, Option<Timestamp>>,
) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = marks
        .iter()
        .map(
            |(MarkKey(key), since)| json!({ "target_id": key.id, "port": key.port, "unwanted_since": since }),
        )
        .collect();
    sqlx::query!(
        r#"
        update ledger_targets l set unwanted_since = new.unwanted_since
        from jsonb_to_recordset($2) as new (target_id text, port integer, unwanted_since timestamptz)
        where l.target_group_arn = $1 and l.target_id = new.target_id and l.port = new.port
            and l.unwanted_since is distinct from new.unwanted_since
        "#,
        arn,
        Value::from(rows),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One group's rows, for one plan. Each method answers how many targets it wrote.
struct Group<'a> {
    fence: &'a Fence,
    id: PlanId,
    arn: &'a str,
}

impl Group<'_> {
    async fn register(&self, connection: &mut PgConnection, targets: &[Addition]) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            insert into ledger_targets as old
                (target_group_arn, target_id, port, shard, zone, state, claimed, bindings, pod, plan_id)
            select $1, target_id, port, $2, zone, 'registering', false, bindings, pod, $3
            from jsonb_to_recordset($4) as new (target_id text, port integer, zone text, bindings uuid[], pod jsonb)
            on conflict (target_group_arn, target_id, port) do update
            set state = 'registering',
                former_state = case old.state when 'registering' then old.former_state else old.state end,
                -- An intent without an outcome: its writer died, and its call may have been sent.
                ambiguous_at = case
                    when old.state like '%ing' and old.changed_at > coalesce(old.ambiguous_at, '-infinity') then now()
                    else old.ambiguous_at
                end,
                zone = excluded.zone, bindings = excluded.bindings, pod = excluded.pod, plan_id = excluded.plan_id,
                changed_at = now(), unwanted_since = null
            "#,
            self.arn,
            self.fence.shard.to_string(),
            self.id.0,
            additions(targets),
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    /// Only what is not ours yet can be claimed.
    async fn claim(&self, connection: &mut PgConnection, targets: &[Addition]) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            insert into ledger_targets
                (target_group_arn, target_id, port, shard, zone, state, claimed, bindings, pod, plan_id)
            select $1, target_id, port, $2, zone, 'registered', true, bindings, pod, $3
            from jsonb_to_recordset($4) as new (target_id text, port integer, zone text, bindings uuid[], pod jsonb)
            on conflict (target_group_arn, target_id, port) do nothing
            "#,
            self.arn,
            self.fence.shard.to_string(),
            self.id.0,
            additions(targets),
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }

    /// A removal that is tried again is not counted again.
    async fn deregister(&self, connection: &mut PgConnection, targets: &[Subtraction]) -> Result<u64> {
        let rows: Vec<_> = targets
            .iter()
            .map(|Subtraction { target, ground }| {
                json!({ "target_id": target.key.id, "port": target.key.port, "ground": ground })
            })
            .collect();
        let written = sqlx::query_scalar!(
            r#"
            with new as (
                select * from jsonb_to_recordset($3) as new (target_id text, port integer, ground jsonb)
            ), live as (
                select count(*) as targets from ledger_targets
                where target_group_arn = $1 and state in ('registering', 'registered')
            ), before as (
                select l.target_id, l.port, l.state, new.ground
                from ledger_targets l join new on new.target_id = l.target_id and new.port = l.port
                where l.target_group_arn = $1
            ), counted as (
                insert into ledger_removals (target_group_arn, target_id, port, ground, live_before, plan_id)
                select $1, target_id, port, ground, live.targets, $2 from before, live where state <> 'deregistering'
            ), old as (
                delete from ledger_removals where target_group_arn = $1 and at < now() - interval '1 hour'
            ), written as (
                update ledger_targets l
                set state = 'deregistering',
                    former_state = case l.state when 'deregistering' then l.former_state else l.state end,
                    ambiguous_at = case
                        when l.state like '%ing' and l.changed_at > coalesce(l.ambiguous_at, '-infinity') then now()
                        else l.ambiguous_at
                    end,
                    plan_id = $2, changed_at = now()
                from before
                where l.target_group_arn = $1 and l.target_id = before.target_id and l.port = before.port
                returning 1
            )
            select count(*) as "count!" from written
            "#,
            self.arn,
            self.id.0,
            Value::from(rows),
        )
        .fetch_one(connection)
        .await?;
        Ok(written.unsigned_abs())
    }

    async fn forget(&self, connection: &mut PgConnection, targets: &[TargetKey]) -> Result<u64> {
        let rows: Vec<_> = targets
            .iter()
            .map(|key| json!({ "target_id": key.id, "port": key.port }))
            .collect();
        let written = sqlx::query_scalar!(
            r#"
            with gone as (
                delete from ledger_targets l
                using jsonb_to_recordset($2) as old (target_id text, port integer)
                where l.target_group_arn = $1 and l.target_id = old.target_id and l.port = old.port
                returning l.*
            ), ended as (
                -- The pod was still there to serve what AWS lets it.
                insert into drains (target_group_arn, target_id, port, shard, object, pod, since)
                select distinct on (g.target_id, g.port) $1, g.target_id, g.port, g.shard,
                    c.name || '/' || b.namespace || '/' || b.name, g.pod, g.changed_at
                from gone g
                join bindings b on b.id = any(g.bindings)
                join clusters c on c.id = b.cluster_id
                where g.state = 'deregistered' and g.pod is not null and (
                    select r.ground from ledger_removals r
                    where r.target_group_arn = $1 and r.target_id = g.target_id and r.port = g.port
                    order by r.at desc limit 1
                ) = $3
                order by g.target_id, g.port, b.id
                on conflict (target_group_arn, target_id, port) do update
                set object = excluded.object, pod = excluded.pod, since = excluded.since
            )
            select count(*) as "count!" from gone
            "#,
            self.arn,
            Value::from(rows),
            to_json(&Ground::Proven(Evidence::Terminating)),
        )
        .fetch_one(connection)
        .await?;
        Ok(written.unsigned_abs())
    }

    async fn unbind(&self, connection: &mut PgConnection, targets: &[Addition]) -> Result<u64> {
        let written = sqlx::query!(
            r#"
            update ledger_targets l set bindings = new.bindings, pod = coalesce(new.pod, l.pod), plan_id = $2
            from jsonb_to_recordset($3) as new (target_id text, port integer, bindings uuid[], pod jsonb)
            where l.target_group_arn = $1 and l.target_id = new.target_id and l.port = new.port
            "#,
            self.arn,
            self.id.0,
            additions(targets),
        )
        .execute(connection)
        .await?;
        Ok(written.rows_affected())
    }
}

fn additions(targets: &[Addition]) -> Value {
    targets
        .iter()
        .map(
            |Addition {
                 target,
                 bindings,
                 pod,
                 why: _,
             }| {
                json!({
                    "target_id": target.key.id,
                    "port": target.key.port,
                    "zone": target.zone.as_ref().map(ToString::to_string),
                    "bindings": bindings,
                    "pod": pod,
                })
            },
        )
        .collect()
}
