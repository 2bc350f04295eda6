//! Wires the parts together.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use runtime::{
    Clock, Kind, Tasks,
    admin::{self, Admin, Readiness},
    backoff::Backoff,
    telemetry,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    Config,
    engine::{self, Channels, Hands},
    index::{Index, Input, Namespaces},
    kinds::{EndpointSlice, Node, Service, TargetGroupBinding, Watched},
    lease::Elector,
    metrics::Metrics,
    pods::PodWatcher,
    proof::Prover,
    stream::Connector,
    surroundings::Lookout,
    watch::{self as watches, Watch},
    write_back::{GATE_PACE, STATUS_PACE, WriteBack, Writer},
};

/// Watch events that wait for the index; beyond, the API server waits.
const INPUTS: usize = 256;
const COMMANDS: usize = 64;
const FINDINGS: usize = 256;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts every task of an agent.
pub async fn start(config: Config, tasks: &Tasks) -> anyhow::Result<()> {
    config.check()?;
    let client = client(&config).await?;
    let clock = Clock::real();
    let mut registry = telemetry::registry(env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::default();
    readiness.set("watches", false);
    let listener = TcpListener::bind(config.admin_listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.admin_listen))?;
    admin::serve(
        listener,
        Admin {
            registry: Arc::new(registry),
            readiness: readiness.clone(),
        },
        tasks,
    );

    let (inputs, inputs_in) = mpsc::channel(INPUTS);
    let (commands, commands_in) = mpsc::channel(COMMANDS);
    let (findings, findings_in) = mpsc::channel(FINDINGS);
    let (active, is_active) = watch::channel(false);
    let (writer, gate_writer) = (Writer::default(), Writer::default());
    let soft = tasks.soft();

    let namespaces = config.namespaces();
    watch_all(&client, &namespaces, &inputs, &metrics, tasks);

    let lookout = Lookout {
        client: client.clone(),
        clock: clock.clone(),
        active: is_active.clone(),
        findings: findings.clone(),
    };
    tasks.spawn(Kind::Critical, "lookout", lookout.run(soft.clone()));

    let channels = Channels {
        inputs: inputs_in,
        commands: commands_in,
        findings: findings_in,
    };
    let hands = Hands {
        client: client.clone(),
        pods: PodWatcher::new(client.clone(), inputs, metrics.clone(), tasks.clone()),
        prover: Prover::new(client.clone(), findings.clone(), tasks.clone()),
        writer: writer.clone(),
        gate_writer: gate_writer.clone(),
        findings: findings.clone(),
        tasks: tasks.clone(),
    };
    tasks.spawn(
        Kind::Critical,
        "engine",
        engine::run(Index::of(namespaces), channels, hands, metrics.clone(), readiness),
    );

    for (name, writer, pace) in [
        ("write back", writer, STATUS_PACE),
        ("write gates", gate_writer, GATE_PACE),
    ] {
        let write_back = WriteBack {
            client: client.clone(),
            writer,
            pace,
            findings: findings.clone(),
            instance: config.instance.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            knows_counts: AtomicBool::new(true),
        };
        tasks.spawn(Kind::Critical, name, write_back.run(soft.clone()));
    }

    let elector = Elector {
        client: client.clone(),
        namespace: config.lease_namespace.clone(),
        name: config.lease_name.clone(),
        identity: config.instance.clone(),
        clock,
        active,
        metrics,
    };
    tasks.spawn(Kind::Critical, "lease", elector.run(soft.clone()));

    tasks.spawn(Kind::Critical, "stream", async move {
        let uid = cluster_uid(&client);
        if let Some(uid) = soft.run_until_cancelled(uid).await {
            Connector::new(config, uid, is_active, commands, soft).run().await;
        }
    });
    Ok(())
}

/// Watches every kind wherever it is looked at.
fn watch_all(
    client: &Client,
    namespaces: &Namespaces,
    inputs: &mpsc::Sender<Input>,
    metrics: &Metrics,
    tasks: &Tasks,
) {
    for view in namespaces.views() {
        let bindings = Watch::<TargetGroupBinding>::of(client.clone(), view.clone(), Input::Sources);
        spawn("watch target group bindings", bindings, inputs, metrics, tasks);
        let services = Watch::<Service>::of(client.clone(), view.clone(), Input::Services);
        spawn("watch services", services, inputs, metrics, tasks);
        let slices = Watch::<EndpointSlice>::of(client.clone(), view, Input::Slices);
        spawn("watch endpoint slices", slices, inputs, metrics, tasks);
    }
    let nodes = Watch::<Node>::everywhere(client.clone(), Input::Nodes);
    spawn("watch nodes", nodes, inputs, metrics, tasks);
}

fn spawn<K: Watched>(
    name: &'static str,
    watch: Watch<K>,
    inputs: &mpsc::Sender<Input>,
    metrics: &Metrics,
    tasks: &Tasks,
) {
    let watching = watches::run(watch, inputs.clone(), metrics.clone(), tasks.soft());
    tasks.spawn(Kind::Critical, name, watching);
}

async fn client(config: &Config) -> anyhow::Result<Client> {
    let mut kube = match &config.kubeconfig {
        Some(path) => {
            let kubeconfig =
                Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use {}", path.display()))?
        }
        None => kube::Config::incluster().context("not in a pod: give --kubeconfig")?,
    };
    // Its retries would hide for minutes what the agent has to report; ours are in the loops.
    kube.default_retry = false;
    kube.connect_timeout = Some(CALL_TIMEOUT);
    Client::try_from(kube).context("cannot make a client of the API server")
}

/// The UID of kube-system tells clusters apart that use one name. Without it there is no stream, so it is waited for.
async fn cluster_uid(client: &Client) -> String {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let namespaces = Api::<Namespace>::all(client.clone());
        match timeout(CALL_TIMEOUT, namespaces.get_metadata("kube-system")).await {
            Ok(Ok(namespace)) => {
                if let Some(uid) = namespace.metadata.uid {
                    return uid;
                }
                tracing::warn!("the namespace kube-system has no UID");
            }
            Ok(Err(error)) => tracing::warn!(%error, "the namespace kube-system cannot be read"),
            Err(_) => tracing::warn!("the API server does not answer"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
