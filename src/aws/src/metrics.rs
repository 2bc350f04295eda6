//! What can be measured about AWS. No label is unbounded: shards are few.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::budget::{Budget, Budgets, Lane};

/// The AWS calls that this crate makes, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// ELBv2.
    DescribeTargetGroups,
    /// ELBv2.
    DescribeTargetHealth,
    /// ELBv2.
    RegisterTargets,
    /// ELBv2.
    DeregisterTargets,
    /// ELBv2.
    DescribeTargetGroupAttributes,
    /// ELBv2.
    DescribeTags,
    /// ELBv2.
    CreateTargetGroup,
    /// ELBv2.
    ModifyTargetGroup,
    /// ELBv2.
    ModifyTargetGroupAttributes,
    /// ELBv2.
    DeleteTargetGroup,
    /// ELBv2.
    AddTags,
    /// ELBv2.
    RemoveTags,
    /// EC2.
    DescribeVpcs,
    /// EC2.
    DescribeNetworkInterfaces,
    /// EC2.
    DescribeSecurityGroups,
    /// EC2.
    DescribeSecurityGroupRules,
    /// EC2.
    AuthorizeSecurityGroupIngress,
    /// EC2.
    RevokeSecurityGroupIngress,
}

impl Action {
    /// The IAM action that permits it.
    pub fn permission(self) -> String {
        let service = match self {
            Self::DescribeTargetGroups
            | Self::DescribeTargetHealth
            | Self::RegisterTargets
            | Self::DeregisterTargets
            | Self::DescribeTargetGroupAttributes
            | Self::DescribeTags
            | Self::CreateTargetGroup
            | Self::ModifyTargetGroup
            | Self::ModifyTargetGroupAttributes
            | Self::DeleteTargetGroup
            | Self::AddTags
            | Self::RemoveTags => "elasticloadbalancing",
            Self::DescribeVpcs
            | Self::DescribeNetworkInterfaces
            | Self::DescribeSecurityGroups
            | Self::DescribeSecurityGroupRules
            | Self::AuthorizeSecurityGroupIngress
            | Self::RevokeSecurityGroupIngress => "ec2",
        };
        format!("{service}:{self}")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl EncodeLabelValue for Action {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_fmt(encoder, format_args!("{self}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    shard: String,
    action: Action,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

/// The measurements of this crate. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    targets: Family<ActionLabels, Counter>,
    latency: Family<ActionLabels, Histogram>,
    waits: Family<LaneLabels, Histogram>,
    budgets: Budgets,
}

impl Metrics {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            targets: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 10))),
            waits: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 10))),
            budgets: Budgets::default(),
        };
        registry.register(
            "aws_calls",
            "AWS calls by what became of them",
            metrics.calls.clone(),
        );
        registry.register(
            "aws_call_targets",
            "Targets named in acknowledged calls",
            metrics.targets.clone(),
        );
        registry.register_with_unit(
            "aws_call",
            "How long AWS takes to answer",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register_with_unit(
            "aws_budget_wait",
            "How long a call waited for the budget",
            Unit::Seconds,
            metrics.waits.clone(),
        );
        registry.register_collector(Box::new(metrics.budgets.clone()));
        metrics
    }

    /// Shows the budget of the shard from now on, for as long as somebody has it.
    pub(crate) fn show(&self, shard: &str, budget: &Budget) {
        self.budgets.show(shard, budget);
    }

    pub(crate) fn called(&self, shard: &str, action: Action, outcome: &'static str, took: Duration) {
        let labels = CallLabels {
            shard: shard.to_owned(),
            action,
            outcome,
        };
        self.calls.get_or_create(&labels).inc();
        self.latency
            .get_or_create(&ActionLabels { action })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn wrote(&self, action: Action, targets: usize) {
        self.targets
            .get_or_create(&ActionLabels { action })
            .inc_by(targets as u64);
    }

    pub(crate) fn waited(&self, lane: Lane, wait: Duration) {
        self.waits
            .get_or_create(&LaneLabels { lane: lane.label() })
            .observe(wait.as_secs_f64());
    }
}
