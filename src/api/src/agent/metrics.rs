//! What the agents' streams count.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use wire::agent::v1::agent_message::Message;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The measurements of the agents' streams of this replica. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    open: Gauge,
    opened: Counter,
    ended: Family<ReasonLabels, Counter>,
    messages: Family<KindLabels, Counter>,
    resyncs: Counter,
}

/// Why a stream ended, as a label.
pub(super) const GONE: &str = "gone";
pub(super) const SENT_AWAY: &str = "sent_away";
pub(super) const REFUSED: &str = "refused";

impl Metrics {
    /// Registers the measurements.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            open: Gauge::default(),
            opened: Counter::default(),
            ended: Family::default(),
            messages: Family::default(),
            resyncs: Counter::default(),
        };
        let Self {
            open,
            opened,
            ended,
            messages,
            resyncs,
        } = &metrics;
        // What never happened is a zero and not a gap.
        for reason in [GONE, SENT_AWAY, REFUSED] {
            drop(ended.get_or_create(&ReasonLabels { reason }));
        }
        registry.register("streams_open", "Agents' streams of this replica", open.clone());
        registry.register(
            "streams_opened",
            "Agents' streams that said Hello",
            opened.clone(),
        );
        registry.register(
            "streams_ended",
            "Agents' streams that ended: `gone` by the agent, `sent_away` by us to come again, `refused` by an error",
            ended.clone(),
        );
        registry.register(
            "stream_messages",
            "Messages of agents by what they state",
            messages.clone(),
        );
        registry.register(
            "stream_resyncs",
            "Resets that agents were asked for, something having been missed",
            resyncs.clone(),
        );
        metrics
    }

    /// A stream that counts as open until this is dropped.
    pub(super) fn open(&self) -> Open {
        self.opened.inc();
        self.open.inc();
        Open(self.open.clone())
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn heard(&self, message: Option<&Message>) {
        let kind = match message {
            Some(Message::Sources(_)) => "sources",
            Some(Message::Service(_)) => "service",
            Some(Message::Slices(_)) => "slices",
            Some(Message::Departures(_)) => "departures",
            Some(Message::Confirm(_)) => "confirm",
            Some(Message::WriteBackResult(_)) => "write_back_result",
            Some(Message::Heartbeat(_)) => "heartbeat",
            Some(Message::Unsynced(_)) => "unsynced",
            Some(Message::Nodes(_)) => "nodes",
            Some(Message::NodesGone(_)) => "nodes_gone",
            Some(Message::Pods(_)) => "pods",
            Some(Message::Hello(_) | Message::Part(_)) | None => "other",
        };
        self.messages.get_or_create(&KindLabels { kind }).inc();
    }

    pub(super) fn resynced(&self) {
        self.resyncs.inc();
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
