//! What the buckets are like, read when somebody looks: a level that was noted at the last call would be old by then.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{Budget, Category, Inner, Lane};

/// A bucket and its line at one moment.
#[derive(Clone, Debug)]
pub(super) struct BucketState {
    pub(super) level: f64,
    pub(super) rate: f64,
    pub(super) throttles: u64,
    /// By [`Lane`].
    pub(super) spent: [u64; Lane::ALL.len()],
    pub(super) waiting: usize,
    pub(super) oldest: Duration,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct BucketLabels {
    shard: String,
    bucket: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct PermitLabels {
    shard: String,
    bucket: &'static str,
    lane: &'static str,
}

/// The budgets that are shown, by shard. One that nobody has any more is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budgets(Arc<Mutex<Vec<Shown>>>);

/// The shard, and its budget.
type Shown = (String, Weak<Inner>);

impl Budgets {
    /// Shows `budget` as the shard's, in place of a former one.
    pub(crate) fn show(&self, shard: &str, budget: &Budget) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(name, former)| name != shard && former.strong_count() > 0);
        shown.push((shard.to_owned(), Arc::downgrade(&budget.inner)));
    }

    fn states(&self) -> Vec<(BucketLabels, BucketState)> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let alive = shown.into_iter().filter_map(|(shard, inner)| {
            Some((
                shard,
                Budget {
                    inner: inner.upgrade()?,
                },
            ))
        });
        alive
            .flat_map(|(shard, budget)| {
                Category::ALL.map(|category| {
                    let labels = BucketLabels {
                        shard: shard.clone(),
                        bucket: category.label(),
                    };
                    (labels, budget.state(category))
                })
            })
            .collect()
    }
}

impl Collector for Budgets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.states();
        let mut gauge = |name: &str, help: &str, value: fn(&BucketState) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            states.iter().try_for_each(|(labels, state)| {
                ConstGauge::new(value(state)).encode(family.encode_family(labels)?)
            })
        };
        gauge(
            "aws_budget_level",
            "How full a bucket of calls is, 0 to 1, with those that wait counted as served.",
            |state| state.level,
        )?;
        gauge(
            "aws_budget_rate",
            "Calls a second that the bucket is refilled by: what is set, or less after throttling.",
            |state| state.rate,
        )?;
        #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
        gauge("aws_budget_waiting", "Calls that wait for the bucket.", |state| {
            state.waiting as f64
        })?;
        gauge(
            "aws_budget_oldest_wait_seconds",
            "For how long the oldest of them has waited.",
            |state| state.oldest.as_secs_f64(),
        )?;
        let help = "Calls that AWS throttled.";
        let mut family = encoder.encode_descriptor("aws_throttles", help, None, MetricType::Counter)?;
        for (labels, state) in &states {
            ConstCounter::new(state.throttles).encode(family.encode_family(labels)?)?;
        }
        let help = "Calls that were paid for, by what they were for.";
        let mut family = encoder.encode_descriptor("aws_permits", help, None, MetricType::Counter)?;
        for (BucketLabels { shard, bucket }, state) in &states {
            // A bucket has few lanes of its own: those that nobody used are left out.
            for (lane, spent) in Lane::ALL
                .into_iter()
                .zip(state.spent)
                .filter(|(_, spent)| *spent > 0)
            {
                let labels = PermitLabels {
                    shard: shard.clone(),
                    bucket,
                    lane: lane.label(),
                };
                ConstCounter::new(spent).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
