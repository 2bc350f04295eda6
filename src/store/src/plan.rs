//! The journal of plans, for reading. `ledger` writes it.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use model::{
    Name, PlanId, SecurityGroupId, TargetGroupArn, managed::GroupPlan, plan::Plan, rule_plan::RulePlan,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Error, Op, Result, Store,
    ledger::Subject,
    row::{self, Row},
};

/// A plan that was carried out, or begun: of what is in a target group, of a managed group itself, or of the rules of a
/// security group.
#[derive(Clone, Debug, PartialEq)]
pub struct JournaledPlan<P = Plan> {
    pub id: PlanId,
    pub at: Timestamp,
    /// The writer's lease.
    pub epoch: u64,
    pub plan: P,
    /// One entry per settled call: the targets by outcome, and what AWS stated. `None`: nothing is known yet.
    pub outcome: Option<Value>,
}

struct PlanRow {
    id: Uuid,
    at: SqlTimestamp,
    epoch: i64,
    body: Value,
    outcome: Option<Value>,
}

impl<P: DeserializeOwned> TryFrom<PlanRow> for JournaledPlan<P> {
    type Error = Error;

    fn try_from(row: PlanRow) -> Result<Self> {
        let at = Row::new("plans", &row.id);
        Ok(Self {
            id: PlanId(row.id),
            at: row.at.to_jiff(),
            epoch: at.number("epoch", row.epoch)?,
            plan: at.json("body", row.body)?,
            outcome: row.outcome,
        })
    }
}

impl Store {
    /// The last plans of a group, newest first; `after` = the last id of the page before.
    pub async fn plans(
        &self,
        arn: &TargetGroupArn,
        after: Option<PlanId>,
        limit: u32,
    ) -> Result<Vec<JournaledPlan>> {
        self.journaled(Subject::Targets(arn.to_string().as_str()), after, limit)
            .await
    }

    /// The last plans of a security group's rules; as [`plans`](Self::plans).
    pub async fn rule_plans(
        &self,
        group: &SecurityGroupId,
        after: Option<PlanId>,
        limit: u32,
    ) -> Result<Vec<JournaledPlan<RulePlan>>> {
        self.journaled(Subject::Rules(group.as_str()), after, limit).await
    }

    /// The last plans of a managed group itself; as [`plans`](Self::plans). They outlive the group.
    pub async fn group_plans(
        &self,
        name: &Name,
        after: Option<PlanId>,
        limit: u32,
    ) -> Result<Vec<JournaledPlan<GroupPlan>>> {
        self.journaled(Subject::Group(name.as_str()), after, limit).await
    }

    async fn journaled<P: DeserializeOwned>(
        &self,
        subject: Subject<'_>,
        after: Option<PlanId>,
        limit: u32,
    ) -> Result<Vec<JournaledPlan<P>>> {
        let (arn, security_group, managed_group) = subject.columns();
        let query = sqlx::query_as!(
            PlanRow,
            r#"
            select id, at as "at: SqlTimestamp", epoch, body, outcome from plans
            where (target_group_arn = $1 or security_group_id = $4 or managed_group = $5)
                and ($2::uuid is null or (at, id) < (select last.at, last.id from plans last where last.id = $2))
            order by at desc, id desc limit $3
            "#,
            arn,
            after.map(|id| id.0),
            row::limit(limit),
            security_group,
            managed_group,
        );
        self.read(Op::Query, query.fetch_all(&self.pool))
            .await?
            .into_iter()
            .map(TryInto::try_into)
            .collect()
    }

    /// A plan of a target group.
    pub async fn plan(&self, id: PlanId) -> Result<Option<JournaledPlan>> {
        let query = sqlx::query_as!(
            PlanRow,
            r#"select id, at as "at: SqlTimestamp", epoch, body, outcome from plans
                where id = $1 and target_group_arn is not null"#,
            id.0,
        );
        self.read(Op::Query, query.fetch_optional(&self.pool))
            .await?
            .map(TryInto::try_into)
            .transpose()
    }
}
