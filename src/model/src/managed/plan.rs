//! Plans of a managed group; as [`plan`](crate::plan) for targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::{
    Name, TargetGroupArn,
    condition::Readiness,
    plan::{HoldReason, Observe},
};

/// What is to happen to a managed group, and why the rest waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct GroupPlan {
    pub name: Name,
    /// Of the declaration.
    pub version: i64,
    /// In the order in which they must be applied; what follows one that failed is left for the next plan.
    pub steps: Vec<GroupStep>,
    /// Whether AWS must be asked about the group before more can be said.
    pub observe: Option<Observe>,
    /// When time alone may change the plan.
    pub wake_at: Option<Timestamp>,
    pub status: GroupStatus,
}

/// What is told about a managed group. Equal input gives an equal status: it carries no time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    pub ready: Readiness,
    /// What is about to be done.
    pub steps: Vec<GroupStep>,
    pub holds: Vec<GroupHold>,
    /// What somebody changed in AWS.
    pub drift: Vec<Difference>,
}

/// One thing to do. Each becomes ledger rows, at most one AWS call, and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
pub enum GroupStep {
    /// CreateTargetGroup, with what it takes: health check and tags, ours included.
    Create { settings: BTreeMap<Setting, String> },
    /// AWS has a group of this name with our tags: it is the one. Ledger only.
    Confirm { arn: TargetGroupArn },
    /// AddTags of ours to a group that somebody else made; nothing else of it changes.
    Adopt {
        arn: TargetGroupArn,
        settings: BTreeMap<Setting, String>,
    },
    /// ModifyTargetGroup.
    Modify {
        arn: TargetGroupArn,
        settings: BTreeMap<Setting, String>,
    },
    /// ModifyTargetGroupAttributes.
    SetAttributes {
        arn: TargetGroupArn,
        settings: BTreeMap<Setting, String>,
    },
    /// AddTags.
    Tag {
        arn: TargetGroupArn,
        settings: BTreeMap<Setting, String>,
    },
    /// RemoveTags, of tags that we set.
    Untag {
        arn: TargetGroupArn,
        keys: BTreeSet<Setting>,
    },
    /// AWS has what is declared: somebody who changes it from now on is told of. What is not declared any more is let
    /// go. Ledger only.
    Note {
        settings: BTreeMap<Setting, String>,
        dropped: BTreeSet<Setting>,
    },
    /// DeleteTargetGroup.
    Delete { arn: TargetGroupArn },
    /// RemoveTags of ours: from then on it is somebody else's.
    Release {
        arn: TargetGroupArn,
        keys: BTreeSet<Setting>,
    },
    /// Nothing in AWS is ours (any more): the ledger lets it go, and with it a declaration that is on its way out.
    /// Ledger only.
    Forget,
}

impl GroupStep {
    /// Its word in plans and logs.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Confirm { .. } => "confirm",
            Self::Adopt { .. } => "adopt",
            Self::Modify { .. } => "modify",
            Self::SetAttributes { .. } => "setAttributes",
            Self::Tag { .. } => "tag",
            Self::Untag { .. } => "untag",
            Self::Note { .. } => "note",
            Self::Delete { .. } => "delete",
            Self::Release { .. } => "release",
            Self::Forget => "forget",
        }
    }

    /// Whether applying it calls AWS.
    pub fn writes_aws(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Adopt { .. }
            | Self::Modify { .. }
            | Self::SetAttributes { .. }
            | Self::Tag { .. }
            | Self::Untag { .. }
            | Self::Delete { .. }
            | Self::Release { .. } => true,
            Self::Confirm { .. } | Self::Note { .. } | Self::Forget => false,
        }
    }

    /// Whether it takes something away that does not come back by itself.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::Release { .. })
    }
}

/// A step that waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupHold {
    pub reason: HoldReason,
    #[serde(flatten)]
    pub step: GroupStep,
}

/// A setting that AWS has otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub setting: Setting,
    /// As it is declared.
    pub declared: String,
    /// As AWS has it; `None`: it does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            declared,
            observed,
        } = self;
        match observed {
            Some(observed) => write!(f, "{setting} is `{observed}` and not `{declared}`"),
            None => write!(f, "{setting} is missing and not `{declared}`"),
        }
    }
}
