//! What became of an object, in the form that Kubernetes users read: conditions with a stable reason.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::target::TargetType;

/// Why a binding is in its state. The names are API: they are written into objects, answers and runbooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Every wanted target is registered and nothing is left to remove.
    Reconciled,
    /// Work is planned or under way.
    Progressing,
    /// Something waits for a guard, an operator or a cluster.
    Held,
    /// An operator has paused writing to AWS: the plan is shown and nothing is written.
    Paused,
    /// The cluster's mode is `observe`: the plan is shown and nothing is written.
    ObserveOnly,
    /// Nobody asked Elbow to serve the object: what it registered before stays, and nothing more is written.
    NotServed,
    /// The AWS Load Balancer Controller acts on the object: the plan is shown and nothing is written.
    ManagedByLBC,
    /// Somebody else writes to the same targets: nothing is removed until that is settled.
    Contested,
    /// The object's text is wrong.
    Invalid,
    /// No declared target group has this ARN or name.
    TargetGroupNotDeclared,
    /// The declared target group is one that Elbow makes, and AWS has not named it yet.
    TargetGroupPending,
    /// The declared target group does not admit this cluster, or not this namespace of it.
    ClusterNotAdmitted,
    /// Nobody declared the target group, and another namespace was there first.
    NotGranted,
    /// Another binding of the cluster has the target group, and they did not agree to share it.
    TargetGroupNotShared,
    /// The object names a role that was not registered for its cluster.
    RoleNotAllowed,
    /// AWS knows no such target group.
    TargetGroupNotFound,
    /// The ARN's partition, account or region is not the cluster's.
    WrongShard,
    /// The object says another target type, protocol, address type or VPC than AWS.
    TargetGroupMismatch,
    /// The target group's type is none that this version serves.
    TargetTypeNotServed,
    /// The Service does not exist.
    ServiceNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// A field that cannot change was changed.
    ImmutableField,
    /// The cluster has not yet stated what is needed.
    AwaitingCluster,
    /// AWS has not yet been asked, or did not answer.
    AwaitingAws,
    /// AWS denies a call.
    AccessDenied,
    /// AWS accepts no credentials of ours.
    CredentialsRejected,
    /// A limit of AWS is reached.
    QuotaExceeded,
    /// AWS refuses a target.
    InvalidTarget,
    /// No network interface has a target's address, so nobody knows where to open its ports.
    InterfaceNotFound,
    /// A target's network interface has several security groups and not exactly one that is tagged as the cluster's.
    SecurityGroupNotChosen,
    /// AWS knows no such security group.
    SecurityGroupNotFound,
    /// AWS asks for less.
    Throttled,
    /// AWS answers with an error that is none of the above.
    AwsError,
    /// A group of this name or ARN is somebody else's, or bears our tags no more: it is not touched.
    NotOwned,
    /// Somebody changed in AWS what is declared.
    Drifted,
}

impl Reason {
    pub const ALL: [Self; 35] = [
        Self::Reconciled,
        Self::Progressing,
        Self::Held,
        Self::Paused,
        Self::ObserveOnly,
        Self::NotServed,
        Self::ManagedByLBC,
        Self::Contested,
        Self::Invalid,
        Self::TargetGroupNotDeclared,
        Self::TargetGroupPending,
        Self::ClusterNotAdmitted,
        Self::NotGranted,
        Self::TargetGroupNotShared,
        Self::RoleNotAllowed,
        Self::TargetGroupNotFound,
        Self::WrongShard,
        Self::TargetGroupMismatch,
        Self::TargetTypeNotServed,
        Self::ServiceNotFound,
        Self::PortNotFound,
        Self::ImmutableField,
        Self::AwaitingCluster,
        Self::AwaitingAws,
        Self::AccessDenied,
        Self::CredentialsRejected,
        Self::QuotaExceeded,
        Self::InvalidTarget,
        Self::InterfaceNotFound,
        Self::SecurityGroupNotChosen,
        Self::SecurityGroupNotFound,
        Self::Throttled,
        Self::AwsError,
        Self::NotOwned,
        Self::Drifted,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is wrong with an object, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub reason: Reason,
    /// The field, as a path: `spec.serviceRef.port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// One sentence: what is wrong and the way out.
    pub message: String,
}

impl Problem {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: None,
            message: message.into(),
        }
    }

    pub fn at(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: Some(field.into()),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// What Kubernetes writes so.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::True, Self::False, Self::Unknown];
        all.into_iter().find(|truth| truth.as_str() == text)
    }
}

/// The `Ready` condition of a binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    pub status: Truth,
    pub reason: Reason,
    pub message: String,
}

/// What is told about a binding. Equal input gives an equal status: it carries no time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    pub observed_generation: i64,
    pub ready: Readiness,
    /// Targets that the binding wants.
    pub desired: u32,
    /// Wanted targets that are registered.
    pub registered: u32,
    /// Registered targets that a hold keeps although they are not wanted.
    pub held: u32,
    /// What AWS says of the group where the object's text leaves it out: to be filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_type: Option<TargetType>,
}
