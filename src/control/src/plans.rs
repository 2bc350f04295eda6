//! Plans: the journal, and what would be done now.

use model::{Name, PlanId, TargetGroupArn, plan::Plan};
use planner::{Input, Seen};
use store::JournaledPlan;

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
        Ok(planner::plan(&self.input(&group.spec.arn).await?))
    }

    /// What a plan is made from now, on what is stored.
    pub(crate) async fn input(&self, arn: &TargetGroupArn) -> Result<Input, Error> {
        let guards = &self.settings.guards;
        let snapshot = self.store.group(arn, guards.window * 2).await?;
        let observation = self.store.observation(arn).await?;
        let seen = observation.map_or_else(Seen::default, |observation| Seen {
            facts: observation.facts,
            targets: observation.targets,
            failure: None,
        });
        // Whose turn it is to write is the loop's affair.
        Ok(Input::new(snapshot, seen, guards.clone(), None))
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
