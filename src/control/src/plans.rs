//! Plans: the journal, and what would be done now.

use model::{Name, Observed, PlanId, plan::Plan};
use planner::{BindingInput, ClusterView, Input};
use store::{BoundService, GroupSnapshot, JournaledPlan, Observation};

use crate::{Control, Error, Listing, Page, Principal, view::PlanView};

impl Control {
    /// The journal of a target group, the newest first.
    pub async fn list_plans(
        &self,
        principal: &Principal,
        target_group: &Name,
        page: &Page,
    ) -> Result<Listing<PlanView>, Error> {
        principal.read("list plans")?;
        let after = page.after::<PlanId>()?;
        let group = self.target_group(target_group).await?;
        let plans = self.store.plans(&group.spec.arn, after, page.rows()).await?;
        Ok(page.cut(plans, |plan| plan.id.to_string()).map(Into::into))
    }

    pub async fn get_plan(&self, principal: &Principal, id: PlanId) -> Result<PlanView, Error> {
        principal.read("read plans")?;
        Ok(self
            .store
            .plan(id)
            .await?
            .ok_or_else(|| Error::not_found("plan", &id))?
            .into())
    }

    /// What would be done now, on what is stored: AWS is not asked, and what it said may be out of date.
    pub async fn preview_plan(&self, principal: &Principal, target_group: &Name) -> Result<Plan, Error> {
        principal.read("preview plans")?;
        let group = self.target_group(target_group).await?;
        let guards = &self.settings.guards;
        let snapshot = self.store.group(&group.spec.arn, guards.window * 2).await?;
        let observation = self.store.observation(&group.spec.arn).await?;
        Ok(planner::plan(&input(snapshot, observation, guards.clone())))
    }
}

fn input(snapshot: GroupSnapshot, observation: Option<Observation>, guards: model::guard::Guards) -> Input {
    let GroupSnapshot {
        now,
        arn,
        restored,
        declared,
        bindings,
        ledger,
        removals,
        released,
    } = snapshot;
    let (facts, targets) = match observation {
        Some(Observation {
            facts,
            targets,
            changed_at: _,
        }) => (facts, targets),
        None => (Observed::Unknown, Observed::Unknown),
    };
    Input {
        now,
        guards,
        restored,
        // Whose turn it is to write is the loop's affair.
        fenced_until: None,
        arn,
        declared,
        facts,
        targets,
        bindings: bindings.into_iter().map(binding).collect(),
        ledger,
        removals,
        released,
        failure: None,
    }
}

fn binding(bound: BoundService) -> BindingInput {
    let BoundService {
        binding,
        cluster,
        last_seen,
        facts,
    } = bound;
    let cluster = ClusterView {
        id: cluster.id,
        name: cluster.name,
        mode: cluster.spec.mode,
        shard: cluster.spec.shard(),
        vpc_id: cluster.spec.vpc_id,
        last_seen,
    };
    BindingInput {
        binding,
        cluster,
        facts,
    }
}

impl From<JournaledPlan> for PlanView {
    fn from(plan: JournaledPlan) -> Self {
        let JournaledPlan {
            id,
            at,
            epoch,
            plan,
            outcome,
        } = plan;
        Self {
            id,
            epoch,
            at,
            plan,
            outcome,
        }
    }
}
