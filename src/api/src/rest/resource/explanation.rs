//! Explanations.

use control::explain;
use jiff::Timestamp;
use model::{BindingId, Name, PlanId, TargetGroupArn, ledger::LedgerTarget};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    binding::Condition,
    endpoint::{Departure, Endpoint},
    plan::PlannedHold,
    target_group::TargetHealth,
    word,
};

/// What is known of one target group, as far as it concerns what was asked about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Explanation {
    #[schema(value_type = String)]
    target_group_arn: TargetGroupArn,
    /// The name under which it is declared; absent: it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    target_group: Option<Name>,
    bindings: Vec<ExplainedBinding>,
    targets: Vec<ExplainedTarget>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ExplainedBinding {
    #[schema(value_type = uuid::Uuid)]
    id: BindingId,
    #[schema(value_type = String)]
    cluster: Name,
    namespace: String,
    name: String,
    /// As the next plan would tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ready: Option<Condition>,
    /// Who paused it; absent: it is not paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    paused_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pause_reason: Option<String>,
    /// When the cluster's agent was last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seen_at: Option<Timestamp>,
}

/// One target: what the cluster says, what we did, what AWS says, and what comes next.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ExplainedTarget {
    id: String,
    port: u16,
    /// One sentence.
    verdict: String,
    endpoints: Vec<ExplainedEndpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ledger: Option<LedgerRow>,
    /// What AWS said last; absent: it does not list the target, or was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    health: Option<TargetHealth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    observed_at: Option<Timestamp>,
    /// What the next plan would do with it: `register`, `deregister`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<&'static str>,
    holds: Vec<PlannedHold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_write: Option<LastWrite>,
}

/// What a cluster states of an address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ExplainedEndpoint {
    #[schema(value_type = String)]
    cluster: Name,
    namespace: String,
    service: String,
    /// Absent: it is in no slice of the Service any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    endpoint: Option<Endpoint>,
    /// How it vanished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    departure: Option<Departure>,
}

/// The record of a target that is ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct LedgerRow {
    /// `registering`, `registered`, `deregistering` or `deregistered`.
    state: String,
    /// It was there before us.
    claimed: bool,
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: Vec<BindingId>,
}

/// The last call to AWS that named the target.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct LastWrite {
    #[schema(value_type = uuid::Uuid)]
    plan: PlanId,
    at: Timestamp,
    action: &'static str,
    /// `acknowledged`, `failed` or `ambiguous`; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<String>,
    /// AWS's names of the requests, as CloudTrail has them.
    request_ids: Vec<String>,
}

impl From<explain::Explanation> for Explanation {
    fn from(explanation: explain::Explanation) -> Self {
        let explain::Explanation {
            target_group,
            name,
            bindings,
            targets,
        } = explanation;
        Self {
            target_group_arn: target_group,
            target_group: name,
            bindings: bindings.into_iter().map(Into::into).collect(),
            targets: targets.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<explain::BindingExplanation> for ExplainedBinding {
    fn from(explanation: explain::BindingExplanation) -> Self {
        let explain::BindingExplanation {
            cluster,
            binding,
            status,
            paused,
            seen_at,
        } = explanation;
        let (paused_by, pause_reason) = match paused {
            Some(model::pause::Pause { by, reason, since: _ }) => (Some(by), Some(reason)),
            None => (None, None),
        };
        Self {
            id: binding.id,
            cluster,
            namespace: binding.object.namespace,
            name: binding.object.name,
            ready: status.map(|status| status.ready.into()),
            paused_by,
            pause_reason,
            seen_at,
        }
    }
}

impl From<explain::TargetExplanation> for ExplainedTarget {
    fn from(explanation: explain::TargetExplanation) -> Self {
        let explain::TargetExplanation {
            key,
            verdict,
            endpoints,
            ledger,
            health,
            observed_at,
            next,
            holds,
            last,
        } = explanation;
        Self {
            id: key.id.to_string(),
            port: key.port,
            verdict,
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ledger: ledger.map(Into::into),
            health: health.map(Into::into),
            observed_at,
            next,
            holds: holds.into_iter().map(Into::into).collect(),
            last_write: last.map(Into::into),
        }
    }
}

impl From<explain::EndpointExplanation> for ExplainedEndpoint {
    fn from(explanation: explain::EndpointExplanation) -> Self {
        let explain::EndpointExplanation {
            cluster,
            service,
            endpoint,
            departure,
        } = explanation;
        Self {
            cluster,
            namespace: service.namespace,
            service: service.name,
            endpoint: endpoint.map(Into::into),
            departure: departure.map(Into::into),
        }
    }
}

impl From<LedgerTarget> for LedgerRow {
    fn from(row: LedgerTarget) -> Self {
        Self {
            state: word(&row.state),
            claimed: row.claimed,
            bindings: row.bindings,
        }
    }
}

impl From<explain::LastWrite> for LastWrite {
    fn from(write: explain::LastWrite) -> Self {
        let explain::LastWrite {
            plan,
            at,
            action,
            outcome,
            request_ids,
        } = write;
        Self {
            plan,
            at,
            action,
            outcome,
            request_ids,
        }
    }
}
