//! The one task that owns the index. It waits for events, never for anybody else.

use std::{collections::BTreeSet, time::Duration};

use kube::Client;
use model::{
    fact::{Evidence, ObjectName, PodRef},
    node::NodeRef,
    ownership::Surroundings,
    stream::{Confirm, Origin, Statement},
};
use runtime::{Tasks, admin::Readiness, telemetry};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;
use wire::{
    agent::v1::{self as v1, AgentMessage, server_message::Message},
    convert::{ConvertError, agent_message, to_origin},
};

use crate::{
    index::{EndpointKey, Index, Input, Resync},
    metrics::Metrics,
    pods::PodWatcher,
    proof::Prover,
    relist::{self, Relist},
    write_back::{Order, Writer},
};

/// A server that takes no message for this long is not reading.
const STALL: Duration = Duration::from_secs(30);

/// What the stream tells the engine.
#[derive(Debug)]
pub enum Command {
    Connected(Link),
    Server { epoch: u64, message: Message },
    Disconnected { epoch: u64 },
}

/// An open stream.
#[derive(Debug)]
pub struct Link {
    pub epoch: u64,
    pub heartbeat: Duration,
    /// Small: what waits is kept in the index, where it is bounded.
    pub out: mpsc::Sender<AgentMessage>,
    /// Ends the stream.
    pub cut: CancellationToken,
}

/// What a read or a write in the cluster came to.
#[derive(Debug)]
pub enum Finding {
    Proven {
        service: ObjectName,
        key: EndpointKey,
        evidence: Evidence,
    },
    /// The node's end is proven.
    NodeGone(NodeRef),
    Confirmed {
        epoch: u64,
        confirm: Confirm,
    },
    WrittenBack {
        epoch: u64,
        id: u64,
        error: Option<String>,
    },
    Surroundings(Surroundings),
}

/// The engine's ears.
pub struct Channels {
    pub inputs: mpsc::Receiver<Input>,
    pub commands: mpsc::Receiver<Command>,
    pub findings: mpsc::Receiver<Finding>,
}

/// The engine's hands: what it has done elsewhere.
pub struct Hands {
    pub client: Client,
    pub pods: PodWatcher,
    pub prover: Prover,
    /// Of statuses.
    pub writer: Writer,
    pub gate_writer: Writer,
    pub findings: mpsc::Sender<Finding>,
    pub tasks: Tasks,
}

struct Open {
    link: Link,
    beat: Interval,
    /// Whether something was said since the last beat.
    spoke: bool,
    /// When the server last took a message, or nothing was waiting.
    moved: Instant,
    /// What was last said of the surroundings.
    surroundings: Option<Surroundings>,
}

impl Open {
    /// Says what changed around since it was last said. In a full queue it waits for the next turn.
    fn mention(&mut self, seen: Option<&Surroundings>) {
        if seen.is_none() || self.surroundings.as_ref() == seen {
            return;
        }
        let surroundings = seen.cloned();
        let statement = Statement::Heartbeat {
            surroundings: surroundings.clone(),
        };
        if self
            .link
            .out
            .try_send(agent_message(self.link.epoch, statement))
            .is_ok()
        {
            self.surroundings = surroundings;
            self.spoke = true;
        }
    }
}

/// Runs until the soft stop.
pub async fn run(
    mut index: Index,
    mut channels: Channels,
    mut hands: Hands,
    metrics: Metrics,
    readiness: Readiness,
) {
    let soft = hands.tasks.soft();
    let mut open: Option<Open> = None;
    let mut surroundings = None;
    loop {
        if let Some(open) = &mut open {
            open.mention(surroundings.as_ref());
        }
        for order in index.take_pod_watches() {
            hands.pods.obey(order);
        }
        for request in index.take_proofs() {
            hands.prover.prove(request);
        }
        for node in index.take_node_proofs() {
            hands.prover.prove_node(node);
        }
        let waiting = open.is_some() && index.has_next();
        let (out, deadline) = match &open {
            Some(open) => (Some(open.link.out.clone()), open.moved + STALL),
            None => (None, Instant::now()),
        };
        tokio::select! {
            biased;
            () = soft.cancelled() => return,
            Some(command) = channels.commands.recv() => obey(command, &mut index, &mut open, &hands, &metrics),
            permit = reserve(out), if waiting => {
                if let (Some(permit), Some(open)) = (permit, &mut open) {
                    if let Some(statement) = index.next_statement() {
                        permit.send(AgentMessage {
                            origin: origin(&index, &metrics),
                            ..agent_message(open.link.epoch, statement)
                        });
                        metrics.said();
                        open.spoke = true;
                    }
                    open.moved = Instant::now();
                } else {
                    close(&mut index, &mut open, &metrics);
                }
            }
            Some(finding) = channels.findings.recv() => note(finding, &mut index, open.as_mut(), &mut surroundings),
            Some(input) = channels.inputs.recv() => {
                if let Some(open) = open.as_mut().filter(|_| !waiting) {
                    open.moved = Instant::now();
                }
                index.came_at(input.is_news().then(Instant::now));
                index.handle(input);
                index.came_at(None);
                // Those of the last of many are enough.
                if channels.inputs.is_empty() {
                    metrics.index(index.sizes());
                }
                readiness.set("watches", index.is_synced());
            }
            () = sleep_until(deadline), if waiting => {
                tracing::warn!("the server takes no messages: cutting the stream");
                close(&mut index, &mut open, &metrics);
            }
            () = beat(open.as_mut()) => {
                if open.as_ref().is_some_and(|open| open.link.out.is_closed()) {
                    close(&mut index, &mut open, &metrics);
                } else if let Some(open) = &mut open
                    && !std::mem::take(&mut open.spoke)
                    // A full queue is a sign of life waiting to be taken.
                    && open.link.out.try_send(agent_message(open.link.epoch, Statement::Heartbeat { surroundings: None })).is_ok()
                {
                    metrics.said();
                }
            }
        }
    }
}

/// Where the statement that was just made comes from.
fn origin(index: &Index, metrics: &Metrics) -> Option<v1::Origin> {
    let waited = index.oldest_event()?.elapsed();
    metrics.waited(waited);
    let span = tracing::info_span!("tell", waited_ms = waited.as_millis());
    let trace = telemetry::traceparent(&span);
    Some(to_origin(Origin { waited, trace }))
}

async fn reserve(out: Option<mpsc::Sender<AgentMessage>>) -> Option<mpsc::OwnedPermit<AgentMessage>> {
    out?.reserve_owned().await.ok()
}

async fn beat(open: Option<&mut Open>) {
    match open {
        Some(open) => {
            open.beat.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn close(index: &mut Index, open: &mut Option<Open>, metrics: &Metrics) {
    if let Some(open) = open.take() {
        open.link.cut.cancel();
        metrics.connected(false);
    }
    index.disconnect();
}

fn note(
    finding: Finding,
    index: &mut Index,
    open: Option<&mut Open>,
    surroundings: &mut Option<Surroundings>,
) {
    match finding {
        Finding::Surroundings(seen) => *surroundings = Some(seen),
        Finding::Proven {
            service,
            key,
            evidence,
        } => {
            index.came_at(Some(Instant::now()));
            index.proven(&service, &key, evidence);
            index.came_at(None);
        }
        Finding::NodeGone(node) => index.node_is_gone(node),
        Finding::Confirmed { epoch, confirm } => index.confirm(epoch, confirm),
        Finding::WrittenBack { epoch, id, error } => {
            if let Some(open) = open.filter(|open| open.link.epoch == epoch) {
                // Lost in a full queue, it is as if the stream had ended before: the server sends the status again.
                let result = agent_message(epoch, Statement::WriteBackResult { id, error });
                open.link.out.try_send(result).ok();
            }
        }
    }
}

fn obey(command: Command, index: &mut Index, open: &mut Option<Open>, hands: &Hands, metrics: &Metrics) {
    match command {
        Command::Connected(link) => {
            close(index, open, metrics);
            index.connect(link.epoch);
            metrics.connected(true);
            let mut beat = interval_at(Instant::now() + link.heartbeat, link.heartbeat);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            *open = Some(Open {
                link,
                beat,
                spoke: false,
                moved: Instant::now(),
                surroundings: None,
            });
        }
        Command::Disconnected { epoch } => {
            if index.epoch() == Some(epoch) {
                close(index, open, metrics);
            }
        }
        Command::Server { epoch, message } => {
            if index.epoch() == Some(epoch)
                && let Err(error) = serve(epoch, message, index, hands)
            {
                tracing::warn!(%error, "a message of the server is ignored");
            }
            if let Some(open) = open.as_mut().filter(|_| !index.has_next()) {
                open.moved = Instant::now();
            }
        }
    }
}

fn serve(epoch: u64, message: Message, index: &mut Index, hands: &Hands) -> Result<(), ConvertError> {
    match message {
        // The stream deals with these itself.
        Message::Welcome(_) | Message::GoAway(_) => {}
        Message::Subscribe(v1::Subscribe {
            services,
            nodes,
            pods,
        }) => {
            let services = services
                .into_iter()
                .map(ObjectName::try_from)
                .collect::<Result<BTreeSet<_>, _>>()?;
            index.subscribe(services, nodes);
            index.want_pods(pods);
        }
        Message::Ack(v1::Ack { revision }) => index.acknowledged(revision),
        Message::Resync(v1::Resync { reason, scope }) => {
            let scope = match scope {
                Some(v1::resync::Scope::Service(service)) => Resync::Service(service.try_into()?),
                Some(v1::resync::Scope::Sources(v1::AllSources {})) => Resync::Sources,
                Some(v1::resync::Scope::Nodes(v1::AllNodes {})) => Resync::Nodes,
                None => return Ok(()),
            };
            tracing::info!(reason, ?scope, "the server asks to be told again");
            index.resync(&scope);
        }
        // Of what is not looked at nothing is confirmed, and nothing is written there.
        Message::Relist(v1::Relist { ref namespace, .. })
        | Message::WriteBack(v1::WriteBack { ref namespace, .. })
        | Message::Gate(v1::GateWriteBack {
            pod: Some(v1::PodRef { ref namespace, .. }),
            ..
        }) if !index.looks_at(namespace) => {}
        Message::Relist(v1::Relist {
            relist_id,
            namespace,
            service,
            pods,
            nodes,
        }) => {
            let service = v1::ServiceName {
                namespace,
                name: service,
            }
            .try_into()?;
            let pods = pods.into_iter().map(PodRef::try_from).collect::<Result<_, _>>()?;
            let nodes = nodes
                .into_iter()
                .map(NodeRef::try_from)
                .collect::<Result<_, _>>()?;
            let relist = Relist {
                id: relist_id,
                service,
                pods,
                nodes,
            };
            relist::spawn(
                relist,
                epoch,
                hands.client.clone(),
                hands.findings.clone(),
                &hands.tasks,
            );
        }
        Message::WriteBack(write_back) => hands.writer.write(epoch, Order::Object(write_back)),
        Message::Gate(v1::GateWriteBack {
            write_back_id: id,
            pod,
            gate,
        }) => {
            if let (Some(pod), Some(gate)) = (pod, gate) {
                hands.gate_writer.write(epoch, Order::Gate { id, pod, gate });
            }
        }
    }
    Ok(())
}
