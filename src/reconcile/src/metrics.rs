//! What the loops count.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counters of all shards of this replica.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) passes: Counter,
    pub(crate) failed_passes: Counter,
    pub(crate) pass_seconds: Histogram,
    pub(crate) shards: Gauge,
    pub(crate) waiting_groups: Gauge,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let buckets = [
            0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
        ];
        let metrics = Self {
            passes: Counter::default(),
            failed_passes: Counter::default(),
            pass_seconds: Histogram::new(buckets),
            shards: Gauge::default(),
            waiting_groups: Gauge::default(),
        };
        let Self {
            passes,
            failed_passes,
            pass_seconds,
            shards,
            waiting_groups,
        } = &metrics;
        registry.register("reconcile_passes", "Passes over target groups", passes.clone());
        registry.register(
            "reconcile_failed_passes",
            "Passes that ended in an error",
            failed_passes.clone(),
        );
        registry.register(
            "reconcile_pass_seconds",
            "Duration of a pass, waits included",
            pass_seconds.clone(),
        );
        registry.register(
            "reconcile_shards",
            "Shards that this replica holds",
            shards.clone(),
        );
        registry.register(
            "reconcile_waiting_groups",
            "Target groups that wait for room",
            waiting_groups.clone(),
        );
        metrics
    }
}
