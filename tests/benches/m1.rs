//! M1 and M3: from a write of an EndpointSlice at a real API server to the call that AWS receives.
//!
//! 20 target groups in turn, one change each 350 ms: an endpoint that becomes ready (register), then one whose pod ends
//! (deregister). TLS and fsync on; AWS answers at once, then 50 ms late. Figures are of this machine and this build:
//! quote ratios.
#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, time::Duration};

use awssim::{Fixture, Handle, JournalFilter, Latencies, Latency, Running, Simulator};
use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use sandbox::{
    Progress, elbow,
    elbow::Installation,
    fixture,
    kubernetes::{ControlPlane, Options},
    postgres::{self, Postgres},
    process::Process,
};
use serde_json::json;

const GROUPS: usize = 20;
const ROUNDS: usize = 5;
const EVERY: Duration = Duration::from_millis(350);
const LIMIT: Duration = Duration::from_secs(30);

struct World {
    aws: Running,
    client: Client,
    _server: elbow::Server,
    _agent: Process,
    _installation: Installation,
    _plane: ControlPlane,
    _postgres: Postgres,
}

fn group(index: usize) -> String {
    format!("g{index}")
}

impl World {
    async fn start() -> Self {
        let options = postgres::Options {
            fsync: true,
            ..postgres::Options::default()
        };
        let postgres = Postgres::start_own(options).await.unwrap();
        let plane = ControlPlane::start(Options::api_only("bench")).await.unwrap();
        let aws = Simulator::builder().start_local().await.unwrap();
        let groups: Vec<_> = (0..GROUPS)
            .map(|index| json!({"name": group(index), "vpc": fixture::VPC, "port": 80, "target_type": "ip"}))
            .collect();
        let world = json!({
            "account": fixture::ACCOUNT, "region": fixture::REGION,
            "vpcs": [{"id": fixture::VPC, "cidrs": ["192.168.0.0/16"]}], "target_groups": groups,
        });
        let world: Fixture = serde_json::from_value(world).unwrap();
        aws.handle().set_account(fixture::ACCESS_KEY, fixture::ACCOUNT);
        let arns = aws.handle().load(&world).unwrap().target_groups;
        let database = postgres.fresh_database("bench").await.unwrap();
        let installation = Installation::new(database, aws.url().to_owned(), Progress::silent()).unwrap();
        let server = installation.server("server-1", &[]).await.unwrap();
        elbow::install(&plane).unwrap();
        let token = server.register_cluster("bench", "full").await.unwrap();
        let mut manifest = String::new();
        for (name, arn) in &arns {
            server.declare_target_group(name, arn, &["bench"]).await.unwrap();
            writeln!(manifest, "---\n{}", service(name)).unwrap();
            writeln!(manifest, "---\n{}", binding(name, arn)).unwrap();
        }
        elbow::apply(&plane, "bench", &manifest).unwrap();
        let agent = installation
            .agent("bench", "agent-1", &token, &plane, &[&server], &[])
            .await
            .unwrap();
        let client = plane.client().await.unwrap();
        let world = Self {
            aws,
            client,
            _server: server,
            _agent: agent,
            _installation: installation,
            _plane: plane,
            _postgres: postgres,
        };
        world.prepare().await;
        world
    }

    /// One ready endpoint in each group, so that everything is connected, observed and warm.
    async fn prepare(&self) {
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.client.clone());
        for index in 0..GROUPS {
            slices
                .create(&PostParams::default(), &slice(index, &[(1, false)]))
                .await
                .unwrap();
        }
        let _: Api<Service> = Api::default_namespaced(self.client.clone());
        let mut since = 0;
        let mut seen = 0;
        while seen < GROUPS {
            let page = self.calls(since, "RegisterTargets").await;
            since = page
                .iter()
                .map(|(sequence, _)| *sequence)
                .max()
                .expect("a call in time");
            seen += page.len();
        }
    }

    async fn calls(&self, since: u64, action: &str) -> Vec<(u64, Timestamp)> {
        let filter = JournalFilter {
            since,
            action: Some(action.to_owned()),
            ..JournalFilter::default()
        };
        let page = self.aws.handle().wait_journal(&filter, LIMIT).await;
        page.entries
            .into_iter()
            .map(|entry| (entry.sequence, entry.received))
            .collect()
    }

    /// Writes the slice, and answers how long AWS waited for the call that follows, from the write's start.
    async fn change(&self, index: usize, endpoints: &[(u8, bool)], action: &str) -> Duration {
        let slices: Api<EndpointSlice> = Api::default_namespaced(self.client.clone());
        let since = last(self.aws.handle());
        let name = group(index);
        let mut wanted = slice(index, endpoints);
        wanted.metadata.resource_version = slices
            .get_metadata(&name)
            .await
            .unwrap()
            .metadata
            .resource_version;
        #[expect(
            clippy::disallowed_methods,
            reason = "the journal tells real time, and so must the start"
        )]
        let begun = Timestamp::now();
        slices
            .replace(&name, &PostParams::default(), &wanted)
            .await
            .unwrap();
        let calls = self.calls(since, action).await;
        let (_, received) = calls.first().expect("a call in time");
        Duration::try_from(received.duration_since(begun)).unwrap_or_default()
    }
}

fn last(aws: &Handle) -> u64 {
    aws.journal(&JournalFilter::default())
        .entries
        .last()
        .map_or(0, |entry| entry.sequence)
}

fn service(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    })
}

fn binding(name: &str, arn: &str) -> serde_json::Value {
    json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"serviceRef": {"name": name, "port": 80}, "targetGroupARN": arn},
    })
}

/// The group's slice; each endpoint by number, and whether its pod ends.
fn slice(index: usize, endpoints: &[(u8, bool)]) -> EndpointSlice {
    let name = group(index);
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(number, ends)| {
            let pod = json!({"kind": "Pod", "namespace": "default", "name": format!("{name}-{number}"),
                "uid": format!("00000000-0000-0000-{index:04}-{number:012}")});
            json!({"addresses": [format!("192.168.{index}.{number}")], "targetRef": pod,
                "conditions": {"ready": !ends, "serving": true, "terminating": ends}})
        })
        .collect();
    let labels = BTreeMap::from([("kubernetes.io/service-name", &name)]);
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels}, "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}], "endpoints": endpoints,
    }))
    .unwrap()
}

fn told(what: &str, latency: Duration, mut figures: Vec<Duration>) {
    figures.sort();
    let at = |percent: usize| figures[(figures.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    writeln!(
        std::io::stdout(),
        "{what}: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({} changes in {GROUPS} groups, one each {EVERY:?}, AWS {latency:?} a call, {build} bench, {cores} cores)",
        at(50), at(99), at(100), figures.len(),
    )
    .unwrap();
}

#[tokio::main]
async fn main() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let world = World::start().await;
    let mut number = 1;
    for latency in [Duration::ZERO, Duration::from_millis(50)] {
        let fixed = Latency {
            min: latency,
            max: latency,
        };
        world.aws.handle().update_settings(|settings| {
            settings.latency = Latencies {
                default: fixed,
                ..Latencies::default()
            };
        });
        let (mut registered, mut deregistered) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut tick = tokio::time::interval(EVERY);
            for index in 0..GROUPS {
                tick.tick().await;
                let endpoints = [(1, false), (number + 1, false)];
                registered.push(world.change(index, &endpoints, "RegisterTargets").await);
            }
            for index in 0..GROUPS {
                tick.tick().await;
                let endpoints = [(1, false), (number + 1, true)];
                deregistered.push(world.change(index, &endpoints, "DeregisterTargets").await);
            }
            number += 1;
        }
        told("M1 register", latency, registered);
        told("M3 deregister", latency, deregistered);
    }
}
