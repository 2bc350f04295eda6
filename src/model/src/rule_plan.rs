//! Plans of a security group's rules; as [`plan`](crate::plan) for targets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    BindingId, ClusterId,
    network::{Permission, SecurityGroupId, SecurityGroupRuleId, Standing},
    pause::Pause,
    plan::{HoldReason, Observe},
};

/// What is to happen to the rules of one security group, and why the rest waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct RulePlan {
    pub security_group: SecurityGroupId,
    /// In the order in which they must be applied; what follows one that failed is left for the next plan.
    pub steps: Vec<RuleStep>,
    pub holds: Vec<RuleHold>,
    /// Rules of somebody else that serve bindings. Watched, never touched.
    pub borrowed: BTreeMap<SecurityGroupRuleId, Permission>,
    /// Port ranges that the limit forces, and what each stands for.
    pub widened: Vec<Widening>,
    /// Whether AWS must be asked about the group before more can be said.
    pub observe: Option<Observe>,
    /// When time alone may change the plan.
    pub wake_at: Option<Timestamp>,
    pub standings: BTreeMap<BindingId, Standing>,
}

/// One thing to do. Each becomes ledger rows, at most one kind of AWS call, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
pub enum RuleStep {
    /// AWS was seen without it: the ledger lets it go. Ledger only.
    Forget {
        rules: Vec<Permission>,
    },
    /// AWS has the rule of an authorization whose answer was lost, or one whose end did not come. Ledger only.
    Confirm {
        rules: Vec<Confirmation>,
    },
    /// Whom a rule serves changed. Ledger only.
    Share {
        rules: Vec<Sharing>,
    },
    /// Bindings that somebody else has now, or that keep what they had, give up their openings: the rules that served them
    /// stay in AWS and are ours no more. Ledger only.
    Relinquish {
        rules: Vec<Permission>,
        bindings: BTreeSet<BindingId>,
    },
    Authorize {
        rules: Vec<Authorization>,
    },
    Revoke {
        rules: Vec<Revocation>,
    },
}

impl RuleStep {
    /// Whether applying it calls AWS.
    pub fn writes_aws(&self) -> bool {
        matches!(self, Self::Authorize { .. } | Self::Revoke { .. })
    }
}

/// A rule of ours with the id that AWS gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirmation {
    pub permission: Permission,
    pub rule: SecurityGroupRuleId,
}

/// A rule and whom it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    pub permission: Permission,
    pub clusters: BTreeSet<ClusterId>,
    #[serde(default)]
    pub bindings: BTreeSet<BindingId>,
}

/// A rule to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    pub permission: Permission,
    pub clusters: BTreeSet<ClusterId>,
    #[serde(default)]
    pub bindings: BTreeSet<BindingId>,
    /// For people who look at the rule in AWS.
    pub description: String,
    pub why: WhyAuthorize,
}

/// Why a rule is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyAuthorize {
    /// A binding needs it.
    Wanted,
    /// An earlier call has no known outcome.
    Unresolved,
    /// It was ours, and AWS was seen without it.
    Drifted,
}

/// A rule to end. By its id alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    pub permission: Permission,
    pub rule: SecurityGroupRuleId,
    pub why: WhyRevoke,
}

/// What justifies the end of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhyRevoke {
    /// No binding needs it.
    Unneeded,
    /// Others let the same in.
    Replaced,
    /// Disruptive: the group is full, and a wider rule takes its place. In between its ports are closed.
    MakesRoom,
}

/// A rule that lets in more ports than bindings ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Widening {
    pub rule: Permission,
    pub stands_for: Vec<Permission>,
}

/// Rules that wait, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleHold {
    pub reason: HoldReason,
    /// Rules that would be revoked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revocations: BTreeSet<Permission>,
    /// Rules that would be made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub authorizations: BTreeSet<Permission>,
    /// Who paused what they concern, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
    /// When time alone lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
