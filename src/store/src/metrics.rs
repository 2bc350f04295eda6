//! How long each operation takes and how it fails.

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
    retries: Family<OpLabels, Counter>,
}

impl Metrics {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 14))),
            errors: Family::default(),
            retries: Family::default(),
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
        metrics
    }

    pub(crate) fn done(&self, operation: Op, took: Duration, error: Option<&'static str>) {
        self.duration
            .get_or_create(&OpLabels { operation })
            .observe(took.as_secs_f64());
        if let Some(kind) = error {
            self.errors.get_or_create(&ErrorLabels { operation, kind }).inc();
        }
    }

    pub(crate) fn retried(&self, operation: Op) {
        self.retries.get_or_create(&OpLabels { operation }).inc();
    }
}
