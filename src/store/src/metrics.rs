//! How long each operation takes and how it fails.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::ConstGauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use sqlx::PgPool;

/// What is measured separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Health,
    Token,
    Declare,
    Query,
    OpenStream,
    Touch,
    IngestSources,
    IngestService,
    IngestSlices,
    IngestDepartures,
    IngestConfirm,
    IngestNodes,
    IngestPods,
    IngestUnsynced,
    Rejudge,
    Outgoing,
    RequestRelists,
    Lease,
    Fleet,
    Gather,
    Groups,
    Intend,
    Settle,
    Marks,
    FinishBindings,
    Report,
    RecordObservation,
    WriteOpenings,
    WriteOutlook,
    ReportOpenings,
    SyncHolds,
    SyncGates,
    FinishDrains,
    Release,
    Adopt,
    Pause,
    Forget,
    Counts,
}

impl EncodeLabelValue for Op {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        fmt::Write::write_fmt(encoder, format_args!("{self:?}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpLabels {
    operation: Op,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: Op,
    kind: &'static str,
}

/// The measurements of this crate. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: Family<OpLabels, Histogram>,
    errors: Family<ErrorLabels, Counter>,
    retries: Counter,
    connections: Connections,
}

/// The pool, read when somebody looks.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<OnceLock<PgPool>>);

#[derive(Clone, Debug, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(pool) = self.0.get() else { return Ok(()) };
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        let help = "Connections of the pool to the database.";
        let mut family = encoder.encode_descriptor("store_connections", help, None, MetricType::Gauge)?;
        for (state, number) in [("idle", idle), ("used", pool.size().saturating_sub(idle))] {
            ConstGauge::new(number).encode(family.encode_family(&StateLabels { state })?)?;
        }
        let help = "How many the pool may open; all used: operations wait.";
        let family = encoder.encode_descriptor("store_connections_limit", help, None, MetricType::Gauge)?;
        ConstGauge::new(pool.options().get_max_connections()).encode(family)
    }
}

impl Metrics {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 2.0, 12))),
            errors: Family::default(),
            retries: Counter::default(),
            connections: Connections::default(),
        };
        registry.register_with_unit(
            "store_operation",
            "How long an operation on the database takes",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "store_errors",
            "Operations on the database that failed, by kind",
            metrics.errors.clone(),
        );
        registry.register(
            "store_retries",
            "Transactions that lost a race and ran again",
            metrics.retries.clone(),
        );
        registry.register_collector(Box::new(metrics.connections.clone()));
        metrics
    }

    /// Shows this pool's connections from now on.
    pub(crate) fn show(&self, pool: &PgPool) {
        // A second store of the same metrics is a test's.
        self.connections.0.set(pool.clone()).ok();
    }

    pub(crate) fn done(&self, operation: Op, took: Duration, error: Option<&'static str>) {
        self.duration
            .get_or_create(&OpLabels { operation })
            .observe(took.as_secs_f64());
        if let Some(kind) = error {
            self.errors.get_or_create(&ErrorLabels { operation, kind }).inc();
        }
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }
}
