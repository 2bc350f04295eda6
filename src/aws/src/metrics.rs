//! What can be measured about AWS. No label is unbounded: shards are few.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::budget::{Category, Lane};

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
            | Self::DeregisterTargets => "elasticloadbalancing",
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
    action: Action,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    shard: String,
    category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: &'static str,
}

/// The measurements of this crate. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    targets: Family<CallLabels, Counter>,
    level: Family<LevelLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    waits: Family<LaneLabels, Histogram>,
}

impl Metrics {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            targets: Family::default(),
            level: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 10))),
        };
        registry.register("aws_calls", "AWS calls by outcome", metrics.calls.clone());
        registry.register(
            "aws_call_targets",
            "Targets in AWS calls by outcome",
            metrics.targets.clone(),
        );
        registry.register(
            "aws_budget_level",
            "How full a shard's bucket of calls is, 0 to 1",
            metrics.level.clone(),
        );
        registry.register_with_unit(
            "aws_budget_wait",
            "How long a call waited for the budget",
            Unit::Seconds,
            metrics.waits.clone(),
        );
        metrics
    }

    pub(crate) fn called(&self, action: Action, outcome: &'static str, targets: usize) {
        let labels = CallLabels { action, outcome };
        self.calls.get_or_create(&labels).inc();
        if targets > 0 {
            self.targets.get_or_create(&labels).inc_by(targets as u64);
        }
    }

    pub(crate) fn waited(&self, lane: Lane, wait: Duration) {
        self.waits
            .get_or_create(&LaneLabels { lane: lane.label() })
            .observe(wait.as_secs_f64());
    }

    pub(crate) fn level(&self, shard: &str, category: Category, level: f64) {
        let labels = LevelLabels {
            shard: shard.to_owned(),
            category: category.label(),
        };
        self.level.get_or_create(&labels).set(level);
    }
}
