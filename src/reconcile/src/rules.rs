//! One pass over one security group: gather → plan → apply, until there is no step, then report.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws::{Certainty, Deadline, ErrorClass, RuleOutcome, budget::Permit};
use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, Observed, PlanId, SecurityGroupId,
    condition::Problem,
    network::{BoundOpening, INSTALLATION_TAG, ObservedRule, Permission, Standing},
    plan::Observe,
    rule_plan::{Authorization, RulePlan, RuleStep, WhyAuthorize},
};
use planner::network::{RuleInput, plan};
use runtime::backoff::Backoff;
use store::{Outcome, SettledRule};

use crate::{
    memory,
    pass::{Context, Error, ROUNDS},
    turn::{Turn, Waited},
};

/// How long a limit counts that AWS showed by a refusal below the one that is set; then it is tried again.
const LEARNED_FOR: SignedDuration = SignedDuration::from_secs(30);

/// What is remembered of one security group between passes. All of it can be lost.
#[derive(Debug)]
pub(crate) struct RuleMemory {
    rules: Observed<Vec<ObservedRule>>,
    /// AWS contradicted what it said before: it must be asked again.
    stale: bool,
    refused: BTreeMap<Permission, Problem>,
    failure: Option<Problem>,
    /// At how many rules AWS said that the group is full.
    limit: Option<(Timestamp, usize)>,
    /// AWS said so, and the rules must be counted.
    is_full: bool,
    pub(crate) backoff: Backoff,
    /// What was reported last, and about which openings: the same is not written again.
    reported: (Vec<BoundOpening>, BTreeMap<BindingId, Standing>),
    /// What was last stored as left to do.
    outlook: Option<RulePlan>,
}

impl Default for RuleMemory {
    fn default() -> Self {
        Self {
            rules: Observed::Unknown,
            stale: false,
            refused: BTreeMap::new(),
            failure: None,
            limit: None,
            is_full: false,
            backoff: memory::backoff(),
            reported: (Vec::new(), BTreeMap::new()),
            outlook: None,
        }
    }
}

impl Context {
    /// Looks at the security group and does what follows. Returns when time alone may change the plan.
    pub(crate) async fn rule_pass(
        &self,
        group: &SecurityGroupId,
        memory: &mut RuleMemory,
        turn: &mut Turn,
    ) -> Result<Option<Duration>, Error> {
        let mut observed = false;
        for _ in 0..ROUNDS {
            let mut input = self.gather_rules(group, memory).await?;
            let mut planned = plan(&input);
            if memory.stale || !observed && self.should_observe_rules(&input, &planned) {
                observed = true;
                self.observe_rules(group, memory).await?;
                continue;
            }
            if planned.steps.is_empty() {
                self.report_rules(&input, &planned, memory).await?;
                return Ok(memory::wake_in(input.stored.now, planned.wake_at));
            }
            let mut permit = None;
            if planned.steps.iter().any(RuleStep::writes_aws) {
                match turn.rest(self.client.rule_permit(group)).await {
                    Waited::AtOnce(granted) => permit = Some(granted),
                    Waited::Later(granted) => {
                        permit = Some(granted);
                        // What changed meanwhile joins the call.
                        input = self.gather_rules(group, memory).await?;
                        planned = plan(&input);
                    }
                    Waited::Woken | Waited::Stopped => return Ok(None),
                }
            }
            if self.apply_rules(&input, &planned, permit, memory).await? {
                memory.backoff.reset();
            } else if !memory.stale {
                let input = self.gather_rules(group, memory).await?;
                self.report_rules(&input, &plan(&input), memory).await?;
                return Ok(Some(memory.backoff.next_delay()));
            }
        }
        Ok(Some(memory.backoff.next_delay()))
    }

    async fn gather_rules(&self, group: &SecurityGroupId, memory: &RuleMemory) -> Result<RuleInput, Error> {
        let stored = self.store.security_group(&self.fence.shard, group).await?;
        let learned = memory
            .limit
            .filter(|(at, _)| stored.now.duration_since(*at) < LEARNED_FOR);
        let limit = self.settings.rules_per_security_group;
        Ok(RuleInput {
            stored,
            guards: self.settings.guards.clone(),
            limit: learned.map_or(limit, |(_, learned)| limit.min(learned)),
            fenced_until: self.fenced_until,
            rules: memory.rules.clone(),
            refused: memory.refused.clone(),
            failure: memory.failure.clone(),
        })
    }

    fn should_observe_rules(&self, input: &RuleInput, plan: &RulePlan) -> bool {
        let of_interest = !input.stored.openings.is_empty() || !input.stored.ledger.is_empty();
        let age = SignedDuration::try_from(self.settings.observe_every).unwrap_or(SignedDuration::MAX);
        match plan.observe {
            Some(Observe::First | Observe::Verify) => true,
            None => {
                of_interest
                    && plan.steps.is_empty()
                    && input.rules.at().is_none_or(|at| at < input.stored.now - age)
            }
        }
    }

    async fn observe_rules(&self, group: &SecurityGroupId, memory: &mut RuleMemory) -> Result<(), Error> {
        match self.client.rules(group).await {
            Ok(rules) => {
                if memory.is_full
                    && let Observed::Present { at, value } = &rules
                {
                    memory.limit = Some((*at, value.len()));
                }
                memory.is_full = false;
                memory.stale = false;
                memory.failure = None;
                memory.rules = rules;
                Ok(())
            }
            Err(error) => {
                // A failed read leaves what was seen before: it says nothing, in particular not that nothing is there.
                memory.failure = Some(error.problem());
                let input = self.gather_rules(group, memory).await?;
                self.report_rules(&input, &plan(&input), memory).await?;
                Err(error.into())
            }
        }
    }

    /// Applies the plan in its order: permit, intent, call, outcome. `false`: AWS did not acknowledge everything, and
    /// what came after it was left for later.
    async fn apply_rules(
        &self,
        input: &RuleInput,
        plan: &RulePlan,
        mut permit: Option<Permit>,
        memory: &mut RuleMemory,
    ) -> Result<bool, Error> {
        let id = Self::plan_id();
        let mut intended = Vec::new();
        for step in &plan.steps {
            intended.push(step.clone());
            if !step.writes_aws() {
                continue;
            }
            let leave = match permit.take() {
                Some(permit) => permit,
                None => self.client.rule_permit(&plan.security_group).await,
            };
            self.store.intend_rules(&self.fence, id, plan, &intended).await?;
            intended.clear();
            let outcomes = self.call_rules(input, step, leave).await;
            if !self.settle_rules(id, plan, outcomes, memory).await? {
                return Ok(false);
            }
        }
        if !intended.is_empty() {
            self.store.intend_rules(&self.fence, id, plan, &intended).await?;
        }
        Ok(true)
    }

    async fn call_rules(&self, input: &RuleInput, step: &RuleStep, permit: Permit) -> Vec<RuleOutcome> {
        let deadline = Deadline(*self.deadline.borrow());
        let group = &input.stored.group;
        match step {
            RuleStep::Authorize { rules } => {
                let drifted = rules.iter().filter(|rule| rule.why == WhyAuthorize::Drifted);
                self.metrics.drifted_rules(drifted.count());
                // One call has one set of tags.
                let mut calls: BTreeMap<&BTreeSet<ClusterId>, Vec<&Authorization>> = BTreeMap::new();
                for rule in rules {
                    calls.entry(&rule.clusters).or_default().push(rule);
                }
                let mut permit = Some(permit);
                let mut outcomes = Vec::new();
                for (clusters, rules) in calls {
                    let leave = match permit.take() {
                        Some(permit) => permit,
                        None => self.client.rule_permit(group).await,
                    };
                    let lines: Vec<_> = rules
                        .iter()
                        .map(|rule| (rule.permission.clone(), rule.description.clone()))
                        .collect();
                    let tags = tags(input, clusters);
                    outcomes.extend(self.client.authorize(leave, group, &lines, &tags, deadline).await);
                }
                outcomes
            }
            RuleStep::Revoke { rules } => {
                let lines: Vec<_> = rules
                    .iter()
                    .map(|rule| (rule.permission.clone(), rule.rule.clone()))
                    .collect();
                self.client.revoke(permit, group, &lines, deadline).await
            }
            RuleStep::Forget { .. }
            | RuleStep::Confirm { .. }
            | RuleStep::Share { .. }
            | RuleStep::Relinquish { .. } => Vec::new(),
        }
    }

    async fn settle_rules(
        &self,
        id: PlanId,
        plan: &RulePlan,
        outcomes: Vec<RuleOutcome>,
        memory: &mut RuleMemory,
    ) -> Result<bool, Error> {
        let group = &plan.security_group;
        let mut settled = Vec::new();
        let mut first = None;
        for RuleOutcome { permission, result } in outcomes {
            let (rule, outcome, request_id) = match result {
                Ok((rule, aws::Receipt { request_id })) => {
                    tracing::info!(plan = %id, security_group = %group, rule = %permission, id = %rule, request_id, "AWS acknowledged a write");
                    memory.refused.remove(&permission);
                    (Some(rule), Outcome::Acknowledged, request_id)
                }
                Err(failure) => {
                    tracing::warn!(plan = %id, security_group = %group, rule = %permission, request_id = failure.request_id, %failure, "AWS did not acknowledge a write");
                    memory.stale |= failure.class == ErrorClass::PartlyDone;
                    memory.is_full |= failure.class == ErrorClass::QuotaReached;
                    let problem = failure.problem();
                    memory.refused.insert(permission.clone(), problem.clone());
                    first = first.or(Some(problem));
                    let outcome = match failure.certainty {
                        Certainty::NotApplied => Outcome::Failed,
                        Certainty::Ambiguous => Outcome::Ambiguous,
                    };
                    (None, outcome, failure.request_id)
                }
            };
            settled.push(SettledRule {
                permission,
                rule,
                outcome,
                request_id,
            });
        }
        // How many there are tells at which number the group is full.
        memory.stale |= memory.is_full && memory.limit.is_none();
        self.store
            .settle_rules(&self.fence, id, group, &settled, first.as_ref())
            .await?;
        Ok(first.is_none())
    }

    /// Tells what became of the openings, and what is left to do.
    async fn report_rules(
        &self,
        input: &RuleInput,
        plan: &RulePlan,
        memory: &mut RuleMemory,
    ) -> Result<(), Error> {
        let reported = (input.stored.openings.clone(), plan.standings.clone());
        if memory.reported != reported {
            self.store
                .report_openings(&self.fence, &plan.security_group, &plan.standings)
                .await?;
            memory.reported = reported;
        }
        if input.stored.openings.is_empty() && input.stored.ledger.is_empty() {
            memory.outlook = None;
            self.store
                .write_outlook(&self.fence, &plan.security_group, None)
                .await?;
            return Ok(());
        }
        let outlook = RulePlan {
            // It moves with the clock.
            wake_at: None,
            // With the openings.
            standings: BTreeMap::new(),
            ..plan.clone()
        };
        if memory.outlook.as_ref() != Some(&outlook) {
            self.store
                .write_outlook(&self.fence, &plan.security_group, Some(&outlook))
                .await?;
            memory.outlook = Some(outlook);
        }
        // What nobody asks for any more was not refused.
        let asked = |rule: &Permission| {
            let openings = input.stored.openings.iter();
            openings
                .flat_map(|opening| &opening.permissions)
                .any(|permission| rule.covers(permission))
        };
        memory.refused.retain(|rule, _| asked(rule));
        Ok(())
    }
}

/// Whose a rule is, for people and their tools, and that it is ours.
fn tags(input: &RuleInput, clusters: &BTreeSet<ClusterId>) -> BTreeMap<String, String> {
    let clusters = clusters.iter().filter_map(|id| input.stored.clusters.get(id));
    let mut tags: BTreeMap<_, _> = clusters
        .map(|cluster| (cluster.aws_tag(), "owned".to_owned()))
        .collect();
    tags.insert(INSTALLATION_TAG.to_owned(), input.stored.installation.to_string());
    tags
}
