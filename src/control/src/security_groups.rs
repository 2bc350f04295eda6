//! Security groups: what bindings need open, which rules are ours, and what is left to do.

use model::{PlanId, SecurityGroupId, rule_plan::RulePlan};
use store::{JournaledPlan, SecurityGroupState};

use crate::{Control, Error, Listing, Page, Principal};

impl Control {
    /// The security groups in which anything of ours is or is to be. Each is of many clusters at once, so that they are
    /// for those who may see all.
    pub async fn list_security_groups(
        &self,
        principal: &Principal,
        page: &Page,
    ) -> Result<Listing<SecurityGroupState>, Error> {
        principal.read_all("list security groups")?;
        let after = page.after::<SecurityGroupId>()?;
        let states = self
            .store
            .security_group_states(after.as_ref(), page.rows())
            .await?;
        Ok(page.cut(states, |state| state.id.to_string()))
    }

    pub async fn get_security_group(
        &self,
        principal: &Principal,
        id: &SecurityGroupId,
    ) -> Result<SecurityGroupState, Error> {
        principal.read_all("read security groups")?;
        let state = self.store.security_group_state(id).await?;
        state.ok_or_else(|| Error::not_found("security group", id))
    }

    /// The journal of a security group's rules, the newest first.
    pub async fn list_rule_plans(
        &self,
        principal: &Principal,
        id: &SecurityGroupId,
        page: &Page,
    ) -> Result<Listing<JournaledPlan<RulePlan>>, Error> {
        principal.read_all("list plans of rules")?;
        let after = page.after::<PlanId>()?;
        let plans = self.store.rule_plans(id, after, page.rows()).await?;
        Ok(page.cut(plans, |plan| plan.id.to_string()))
    }
}
