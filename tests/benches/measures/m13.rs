//! M13: what an agent costs a large cluster: memory, time and work until its first target, and work at a steady pace of
//! changes. The API server holds what the objects of such a cluster would be; only what the agent reads is real.

use std::{fmt::Debug, net::Ipv4Addr, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod as PodObject, Service};
use kube::{Api, Client, api::PostParams};
use sandbox::{fixture, kubernetes::Options, process::Process};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    figures,
    slices::{self, Pod, Slices, address, name},
    world::{self, World},
};

const NODES: usize = 5_000;
const SERVICES: usize = 2_000;
/// Behind each Service; all of them in one slice.
const PODS: u8 = 10;
const BOUND: u8 = 100;
/// Writes under way at once.
const WRITERS: usize = 32;
/// Changes of endpoints of bound Services at a steady pace.
const EVERY: Duration = Duration::from_millis(100);
const CHANGES: u8 = 200;

pub(crate) async fn run() {
    let groups = (0..BOUND).map(name).collect();
    let mut world = World::without_agents(vec![(Options::api_only("bench"), groups)]).await;
    fill(&world.clusters[0].client).await;
    let World {
        clusters,
        installation,
        server,
        ..
    } = &mut world;
    clusters[0].start_agent(installation, server).await;
    let begun = crate::now();
    let first = world.registrations(0, |calls| !calls.is_empty()).await[0].received;
    world
        .registrations(0, |calls| calls.len() >= usize::from(BOUND))
        .await;
    let agent = usage(&world);
    let parameters = format!(
        "{NODES} nodes, {} pods, {SERVICES} services with slices, {BOUND} bound",
        SERVICES * usize::from(PODS)
    );
    let first = first.duration_since(begun).as_secs_f64();
    figures::tell(
        "M13 agent",
        &parameters,
        &format!(
            "{:.0} MiB resident, {:.0} MiB peak, {:.1} s of CPU until all bound are registered, first target {first:.1} s after \
             the agent was up; LBC 219 MiB, 713 MiB, 10 s, 10 s; ours ÷ LBC {:.2}, {:.2}, {:.2}, {:.2}",
            agent.resident,
            agent.peak,
            agent.cpu.as_secs_f64(),
            agent.resident / 219.0,
            agent.peak / 713.0,
            agent.cpu.as_secs_f64() / 10.0,
            first / 10.0
        ),
    );
    change(&world).await;
    let spent = usage(&world).cpu.saturating_sub(agent.cpu);
    let milli = 1000.0 * spent.as_secs_f64() / (EVERY * u32::from(CHANGES)).as_secs_f64();
    figures::tell(
        "M13 agent at work",
        &format!("{parameters}, one endpoint change each {EVERY:?}"),
        &format!("{milli:.0} mCPU; mark 20"),
    );
}

fn usage(world: &World) -> Usage {
    Usage::of(world.clusters[0].agent.as_ref().expect("it was started"))
}

/// In each bound Service in turn the last pod ends, then it is ready again.
async fn change(world: &World) {
    let slices = Slices::new(&world.clusters[0].client);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for change in 0..CHANGES {
        ticks.tick().await;
        let group = change % BOUND;
        let mut pods = bound_pods(group);
        pods.last_mut().unwrap().ends = change < BOUND;
        slices.replace(&name(group), &pods).await;
    }
}

fn bound_pods(group: u8) -> Vec<Pod> {
    (1..=PODS).map(|pod| Pod::ready(address(group, pod))).collect()
}

/// The pods of a Service that nobody bound.
fn other_pods(service: usize) -> Vec<Pod> {
    let [high, low] = u16::try_from(service).expect("two octets").to_be_bytes();
    (1..=PODS)
        .map(|pod| Pod::ready(Ipv4Addr::new(10, high, low, pod)))
        .collect()
}

/// Creates everything but the bound Services, which are there.
async fn fill(client: &Client) {
    create::<Node>(&Api::all(client.clone()), (0..NODES).map(node)).await;
    let others = usize::from(BOUND)..SERVICES;
    let named = |service: usize| format!("other-{service}");
    let services = others.clone().map(|service| world::service(&named(service)));
    create::<Service>(&Api::default_namespaced(client.clone()), services).await;
    let slices = Slices::new(client);
    let bound = (0..BOUND).map(|group| (name(group), bound_pods(group)));
    let all: Vec<_> = bound
        .chain(others.map(|service| (named(service), other_pods(service))))
        .collect();
    let pods = all
        .iter()
        .flat_map(|(service, pods)| pods.iter().map(|pod| pod_object(service, *pod)));
    create::<PodObject>(&Api::default_namespaced(client.clone()), pods).await;
    stream::iter(&all)
        .for_each_concurrent(WRITERS, |(service, pods)| slices.create(service, pods))
        .await;
}

async fn create<K>(api: &Api<K>, objects: impl Iterator<Item = Value>)
where
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    stream::iter(objects)
        .for_each_concurrent(WRITERS, async |object| {
            let object = serde_json::from_value(object).unwrap();
            api.create(&PostParams::default(), &object).await.unwrap();
        })
        .await;
}

fn node(index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{index}")},
        "spec": {"providerID": format!("aws:///{}/i-{index:017x}", fixture::ZONES[0])},
    })
}

fn pod_object(service: &str, pod: Pod) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": slices::pod_name(service, pod), "namespace": "default", "labels": {"app": service}},
        "spec": {"containers": [{"name": "web", "image": "web", "ports": [{"containerPort": 80}]}]},
    })
}

/// What a process has used, as /proc tells it.
struct Usage {
    /// In MiB, as is the peak.
    resident: f64,
    peak: f64,
    cpu: Duration,
}

impl Usage {
    fn of(process: &Process) -> Self {
        let id = process.id().expect("it runs");
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap();
        let status = read("status");
        let mebibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            let kibibytes = line.trim().trim_end_matches(" kB");
            kibibytes.parse::<f64>().unwrap() / 1024.0
        };
        let stat = read("stat");
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th after it.
        let (_, after) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = after
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum();
        Self {
            resident: mebibytes("VmRSS:"),
            peak: mebibytes("VmHWM:"),
            // Linux shows user space 100 ticks a second, whatever it counts with.
            cpu: Duration::from_millis(10 * ticks),
        }
    }
}
