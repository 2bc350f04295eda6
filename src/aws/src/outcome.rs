//! What became of a call, in terms that a ledger can record.

use std::{fmt, time::Duration};

use model::{
    TargetKey,
    condition::{Problem, Reason},
    network::{Permission, SecurityGroupRuleId},
};
use tokio::time::Instant;

use crate::{ErrorClass, metrics::Action};

/// What became of one call of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The targets that the call named.
    pub targets: Vec<TargetKey>,
    /// AWS's acknowledgement, or why there is none.
    pub result: Result<Receipt, Failure>,
}

/// AWS acknowledged a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// AWS's name of the request, for its support.
    pub request_id: Option<String>,
}

/// What became of one security-group rule of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOutcome {
    /// The rule.
    pub permission: Permission,
    /// AWS's acknowledgement, with the id of a rule that was made, or why there is none.
    pub result: Result<(SecurityGroupRuleId, Receipt), Failure>,
}

/// Whether a call that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// AWS refused it, or it was never sent.
    NotApplied,
    /// It was or may have been sent, and no definite answer came. It may even be applied later.
    Ambiguous,
}

/// A call that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The call.
    pub action: Action,
    /// What it means.
    pub class: ErrorClass,
    /// AWS's code, if AWS answered.
    pub code: Option<String>,
    /// AWS's words, or those of the layer that failed.
    pub message: String,
    /// The missing permission of [`ErrorClass::AccessDenied`], e.g. `elasticloadbalancing:RegisterTargets`.
    pub permission: Option<String>,
    /// AWS's name of the request, for its support.
    pub request_id: Option<String>,
    /// Whether it may have taken effect.
    pub certainty: Certainty,
}

impl Failure {
    /// The failure in the words of a condition.
    pub fn problem(&self) -> Problem {
        let reason = match (self.class, self.action) {
            (
                ErrorClass::Vanished,
                Action::AuthorizeSecurityGroupIngress | Action::RevokeSecurityGroupIngress,
            ) => Reason::SecurityGroupNotFound,
            (class, _) => class.reason(),
        };
        Problem::new(reason, self.to_string())
    }

    /// Whether AWS wants to be told the Availability Zone of a target, which it finds by itself only for addresses of the
    /// VPC's subnets.
    pub fn wants_zone(&self) -> bool {
        self.class == ErrorClass::InvalidTarget
            && [
                "Availability Zone is required",
                "must specify a valid Availability Zone",
            ]
            .iter()
            .any(|words| self.message.contains(words))
    }

    /// AWS acknowledged the call and left out of its answer what it must have.
    pub(crate) fn incomplete(action: Action, request_id: Option<String>) -> Self {
        Self {
            action,
            class: ErrorClass::Unavailable,
            code: None,
            message: "the answer does not list what was asked for".to_owned(),
            permission: None,
            request_id,
            certainty: Certainty::Ambiguous,
        }
    }

    pub(crate) fn lease_expiring(action: Action) -> Self {
        Self {
            action,
            class: ErrorClass::LeaseExpiring,
            code: None,
            message: "the shard's lease does not leave time for it".to_owned(),
            permission: None,
            request_id: None,
            certainty: Certainty::NotApplied,
        }
    }

    /// The same failure for a call that was not even tried because of it.
    pub(crate) fn untried(&self) -> Self {
        Self {
            certainty: Certainty::NotApplied,
            request_id: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            class,
            code,
            message,
            permission,
            request_id: _,
            certainty: _,
        } = self;
        match (class, permission) {
            (ErrorClass::AccessDenied, Some(permission)) => {
                return write!(
                    f,
                    "AWS denies {action}: grant `{permission}` to Elbow's role ({message})"
                );
            }
            (ErrorClass::CredentialsRejected, _) => {
                write!(f, "AWS accepts no credentials of Elbow's for {action}")?;
            }
            (ErrorClass::Unreachable, _) => write!(f, "no connection to AWS for {action}")?,
            (ErrorClass::LeaseExpiring, _) => write!(f, "{action} was put off")?,
            _ => write!(f, "{action} failed")?,
        }
        match code {
            Some(code) => write!(f, ": {code}: {message}"),
            None => write!(f, ": {message}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Until when the caller may write: the end of its lease on the shard by a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The last moment at which a call that takes up to `timeout` may start.
    pub(crate) fn latest_start(self, timeout: Duration) -> Option<Instant> {
        self.0.checked_sub(timeout)
    }
}
