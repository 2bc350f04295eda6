//! Clusters.

use std::collections::BTreeMap;

use control::view::{AgentView, ClusterView};
use jiff::Timestamp;
use model::{
    AccountId, Name, Region,
    cluster::{self as model_cluster, Leaving, Mode, VpcId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Metadata;

/// A registered Kubernetes cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Cluster {
    #[schema(value_type = String)]
    name: Name,
    metadata: Metadata,
    spec: ClusterSpec,
    status: ClusterStatus,
    pub(in crate::rest) version: i64,
    /// The token of the cluster's agent, shown this once: in the answer that created the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::rest) agent_token: Option<String>,
}

/// Where the cluster is, and what may be done for it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct ClusterSpec {
    /// The AWS account, twelve digits.
    #[schema(value_type = String, pattern = "^[0-9]{12}$")]
    account: AccountId,
    /// The AWS region, e.g. `eu-central-1`.
    #[schema(value_type = String)]
    region: Region,
    /// The VPC that the cluster's pods live in.
    #[schema(value_type = String, pattern = "^vpc-[0-9a-fA-F]+$")]
    vpc_id: VpcId,
    /// `observe` (plan only), `add-only` (never remove) or `full`.
    #[schema(value_type = String, pattern = "^(observe|add-only|full)$")]
    mode: Mode,
}

/// What is known of the cluster's agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct ClusterStatus {
    /// The number of the newest stream; 0: no agent has ever connected.
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent_instance: Option<String>,
    /// When the agent was last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seen_at: Option<Timestamp>,
    /// When a complete list of the cluster's TargetGroupBindings was last stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    synced_at: Option<Timestamp>,
    /// Kinds that the agent says it cannot see, with the reason.
    unsynced: BTreeMap<String, String>,
    /// It was deleted and goes with its last target: `drain` (they are deregistered) or `keep` (they stay in AWS).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    leaving: Option<Leaving>,
}

/// A cluster to register or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutCluster {
    pub(in crate::rest) spec: ClusterSpec,
}

/// A new token of a cluster's agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct AgentToken {
    /// Shown this once.
    pub(in crate::rest) token: String,
}

impl From<ClusterView> for Cluster {
    fn from(view: ClusterView) -> Self {
        let ClusterView {
            cluster:
                model_cluster::Cluster {
                    id: _,
                    name,
                    spec,
                    version,
                },
            created_at,
            leaving,
            agent,
        } = view;
        let AgentView {
            epoch,
            instance,
            seen_at,
            synced_at,
            unsynced,
        } = agent;
        let status = ClusterStatus {
            epoch,
            agent_instance: instance,
            seen_at,
            synced_at,
            unsynced,
            leaving,
        };
        Self {
            name,
            metadata: Metadata { created_at },
            spec: spec.into(),
            status,
            version,
            agent_token: None,
        }
    }
}

impl From<model_cluster::ClusterSpec> for ClusterSpec {
    fn from(spec: model_cluster::ClusterSpec) -> Self {
        let model_cluster::ClusterSpec {
            account,
            region,
            vpc_id,
            mode,
        } = spec;
        Self {
            account,
            region,
            vpc_id,
            mode,
        }
    }
}

impl From<ClusterSpec> for model_cluster::ClusterSpec {
    fn from(spec: ClusterSpec) -> Self {
        let ClusterSpec {
            account,
            region,
            vpc_id,
            mode,
        } = spec;
        Self {
            account,
            region,
            vpc_id,
            mode,
        }
    }
}
