//! What the agent counts.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use runtime::telemetry::Registry;

use crate::index::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum KindLabel {
    TargetGroupBinding,
    Service,
    EndpointSlice,
    Node,
    Pod,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: KindLabel,
}

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    statements: Counter,
    streams: Counter,
    connected: Gauge,
    watch_errors: Family<KindLabels, Counter>,
    write_backs: Counter,
    write_back_errors: Counter,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            statements: Counter::default(),
            streams: Counter::default(),
            connected: Gauge::default(),
            watch_errors: Family::default(),
            write_backs: Counter::default(),
            write_back_errors: Counter::default(),
        };
        let Self {
            statements,
            streams,
            connected,
            watch_errors,
            write_backs,
            write_back_errors,
        } = metrics.clone();
        registry.register(
            "elbow_agent_statements",
            "Messages sent to the service",
            statements,
        );
        registry.register("elbow_agent_streams", "Streams that were opened", streams);
        registry.register("elbow_agent_connected", "1 while a stream is open", connected);
        registry.register(
            "elbow_agent_watch_errors",
            "Failed lists and watches",
            watch_errors,
        );
        registry.register(
            "elbow_agent_write_backs",
            "Statuses written or found up to date",
            write_backs,
        );
        registry.register(
            "elbow_agent_write_back_errors",
            "Statuses that could not be written",
            write_back_errors,
        );
        metrics
    }

    pub(crate) fn said(&self) {
        self.statements.inc();
    }

    pub(crate) fn connected(&self, connected: bool) {
        if connected {
            self.streams.inc();
        }
        self.connected.set(i64::from(connected));
    }

    pub(crate) fn watch_failed(&self, kind: Kind) {
        let kind = match kind {
            Kind::TargetGroupBinding => KindLabel::TargetGroupBinding,
            Kind::Service => KindLabel::Service,
            Kind::EndpointSlice => KindLabel::EndpointSlice,
            Kind::Node => KindLabel::Node,
            Kind::Pod => KindLabel::Pod,
        };
        self.watch_errors.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn wrote_back(&self, succeeded: bool) {
        if succeeded {
            self.write_backs.inc()
        } else {
            self.write_back_errors.inc()
        };
    }
}
