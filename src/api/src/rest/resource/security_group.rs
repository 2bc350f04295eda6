//! Security groups and the plans of their rules.

use std::collections::BTreeSet;

use control::{AskedOpening, JournaledPlan, SecurityGroupState};
use jiff::Timestamp;
use model::{
    BindingId, ClusterId, PlanId, SecurityGroupId, Shard,
    network::{LedgerRule, Permission as ModelPermission, SecurityGroupRuleId, Standing},
    pause::Pause,
    rule_plan::{
        Authorization, Confirmation, Revocation, RuleHold as ModelHold, RulePlan as ModelPlan,
        RuleStep as ModelStep, Sharing, Widening as ModelWidening,
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use super::word;

/// A security group in which bindings need something open, or rules are Elbow's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct SecurityGroup {
    #[schema(value_type = String)]
    id: SecurityGroupId,
    /// The shard that owns it: `partition/account/region`.
    #[schema(value_type = String)]
    shard: Shard,
    openings: Vec<Opening>,
    /// Elbow's, in its own word. What somebody else made is not among them.
    rules: Vec<OwnRule>,
    /// What is left to do and what is held back, as of the last look; absent: there was none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plan: Option<RulePlan>,
}

/// What a binding needs open in a security group, and what became of that.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Opening {
    #[schema(value_type = uuid::Uuid)]
    binding: uuid::Uuid,
    cluster: String,
    namespace: String,
    name: String,
    needed: Vec<Permission>,
    /// Of what is needed.
    open: Vec<Permission>,
    /// Ids of equal rules of somebody else that serve it.
    borrowed: Vec<String>,
    /// Rules that serve it and let in more ports than it asks for, since the group is full.
    widened: Vec<Permission>,
    /// Why the rest is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<String>,
}

/// What one rule lets in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Permission {
    /// `TCP` or `UDP`.
    protocol: String,
    from_port: u16,
    to_port: u16,
    /// A security group or a CIDR block.
    peer: String,
}

/// A rule that is Elbow's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct OwnRule {
    permission: Permission,
    /// `sgr-…`; absent: AWS has not named it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    id: Option<SecurityGroupRuleId>,
    state: String,
    /// Whom it serves, or served last.
    #[schema(value_type = Vec<uuid::Uuid>)]
    clusters: BTreeSet<ClusterId>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: BTreeSet<BindingId>,
}

/// What is to happen to the rules of one security group, and why the rest waits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct RulePlan {
    #[schema(value_type = String)]
    security_group: SecurityGroupId,
    /// In the order in which they are applied; empty: there is no work.
    steps: Vec<RuleStep>,
    holds: Vec<RuleHold>,
    /// Rules of somebody else that serve bindings: watched, never touched.
    borrowed: Vec<PlannedRule>,
    /// Port ranges that the limit forces.
    widened: Vec<Widening>,
}

/// One thing to do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct RuleStep {
    /// `authorize` and `revoke` call AWS; `confirm`, `share`, `relinquish` and `forget` change what is Elbow's.
    action: &'static str,
    rules: Vec<PlannedRule>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct PlannedRule {
    permission: Permission,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    id: Option<SecurityGroupRuleId>,
    /// Whom it serves.
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: BTreeSet<BindingId>,
    /// Why it is made, or what justifies its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<String>,
}

/// Rules that wait, and for what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct RuleHold {
    reason: String,
    /// What lifts it.
    release: &'static str,
    revocations: Vec<Permission>,
    authorizations: Vec<Permission>,
    /// Who paused what they concern.
    pauses: Vec<HoldingPause>,
    /// When time alone lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    until: Option<Timestamp>,
}

/// By whose word nothing is written.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct HoldingPause {
    paused_by: String,
    reason: String,
    since: Timestamp,
}

/// A rule that lets in more ports than bindings ask for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Widening {
    rule: Permission,
    stands_for: Vec<Permission>,
}

/// A plan of rules that was made, with what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct JournaledRulePlan {
    #[schema(value_type = uuid::Uuid)]
    id: PlanId,
    at: Timestamp,
    /// The epoch of the replica that made it.
    epoch: u64,
    plan: RulePlan,
    /// What became of its steps, with AWS's request ids; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    outcome: Option<serde_json::Value>,
}

impl From<SecurityGroupState> for SecurityGroup {
    fn from(state: SecurityGroupState) -> Self {
        let SecurityGroupState {
            id,
            shard,
            openings,
            rules,
            outlook,
        } = state;
        Self {
            id,
            shard,
            openings: openings.into_iter().map(Into::into).collect(),
            rules: rules.into_iter().map(Into::into).collect(),
            plan: outlook.map(Into::into),
        }
    }
}

impl From<AskedOpening> for Opening {
    fn from(opening: AskedOpening) -> Self {
        let AskedOpening {
            binding,
            cluster,
            namespace,
            name,
            permissions,
            standing,
        } = opening;
        let Standing {
            open,
            borrowed,
            widened,
            problem,
        } = standing.unwrap_or_default();
        Self {
            binding,
            cluster,
            namespace,
            name,
            // What was asked for before is no news.
            open: all(open.intersection(&permissions).cloned()),
            needed: all(permissions),
            borrowed: borrowed.iter().map(ToString::to_string).collect(),
            widened: all(widened),
            problem: problem.map(|problem| problem.to_string()),
        }
    }
}

fn all(permissions: impl IntoIterator<Item = ModelPermission>) -> Vec<Permission> {
    permissions.into_iter().map(Into::into).collect()
}

impl From<ModelPermission> for Permission {
    fn from(permission: ModelPermission) -> Self {
        let ModelPermission {
            protocol,
            peer,
            ports,
        } = permission;
        Self {
            protocol: protocol.to_string(),
            from_port: ports.from(),
            to_port: ports.to(),
            peer: peer.to_string(),
        }
    }
}

impl From<LedgerRule> for OwnRule {
    fn from(rule: LedgerRule) -> Self {
        // When it was written, and whether its answer was lost, is for the loop.
        let LedgerRule {
            permission,
            rule,
            state,
            clusters,
            bindings,
            changed_at: _,
            ambiguous_at: _,
        } = rule;
        Self {
            permission: permission.into(),
            id: rule,
            state: word(&state),
            clusters,
            bindings: bindings.unwrap_or_default(),
        }
    }
}

impl From<JournaledPlan<ModelPlan>> for JournaledRulePlan {
    fn from(journaled: JournaledPlan<ModelPlan>) -> Self {
        let JournaledPlan {
            id,
            at,
            epoch,
            plan,
            outcome,
        } = journaled;
        Self {
            id,
            at,
            epoch,
            plan: plan.into(),
            outcome,
        }
    }
}

impl From<ModelPlan> for RulePlan {
    fn from(plan: ModelPlan) -> Self {
        // Observations and the clock are how the loop goes on; standings are with the openings.
        let ModelPlan {
            security_group,
            steps,
            holds,
            borrowed,
            widened,
            observe: _,
            wake_at: _,
            standings: _,
        } = plan;
        let lent = |(id, permission): (SecurityGroupRuleId, ModelPermission)| PlannedRule {
            id: Some(id),
            ..permission.into()
        };
        Self {
            security_group,
            steps: steps.into_iter().map(Into::into).collect(),
            holds: holds.into_iter().map(Into::into).collect(),
            borrowed: borrowed.into_iter().map(lent).collect(),
            widened: widened.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ModelStep> for RuleStep {
    fn from(step: ModelStep) -> Self {
        let (action, rules) = match step {
            ModelStep::Authorize { rules } => ("authorize", planned(rules)),
            ModelStep::Revoke { rules } => ("revoke", planned(rules)),
            ModelStep::Confirm { rules } => ("confirm", planned(rules)),
            ModelStep::Share { rules } => ("share", planned(rules)),
            ModelStep::Forget { rules } => ("forget", planned(rules)),
            ModelStep::Relinquish { rules, bindings } => {
                let of = |permission: ModelPermission| PlannedRule {
                    bindings: bindings.clone(),
                    ..permission.into()
                };
                ("relinquish", rules.into_iter().map(of).collect())
            }
        };
        Self { action, rules }
    }
}

fn planned<T: Into<PlannedRule>>(rules: Vec<T>) -> Vec<PlannedRule> {
    rules.into_iter().map(Into::into).collect()
}

impl From<ModelPermission> for PlannedRule {
    fn from(permission: ModelPermission) -> Self {
        Self {
            permission: permission.into(),
            id: None,
            bindings: BTreeSet::new(),
            why: None,
        }
    }
}

impl From<Authorization> for PlannedRule {
    fn from(authorization: Authorization) -> Self {
        // What AWS is told for people says the same as the bindings.
        let Authorization {
            permission,
            clusters: _,
            bindings,
            description: _,
            why,
        } = authorization;
        Self {
            bindings,
            why: Some(word(&why)),
            ..permission.into()
        }
    }
}

impl From<Revocation> for PlannedRule {
    fn from(revocation: Revocation) -> Self {
        let Revocation {
            permission,
            rule,
            why,
        } = revocation;
        Self {
            id: Some(rule),
            why: Some(word(&why)),
            ..permission.into()
        }
    }
}

impl From<Confirmation> for PlannedRule {
    fn from(confirmation: Confirmation) -> Self {
        let Confirmation { permission, rule } = confirmation;
        Self {
            id: Some(rule),
            ..permission.into()
        }
    }
}

impl From<Sharing> for PlannedRule {
    fn from(sharing: Sharing) -> Self {
        let Sharing {
            permission,
            clusters: _,
            bindings,
        } = sharing;
        Self {
            bindings,
            ..permission.into()
        }
    }
}

impl From<ModelHold> for RuleHold {
    fn from(hold: ModelHold) -> Self {
        let ModelHold {
            reason,
            revocations,
            authorizations,
            pauses,
            until,
        } = hold;
        Self {
            reason: reason.to_string(),
            release: reason.release(),
            revocations: all(revocations),
            authorizations: all(authorizations),
            pauses: pauses.into_iter().map(Into::into).collect(),
            until,
        }
    }
}

impl From<Pause> for HoldingPause {
    fn from(pause: Pause) -> Self {
        let Pause { by, reason, since } = pause;
        Self {
            paused_by: by,
            reason,
            since,
        }
    }
}

impl From<ModelWidening> for Widening {
    fn from(widening: ModelWidening) -> Self {
        let ModelWidening { rule, stands_for } = widening;
        Self {
            rule: rule.into(),
            stands_for: all(stands_for),
        }
    }
}
