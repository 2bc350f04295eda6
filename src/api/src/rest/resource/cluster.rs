//! Clusters.

use std::collections::BTreeMap;

use control::view::{AgentView, ClusterView};
use jiff::Timestamp;
use model::{
    AccountId, Name, Region,
    cluster::{self as model_cluster, AwsName, Leaving, Mode, VpcId},
    ownership::{Pulse, Serve, Surroundings, Webhook as ModelWebhook},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Metadata, account::AssumableRole, word};

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
    #[schema(value_type = String)]
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
    /// Which of its TargetGroupBindings are served: `none`, `labelled` (those with the label `elbow.dev/serve: "true"`)
    /// or `all` (but those with the label set otherwise). One that stops being served keeps its targets.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^(none|labelled|all)$", default = "labelled")]
    serve: Serve,
    /// Whether its objects may bind target groups of its own account, region and VPC that nobody declared. The first
    /// namespace that binds one has it to itself.
    #[serde(default)]
    bind_undeclared: bool,
    /// The roles that its objects may name for target groups of other accounts.
    #[serde(default)]
    #[schema(max_items = 100)]
    roles: Vec<AssumableRole>,
    /// The cluster's name in AWS, for the tag `kubernetes.io/cluster/NAME`; by default the name it is registered under.
    #[serde(
        default,
        deserialize_with = "super::stated",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, nullable = false, pattern = "^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$")]
    aws_name: Option<AwsName>,
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
    /// The agent was heard of, but not of late: what it stated may be out of date, and nothing is removed for the cluster
    /// without proof.
    stale: bool,
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
    /// Since when it is cordoned: it adds no new target, and its silence does not count for the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cordoned_at: Option<Timestamp>,
    /// What the agent sees of the AWS Load Balancer Controller.
    lbc: LbcStatus,
}

/// What a cluster's agent sees of the AWS Load Balancer Controller ("LBC") beside the objects.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct LbcStatus {
    /// Whether a replica of it renews its Lease; absent: the agent cannot see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    running: Option<bool>,
    /// `namespace/name` of that Lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lease: Option<String>,
    /// Webhooks that make every write of a TargetGroupBinding fail once nobody answers them; absent: the agent cannot see.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    webhooks: Option<Vec<Webhook>>,
}

/// A configuration of webhooks with `failurePolicy: Fail`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Webhook {
    /// `validating` or `mutating`.
    kind: String,
    name: String,
    /// The command that removes it, for when its controller is gone.
    removal: String,
}

/// A cluster to register or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::rest) struct PutCluster {
    pub(in crate::rest) spec: ClusterSpec,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct NewToken {
    /// Shown this once.
    token: String,
    /// By which it is rotated and ended.
    id: uuid::Uuid,
    /// Absent: it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
}

impl From<control::Issued> for NewToken {
    fn from(issued: control::Issued) -> Self {
        let control::Issued {
            id,
            token,
            expires_at,
        } = issued;
        Self {
            token: token.expose().to_owned(),
            id,
            expires_at,
        }
    }
}

impl From<ClusterView> for Cluster {
    fn from(view: ClusterView) -> Self {
        let ClusterView {
            cluster:
                model_cluster::Cluster {
                    id: _,
                    name,
                    spec,
                    cordoned: _,
                    version,
                },
            created_at,
            leaving,
            cordoned_at,
            agent,
        } = view;
        let AgentView {
            epoch,
            instance,
            seen_at,
            stale,
            synced_at,
            unsynced,
            surroundings,
        } = agent;
        let status = ClusterStatus {
            epoch,
            agent_instance: instance,
            seen_at,
            stale,
            synced_at,
            unsynced,
            leaving,
            lbc: surroundings.into(),
            cordoned_at,
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

impl From<Surroundings> for LbcStatus {
    fn from(surroundings: Surroundings) -> Self {
        let Surroundings { webhooks, lbc } = surroundings;
        let (running, lease) = match lbc {
            None => (None, None),
            Some(Pulse::None) => (Some(false), None),
            Some(Pulse::Beats { lease, holder: _ }) => (Some(true), Some(lease)),
        };
        Self {
            running,
            lease,
            webhooks: webhooks.map(|all| all.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<ModelWebhook> for Webhook {
    fn from(webhook: ModelWebhook) -> Self {
        let removal = webhook.removal();
        let ModelWebhook { kind, name } = webhook;
        Self {
            kind: word(&kind),
            name,
            removal,
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
            serve,
            bind_undeclared,
            roles,
            aws_name,
        } = spec;
        Self {
            account,
            region,
            vpc_id,
            mode,
            serve,
            bind_undeclared,
            roles: roles.into_iter().map(Into::into).collect(),
            aws_name,
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
            serve,
            bind_undeclared,
            roles,
            aws_name,
        } = spec;
        Self {
            account,
            region,
            vpc_id,
            mode,
            serve,
            bind_undeclared,
            roles: roles.into_iter().map(Into::into).collect(),
            aws_name,
        }
    }
}
