//! What the loops count.

use std::time::Duration;

use aws::Action;
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use store::News;

use crate::shard::Key;

/// What a pass is about, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    of: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLabels {
    of: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    shard: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: Action,
}

const TARGET_GROUP: &str = "target_group";
const OPENINGS: &str = "openings";
const SECURITY_GROUP: &str = "security_group";
const MANAGED_GROUP: &str = "managed_group";

fn of(key: &Key) -> &'static str {
    match key {
        Key::TargetGroup(_) => TARGET_GROUP,
        Key::Openings(_) => OPENINGS,
        Key::SecurityGroup(_) => SECURITY_GROUP,
        Key::ManagedGroup(_) => MANAGED_GROUP,
    }
}

/// The measurements of all shards of this replica. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    passes: Family<PassLabels, Counter>,
    pass_seconds: Family<OfLabels, Histogram>,
    drift: Family<OfLabels, Counter>,
    event_to_call: Family<ActionLabels, Histogram>,
    ingest_to_call: Family<ActionLabels, Histogram>,
    pub(crate) shards: Gauge,
    pub(crate) lost_leases: Counter,
    waiting: Family<ShardLabels, Gauge>,
    queue_wait: Histogram,
}

fn lag() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

fn pass_time() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
    ])
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(pass_time),
            drift: Family::default(),
            event_to_call: Family::new_with_constructor(lag),
            ingest_to_call: Family::new_with_constructor(lag),
            shards: Gauge::default(),
            lost_leases: Counter::default(),
            waiting: Family::default(),
            queue_wait: pass_time(),
        };
        let Self {
            passes,
            pass_seconds,
            drift,
            event_to_call,
            ingest_to_call,
            shards,
            lost_leases,
            waiting,
            queue_wait,
        } = &metrics;
        // What never happened is a zero and not a gap.
        for of in [TARGET_GROUP, OPENINGS, SECURITY_GROUP, MANAGED_GROUP] {
            for outcome in ["done", "failed", "fenced"] {
                drop(passes.get_or_create(&PassLabels { of, outcome }));
            }
        }
        for of in [TARGET_GROUP, SECURITY_GROUP] {
            drop(drift.get_or_create(&OfLabels { of }));
        }
        registry.register("passes", "Passes by how they ended", passes.clone());
        registry.register_with_unit(
            "pass",
            "Duration of a pass, waits for the budget and for AWS included",
            Unit::Seconds,
            pass_seconds.clone(),
        );
        registry.register(
            "drift",
            "Targets and rules of ours that AWS was seen without, and that were made again",
            drift.clone(),
        );
        registry.register_with_unit(
            "event_to_call",
            "From the agent's sight of an endpoint event to the AWS call that follows, by the oldest event of the call; \
             without the way from the agent to the server",
            Unit::Seconds,
            event_to_call.clone(),
        );
        registry.register_with_unit(
            "ingest_to_call",
            "From the beginning of an event's ingest to the AWS call that follows, by the oldest event of the call",
            Unit::Seconds,
            ingest_to_call.clone(),
        );
        registry.register(
            "shards_held",
            "Shards that this replica writes in",
            shards.clone(),
        );
        registry.register(
            "leases_lost",
            "Leases that another replica took or that ran out while this one worked by them",
            lost_leases.clone(),
        );
        registry.register(
            "queue_waiting",
            "Passes that wait for their place among those that work at once, or for the budget",
            waiting.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "How long a pass waited for its first place",
            Unit::Seconds,
            queue_wait.clone(),
        );
        metrics
    }

    pub(crate) fn passed(&self, key: &Key, outcome: &'static str, took: Duration) {
        let of = of(key);
        self.passes.get_or_create(&PassLabels { of, outcome }).inc();
        self.pass_seconds
            .get_or_create(&OfLabels { of })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn drifted_targets(&self, number: usize) {
        self.drift
            .get_or_create(&OfLabels { of: TARGET_GROUP })
            .inc_by(number as u64);
    }

    pub(crate) fn drifted_rules(&self, number: usize) {
        self.drift
            .get_or_create(&OfLabels { of: SECURITY_GROUP })
            .inc_by(number as u64);
    }

    /// A call is being sent whose oldest event is this.
    pub(crate) fn sent(&self, action: Action, news: &News, now: Timestamp) {
        let since = |at: Timestamp| now.duration_since(at).as_secs_f64().max(0.0);
        let labels = ActionLabels { action };
        self.ingest_to_call
            .get_or_create(&labels)
            .observe(since(news.ingested_at));
        self.event_to_call
            .get_or_create(&labels)
            .observe(since(news.seen_at));
    }

    pub(crate) fn queued(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    pub(crate) fn waiting(&self, shard: &str, waiting: usize) {
        let labels = ShardLabels {
            shard: shard.to_owned(),
        };
        self.waiting
            .get_or_create(&labels)
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// This replica's work on the shard has ended.
    pub(crate) fn not_waiting(&self, shard: &str) {
        let labels = ShardLabels {
            shard: shard.to_owned(),
        };
        self.waiting.remove(&labels);
    }
}
