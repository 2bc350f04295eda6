//! Plans: the journal, and what would be done now.

use model::{Name, PlanId, TargetGroupArn, plan::Plan, target_group::TargetGroup};
use planner::{Circumstances, Input, Seen};
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
        let group = self.whole_target_group(principal, target_group).await?;
        let plans = self.store.plans(&group.spec.arn, after, page.rows()).await?;
        Ok(page.cut(plans, |plan| plan.id.to_string()).map(Into::into))
    }

    pub async fn get_plan(&self, principal: &Principal, id: PlanId) -> Result<PlanView, Error> {
        principal.read("read plans")?;
        let plan = self.store.plan(id).await?;
        let plan = plan.ok_or_else(|| Error::not_found("plan", &id))?;
        if self.sees_whole(principal, &plan.plan.target_group).await? {
            Ok(plan.into())
        } else {
            Err(Error::not_found("plan", &id))
        }
    }

    /// Whether nothing of the group is anybody's whom the caller may not know of: its plans name pods and bindings.
    pub(crate) async fn sees_whole(
        &self,
        principal: &Principal,
        arn: &TargetGroupArn,
    ) -> Result<bool, Error> {
        if principal.scope.is_none() {
            return Ok(true);
        }
        let group = self.store.target_group_by_arn(arn).await?;
        Ok(group.is_some_and(|group| principal.sees_all_of(&group.spec)))
    }

    async fn whole_target_group(&self, principal: &Principal, name: &Name) -> Result<TargetGroup, Error> {
        let group = self.target_group_for(principal, name).await?;
        if principal.sees_all_of(&group.spec) {
            return Ok(group);
        }
        Err(Error::OutOfScope {
            principal: principal.name.clone(),
            action: "read the plans of a target group that others share",
        })
    }

    /// What would be done now, on what is stored: AWS is not asked, and what it said may be out of date.
    pub async fn preview_plan(&self, principal: &Principal, target_group: &Name) -> Result<Plan, Error> {
        principal.read("preview plans")?;
        let group = self.whole_target_group(principal, target_group).await?;
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
        let circumstances = Circumstances {
            // Whose turn it is to write is the loop's affair.
            fenced_until: None,
            frozen: planner::is_frozen(&self.store.fleet().await?, guards),
        };
        Ok(Input::new(snapshot, seen, guards.clone(), circumstances))
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
