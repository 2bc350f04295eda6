//! Managed target groups: ours from creation to deletion.
//!
//! A declaration ([`Definition`]) says what a group is to be. The ledger ([`LedgerGroup`]) records what was made or taken
//! over for it and what was last set there, and only that is changed or deleted. AWS's word ([`ObservedGroup`]) and both
//! give a [`GroupPlan`]. Once AWS has named the group by its ARN, bindings use it as they use any other declared one:
//! what is in it is the affair of [`plan`](crate::plan).
//!
//! | ledger | means |
//! | --- | --- |
//! | – | nothing in AWS is ours |
//! | `creating` | CreateTargetGroup was or will be sent; which group came of it, AWS says by name and our tags |
//! | `adopting` | AddTags was or will be sent to a group that somebody else made |
//! | `present` | ours, by its ARN |
//! | `deleting` | DeleteTargetGroup was or will be sent |
//! | `releasing` | RemoveTags was or will be sent: the group stays and is ours no more |

mod check;
mod plan;
mod protocol;
mod setting;
mod settings;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    plan::{Difference, GroupHold, GroupPlan, GroupStatus, GroupStep},
    protocol::{Protocol, ProtocolVersion},
    setting::{Check, Setting},
    settings::{
        Attributes, DriftPolicy, HealthCheck, INSTALLATION_TAG, Identity, ManagedSpec, Settings,
        TARGET_GROUP_TAG,
    },
};
use crate::{
    Name, TargetGroupArn,
    cluster::Mode,
    pause::Pause,
    target_group::{Grant, TargetGroupFacts, TargetGroupSpec},
};

/// A declared group that Elbow manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub name: Name,
    pub spec: DefinitionSpec,
    pub version: i64,
    /// It is on its way out.
    pub ending: Option<Ending>,
}

/// What is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionSpec {
    pub managed: ManagedSpec,
    /// A group that is there already and is to be taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<TargetGroupArn>,
    /// As [`TargetGroupSpec::clusters`].
    pub clusters: Vec<Name>,
    /// As [`TargetGroupSpec::grants`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

impl DefinitionSpec {
    /// Every cluster that may use the group, in part or in whole.
    pub fn admitted_clusters(&self) -> impl Iterator<Item = &Name> {
        let granted = self.grants.iter().map(|grant| &grant.cluster);
        self.clusters.iter().chain(granted)
    }

    /// What bindings see of it, once it is there.
    pub fn declared(&self, arn: TargetGroupArn) -> TargetGroupSpec {
        TargetGroupSpec {
            arn,
            clusters: self.clusters.clone(),
            grants: self.grants.clone(),
        }
    }
}

/// What becomes of the group in AWS when nobody manages it any more. Must be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It is deleted.
    Delete,
    /// It stays, without our tags, and is forgotten here.
    Keep,
    /// It stays, without our tags, as a declared group that somebody else looks after.
    Release,
}

/// Where a group of ours is in its life. Each `…ing` state is an intent that was made durable before the AWS call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupState {
    Creating,
    Adopting,
    Present,
    Deleting,
    Releasing,
}

/// A group of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerGroup {
    pub state: GroupState,
    /// `None`: it is being created, and AWS has not told which one it is.
    pub arn: Option<TargetGroupArn>,
    /// What was set last, or found to be as declared. A stated setting that AWS has otherwise was changed by somebody
    /// else if it stands here, and is still to be set if it does not.
    pub applied: BTreeMap<Setting, String>,
    /// When `state` was written last.
    pub changed_at: Timestamp,
    /// When a call about it was last given up without an answer.
    pub ambiguous_at: Option<Timestamp>,
}

/// What AWS says of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedGroup {
    pub arn: TargetGroupArn,
    pub identity: Identity,
    /// Whose listeners and rules forward to it.
    pub load_balancers: Vec<String>,
    /// Health check, attributes and tags, ours included.
    pub settings: BTreeMap<Setting, String>,
}

impl ObservedGroup {
    /// What bindings are judged by.
    pub fn facts(&self) -> TargetGroupFacts {
        let Identity {
            target_type,
            protocol,
            protocol_version: _,
            port,
            vpc_id,
            ip_address_type,
        } = &self.identity;
        TargetGroupFacts {
            target_type: *target_type,
            protocol: Some(protocol.clone()),
            port: Some(*port),
            vpc: Some(vpc_id.clone()),
            ip_address_type: *ip_address_type,
            vpc_cidrs: None,
            in_use: !self.load_balancers.is_empty(),
        }
    }

    pub fn tag(&self, key: &str) -> Option<&str> {
        self.settings
            .get(&Setting::Tag(key.to_owned()))
            .map(String::as_str)
    }

    /// Whether the AWS Load Balancer Controller made it: it would delete it, or set it back
    /// (<https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/>).
    pub fn is_of_lbc(&self) -> bool {
        const TAGS: [&str; 4] = [
            "elbv2.k8s.aws/cluster",
            "ingress.k8s.aws/stack",
            "service.k8s.aws/stack",
            "ingress.k8s.aws/cluster",
        ];
        TAGS.into_iter().any(|key| self.tag(key).is_some())
    }
}

/// One managed group, as it is stored.
#[derive(Clone, Debug)]
pub struct ManagedSnapshot {
    /// The database's clock when the rest was read.
    pub now: Timestamp,
    pub installation: uuid::Uuid,
    pub definition: Definition,
    /// When it was declared: one that is declared anew under the name is another.
    pub declared_at: Timestamp,
    pub ledger: Option<LedgerGroup>,
    /// Bindings to it, deleted ones included until their targets are gone.
    pub bindings: u32,
    /// Targets of ours in it.
    pub targets: u32,
    /// The modes of the clusters that may use it.
    pub modes: Vec<Mode>,
    /// The widest pause that covers it, or a cluster that may use it.
    pub paused: Option<Pause>,
    /// The database went back in time, and no operator has released the shard yet.
    pub restored: bool,
}

impl ManagedSnapshot {
    /// The group as AWS knows it, if that is known.
    pub fn arn(&self) -> Option<&TargetGroupArn> {
        let made = self.ledger.as_ref().and_then(|ledger| ledger.arn.as_ref());
        made.or(self.definition.spec.arn.as_ref())
    }

    /// The tags by which a group is found to be ours.
    pub fn our_tags(&self) -> BTreeMap<Setting, String> {
        let tags = [
            (INSTALLATION_TAG, self.installation.to_string()),
            (TARGET_GROUP_TAG, self.definition.name.to_string()),
        ];
        tags.into_iter()
            .map(|(key, value)| (Setting::Tag(key.to_owned()), value))
            .collect()
    }

    /// Whether the group bears our tags.
    pub fn is_ours(&self, observed: &ObservedGroup) -> bool {
        self.our_tags()
            .iter()
            .all(|(tag, value)| observed.settings.get(tag) == Some(value))
    }
}

#[cfg(test)]
mod tests;
