//! What the agent counts.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};
use runtime::telemetry::Registry;

use crate::index::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

const WRITTEN: &str = "written";
const FAILED: &str = "failed";

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    statements: Counter,
    streams: Counter,
    connected: Gauge,
    active: Gauge,
    event_wait: Histogram,
    synced: Family<KindLabels, Gauge>,
    objects: Family<KindLabels, Gauge>,
    watch_errors: Family<KindLabels, Counter>,
    write_backs: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let waits = [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
        let metrics = Self {
            statements: Counter::default(),
            streams: Counter::default(),
            connected: Gauge::default(),
            active: Gauge::default(),
            event_wait: Histogram::new(waits),
            synced: Family::default(),
            objects: Family::default(),
            watch_errors: Family::default(),
            write_backs: Family::default(),
        };
        // What never happened is a zero and not a gap.
        for kind in Kind::ALL {
            let labels = KindLabels { kind };
            drop(metrics.watch_errors.get_or_create(&labels));
            drop(metrics.synced.get_or_create(&labels));
            drop(metrics.objects.get_or_create(&labels));
        }
        for outcome in [WRITTEN, FAILED] {
            drop(metrics.write_backs.get_or_create(&OutcomeLabels { outcome }));
        }
        metrics.register(registry.sub_registry_with_prefix("agent"));
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let Self {
            statements,
            streams,
            connected,
            active,
            event_wait,
            synced,
            objects,
            watch_errors,
            write_backs,
        } = self.clone();
        registry.register("statements", "Messages sent to the service", statements);
        registry.register("streams", "Streams that were opened", streams);
        registry.register("connected", "1 while a stream is open", connected);
        registry.register(
            "active",
            "1 while this replica holds the Lease and may have a stream",
            active,
        );
        registry.register_with_unit(
            "event_wait",
            "How long the oldest event of a message waited until it was sent",
            Unit::Seconds,
            event_wait,
        );
        registry.register(
            "watch_synced",
            "1 while the kind was listed completely and can be seen",
            synced,
        );
        registry.register("index_objects", "Objects of the kind that are known", objects);
        registry.register("watch_errors", "Failed lists and watches", watch_errors);
        registry.register(
            "write_backs",
            "Statuses and readiness gates by whether they could be written",
            write_backs,
        );
    }

    pub(crate) fn said(&self) {
        self.statements.inc();
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.event_wait.observe(wait.as_secs_f64());
    }

    pub(crate) fn connected(&self, connected: bool) {
        if connected {
            self.streams.inc();
        }
        self.connected.set(i64::from(connected));
    }

    pub(crate) fn active(&self, active: bool) {
        self.active.set(i64::from(active));
    }

    pub(crate) fn index(&self, sizes: [(Kind, usize, bool); 5]) {
        for (kind, objects, synced) in sizes {
            let labels = KindLabels { kind };
            self.objects
                .get_or_create(&labels)
                .set(i64::try_from(objects).unwrap_or(i64::MAX));
            self.synced.get_or_create(&labels).set(i64::from(synced));
        }
    }

    pub(crate) fn watch_failed(&self, kind: Kind) {
        self.watch_errors.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn wrote_back(&self, succeeded: bool) {
        let outcome = if succeeded { WRITTEN } else { FAILED };
        self.write_backs.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}
