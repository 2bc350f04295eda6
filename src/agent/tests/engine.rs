//! The engine with a stream that a test plays. The clock stands still until everybody waits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::atomic::AtomicBool, time::Duration};

use agent::{
    engine::{self, Channels, Command, Hands, Link},
    index::{Event, Index, Input, Namespaces},
    metrics::Metrics,
    pods::PodWatcher,
    proof::Prover,
    write_back::{GATE_PACE, WriteBack, Writer},
};
use kube::Client;
use model::{
    fact::{ObjectName, ObjectVersion},
    ownership::Marks,
    stream::{Change, Source, Statement, Update},
};
use runtime::{Clock, Kind, Tasks, admin::Readiness, telemetry::Registry};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{
    agent::v1::{self as v1, AgentMessage, server_message::Message},
    convert::Stamped,
};

struct Engine {
    inputs: mpsc::Sender<Input>,
    commands: mpsc::Sender<Command>,
    readiness: Readiness,
}

/// An engine that looks at every namespace, of a cluster that does not answer.
fn start() -> Engine {
    start_of(Namespaces::All)
}

fn start_of(namespaces: Namespaces) -> Engine {
    let tasks = Tasks::new();
    let (inputs, inputs_in) = mpsc::channel(8);
    let (commands, commands_in) = mpsc::channel(8);
    let (findings, findings_in) = mpsc::channel(8);
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = Client::try_from(nowhere).unwrap();
    let metrics = Metrics::new(&mut Registry::default());
    let gate_writer = Writer::default();
    let write_gates = WriteBack {
        client: client.clone(),
        writer: gate_writer.clone(),
        pace: GATE_PACE,
        findings: findings.clone(),
        instance: "test".to_owned(),
        clock: Clock::real(),
        metrics: metrics.clone(),
        knows_counts: AtomicBool::new(true),
    };
    tasks.spawn(Kind::Job, "write gates", write_gates.run(tasks.soft()));
    let hands = Hands {
        client: client.clone(),
        pods: PodWatcher::new(client.clone(), inputs.clone(), metrics.clone(), tasks.clone()),
        prover: Prover::new(client, findings.clone(), tasks.clone()),
        writer: Writer::default(),
        gate_writer,
        findings,
        tasks: tasks.clone(),
    };
    let channels = Channels {
        inputs: inputs_in,
        commands: commands_in,
        findings: findings_in,
    };
    let readiness = Readiness::default();
    tasks.spawn(
        Kind::Job,
        "engine",
        engine::run(Index::of(namespaces), channels, hands, metrics, readiness.clone()),
    );
    Engine {
        inputs,
        commands,
        readiness,
    }
}

impl Engine {
    async fn connect(&self, epoch: u64, queue: usize) -> (mpsc::Receiver<AgentMessage>, CancellationToken) {
        let (out, messages) = mpsc::channel(queue);
        let cut = CancellationToken::new();
        let link = Link {
            epoch,
            heartbeat: Duration::from_secs(10),
            out,
            cut: cut.clone(),
        };
        self.commands.send(Command::Connected(link)).await.unwrap();
        (messages, cut)
    }

    async fn list(&self, bindings: u8) {
        self.inputs.send(Input::Sources(Event::Init(None))).await.unwrap();
        for number in 0..bindings {
            self.inputs
                .send(Input::Sources(Event::InitApply(source(number, 1))))
                .await
                .unwrap();
        }
        self.inputs
            .send(Input::Sources(Event::InitDone(None)))
            .await
            .unwrap();
    }
}

fn source(number: u8, generation: i64) -> Source {
    Source {
        object: ObjectName::new("shop", format!("binding-{number}")),
        version: ObjectVersion {
            uid: Uuid::from_u128(u128::from(number) + 1),
            resource_version: 1,
        },
        generation,
        spec: serde_json::json!({}),
        deleting: false,
        marks: Some(Marks::default()),
    }
}

async fn read(messages: &mut mpsc::Receiver<AgentMessage>) -> Statement {
    Stamped::try_from(messages.recv().await.unwrap())
        .unwrap()
        .statement
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_is_cut_and_then_told_everything_anew() {
    let engine = start();
    let (mut unread, cut) = engine.connect(1, 1).await;
    engine.list(3).await;
    // The first message fills the queue; thousands of changes after it wait as names, not as messages.
    for generation in 2..5_000 {
        engine
            .inputs
            .send(Input::Sources(Event::Apply(source(0, generation))))
            .await
            .unwrap();
    }
    let begun = Instant::now();
    cut.cancelled().await;
    assert!(
        begun.elapsed() >= Duration::from_secs(29),
        "{:?}",
        begun.elapsed()
    );
    assert!(matches!(
        read(&mut unread).await,
        Statement::Update {
            update: Update::Sources(Change::Reset(_)),
            ..
        }
    ));
    assert!(unread.recv().await.is_none(), "nothing more was buffered");

    let (mut messages, _cut) = engine.connect(2, 8).await;
    let Statement::Update {
        revision: 1,
        update: Update::Sources(Change::Reset(sources)),
    } = read(&mut messages).await
    else {
        panic!("a new stream begins with a reset")
    };
    assert_eq!((sources.len(), sources[0].generation), (3, 4_999));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_nothing_to_say_gives_signs_of_life() {
    let engine = start();
    let (mut messages, cut) = engine.connect(1, 8).await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(
            read(&mut messages).await,
            Statement::Heartbeat { surroundings: None }
        );
    }
    let elapsed = begun.elapsed().as_secs();
    assert!((99..=101).contains(&elapsed), "{elapsed}");
    assert!(!cut.is_cancelled());
    assert_eq!(
        engine.readiness.missing(),
        Vec::<&str>::new(),
        "nothing was watched, so nothing was judged"
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_older_stream_does_not_end_the_present_one() {
    let engine = start();
    let (_old, old_cut) = engine.connect(1, 8).await;
    let (mut messages, cut) = engine.connect(2, 8).await;
    engine
        .commands
        .send(Command::Disconnected { epoch: 1 })
        .await
        .unwrap();
    engine.list(1).await;
    assert!(matches!(read(&mut messages).await, Statement::Update { .. }));
    assert!(old_cut.is_cancelled());
    assert!(!cut.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_how_long_it_waited_and_a_list_is_no_event() {
    let engine = start();
    let (mut messages, _cut) = engine.connect(1, 1).await;
    engine.list(1).await;
    let apply = async |generation| {
        let event = Input::Sources(Event::Apply(source(0, generation)));
        engine.inputs.send(event).await.unwrap();
    };
    // The first message fills the queue, so that the events wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    apply(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    apply(3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let list = messages.recv().await.unwrap();
    assert_eq!(list.origin, None, "{list:?}");
    let news = messages.recv().await.unwrap();
    let waited = wire::convert::origin(&news).unwrap().waited.as_secs_f64();
    assert!(
        (4.9..5.2).contains(&waited),
        "since the older of the two: {waited}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_readiness_gate_is_written_in_a_namespace_that_is_not_looked_at() {
    let engine = start_of(Namespaces::These(["shop".to_owned()].into()));
    let (mut messages, _cut) = engine.connect(1, 8).await;
    // Written in this order, if at all. That the cluster does not answer is the answer.
    for (id, namespace) in [(1, "elsewhere"), (2, "shop")] {
        let gate = v1::GateWriteBack {
            write_back_id: id,
            pod: Some(v1::PodRef {
                namespace: namespace.to_owned(),
                name: "web-1".to_owned(),
                uid: Uuid::from_u128(1).to_string(),
            }),
            gate: Some(v1::Gate {
                binding: "web".to_owned(),
                state: Some(v1::GateState::default()),
            }),
        };
        let message = Message::Gate(gate);
        let command = Command::Server { epoch: 1, message };
        engine.commands.send(command).await.unwrap();
    }
    let written = loop {
        if let Statement::WriteBackResult { id, .. } = read(&mut messages).await {
            break id;
        }
    };
    assert_eq!(written, 2);
}
