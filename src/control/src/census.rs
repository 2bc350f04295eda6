//! What there is in the whole installation, counted now and then for the metrics. Each replica tells the same.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use runtime::{Clock, Kind, Tasks};
use store::{Counts, OpenHolds};
use tokio::time::MissedTickBehavior;

use crate::Control;

/// One statement on the database each time.
const EVERY: Duration = Duration::from_secs(15);

/// The last count. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<Mutex<Option<(Timestamp, Counts)>>>);

impl Census {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let census = Self::default();
        registry.register_collector(Box::new(census.clone()));
        census
    }

    /// Counts until the soft stop.
    pub fn spawn(self, control: &Control, clock: Clock, tasks: &Tasks) {
        let (control, soft) = (control.clone(), tasks.soft());
        tasks.spawn(Kind::Critical, "census", async move {
            soft.run_until_cancelled(self.run(&control, &clock)).await;
        });
    }

    async fn run(&self, control: &Control, clock: &Clock) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match control.store.counts(control.settings.guards.silent_after).await {
                Ok(counts) => {
                    let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                    *last = Some((clock.now(), counts));
                }
                // The time of the last count tells how old it is.
                Err(error) => tracing::warn!(error = %error, "what there is could not be counted"),
            }
        }
    }
}

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((at, counts)) = last else { return Ok(()) };
        let Counts {
            clusters,
            heard,
            bindings,
            targets,
            open_holds,
            held_shards,
            free_shards,
            restored_shards,
        } = counts;
        let mut gauges = Gauges(&mut encoder);
        gauges.one(
            "census_timestamp_seconds",
            "When what follows was counted.",
            seconds(at),
        )?;
        gauges.family(
            "clusters",
            "Registered clusters by what is heard of them.",
            "state",
            clusters.iter().map(counted),
        )?;
        gauges.family(
            "cluster_last_heard_timestamp_seconds",
            "When each cluster was last heard of that was, is not cordoned, and stays.",
            "cluster",
            heard.iter().map(|(cluster, at)| (&**cluster, seconds(*at))),
        )?;
        gauges.family(
            "bindings",
            "Bindings by the reason of their Ready condition.",
            "reason",
            bindings.iter().map(counted),
        )?;
        gauges.family(
            "targets",
            "Targets in the ledger by their state.",
            "state",
            targets.iter().map(counted),
        )?;
        gauges.holds(&open_holds)?;
        gauges.family(
            "shards",
            "Shards by whether a replica writes in them.",
            "state",
            [("held", number_of(held_shards)), ("free", number_of(free_shards))],
        )?;
        gauges.one(
            "shards_restored",
            "Shards whose removals wait because the database went back in time.",
            number_of(restored_shards),
        )
    }
}

struct Gauges<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Gauges<'_, '_> {
    fn one(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    /// One series for each value of `label`.
    fn family<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values
            .into_iter()
            .try_for_each(|(of, value)| ConstGauge::new(value).encode(family.encode_family(&[(label, of)])?))
    }

    fn holds(&mut self, open: &BTreeMap<String, OpenHolds>) -> fmt::Result {
        self.family(
            "holds",
            "Open holds that an operator can decide about, by reason.",
            "reason",
            open.iter()
                .map(|(reason, holds)| (&**reason, number_of(holds.number))),
        )?;
        self.family(
            "holds_oldest_seconds",
            "The age of the oldest of them.",
            "reason",
            open.iter().map(|(reason, holds)| (&**reason, holds.oldest)),
        )
    }
}

fn counted<'v>((of, number): (&'v String, &u64)) -> (&'v str, f64) {
    (of, number_of(*number))
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 of anything here")]
fn number_of(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a microsecond is lost in the year 2255"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}
