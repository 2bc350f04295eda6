//! What is measured: Elbow's built programs between real API servers and a simulated AWS, with TLS and fsync on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use awssim::{Entry, Fixture, Handle, HealthState, JournalFilter, Latencies, Latency, Running, Simulator};
use kube::Client;
use sandbox::{
    Progress,
    elbow::{self, Installation, Server},
    fixture,
    kubernetes::{ControlPlane, Options},
    postgres::{self, Postgres},
    process::Process,
};
use secrecy::SecretString;
use serde_json::json;

/// AWS's latencies under which each measure is taken.
pub(crate) const LATENCIES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(50)];
/// Longer than anything that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);
/// How long it takes until the bucket of registration calls is full again and no group counts as busy.
const REST: Duration = Duration::from_secs(30);

/// Everything that is up. Dropping it stops it, clients before what they talk to.
pub(crate) struct World {
    pub(crate) clusters: Vec<Cluster>,
    /// The ARNs of all target groups by their names.
    pub(crate) groups: BTreeMap<String, String>,
    pub(crate) server: Server,
    pub(crate) installation: Installation,
    aws: Running,
    _postgres: Postgres,
}

/// A cluster with its agent.
pub(crate) struct Cluster {
    pub(crate) agent: Option<Process>,
    pub(crate) client: Client,
    /// The target groups by their names, each bound to the Service of the same name in `default`.
    pub(crate) groups: BTreeMap<String, String>,
    pub(crate) plane: ControlPlane,
    token: SecretString,
}

impl World {
    /// Starts it with these clusters, each with the names of its target groups.
    pub(crate) async fn start(clusters: Vec<(Options, Vec<String>)>) -> Self {
        let mut world = Self::without_agents(clusters).await;
        for cluster in &mut world.clusters {
            cluster.start_agent(&world.installation, &world.server).await;
        }
        world
    }

    /// The same, but the clusters' agents are still to be started.
    pub(crate) async fn without_agents(clusters: Vec<(Options, Vec<String>)>) -> Self {
        let names: Vec<_> = clusters
            .iter()
            .flat_map(|(_, groups)| groups.iter().cloned())
            .collect();
        let mut world = Self::without_clusters(&names, &[]).await;
        for (options, names) in clusters {
            let groups = names.into_iter().map(|name| {
                let arn = world.groups[&name].clone();
                (name, arn)
            });
            let cluster = Cluster::register(&world.server, options, groups.collect()).await;
            world.clusters.push(cluster);
        }
        world
    }

    /// Only these target groups in AWS, and a server with further options.
    pub(crate) async fn without_clusters(groups: &[String], server_options: &[(&str, &str)]) -> Self {
        let options = postgres::Options {
            fsync: true,
            ..postgres::Options::default()
        };
        let postgres = Postgres::start_own(options).await.unwrap();
        let aws = Simulator::builder().start_local().await.unwrap();
        let groups = load(aws.handle(), groups);
        let database = postgres.fresh_database("bench").await.unwrap();
        let installation = Installation::new(database, aws.url().to_owned(), Progress::silent()).unwrap();
        let server = installation.server("server-1", server_options).await.unwrap();
        Self {
            clusters: Vec::new(),
            groups,
            server,
            installation,
            aws,
            _postgres: postgres,
        }
    }

    pub(crate) fn aws(&self) -> &Handle {
        self.aws.handle()
    }

    /// From now on AWS answers each call this much later.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.aws().update_settings(|settings| {
            settings.latency = Latencies {
                default: Latency::fixed(latency),
                ..Latencies::default()
            };
        });
    }

    /// Nothing is asked of AWS for so long that no measure feels what went before it.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep(REST).await;
    }

    /// The sequence number of the last call that AWS received.
    pub(crate) fn last_call(&self) -> u64 {
        let nothing = JournalFilter {
            limit: Some(0),
            ..JournalFilter::default()
        };
        self.aws().journal(&nothing).next
    }

    /// All calls after `since`, as far as they go now.
    pub(crate) fn calls_since(&self, since: u64) -> Vec<Entry> {
        let filter = JournalFilter {
            since,
            ..JournalFilter::default()
        };
        self.aws().journal(&filter).entries
    }

    /// The ids of the group's targets that do not drain.
    pub(crate) fn registered(&self, arn: &str) -> BTreeSet<String> {
        let targets = self.aws().targets(arn).unwrap();
        let registered = targets
            .into_iter()
            .filter(|target| target.state != HealthState::Draining);
        registered.map(|target| target.id).collect()
    }

    /// The first call of this action for the group after `since`.
    pub(crate) async fn call(&self, since: u64, action: &str, arn: &str) -> Entry {
        let filter = JournalFilter {
            since,
            action: Some(action.to_owned()),
            target_group_arn: Some(arn.to_owned()),
            ..JournalFilter::default()
        };
        let page = self.aws().wait_journal(&filter, LIMIT).await;
        let first = page.entries.into_iter().next();
        first.unwrap_or_else(|| panic!("no {action} in {LIMIT:?}"))
    }

    /// The calls that register after `since`, until they are `enough`.
    pub(crate) async fn registrations(&self, since: u64, enough: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let mut calls = Vec::new();
        let mut filter = JournalFilter {
            since,
            action: Some("RegisterTargets".to_owned()),
            ..JournalFilter::default()
        };
        while !enough(&calls) {
            let page = self.aws().wait_journal(&filter, LIMIT).await;
            let come = calls.len();
            assert!(!page.entries.is_empty(), "{come} calls, then none in {LIMIT:?}");
            filter.since = page.next;
            calls.extend(page.entries);
        }
        calls
    }
}

impl Cluster {
    /// Starts its control plane, and registers it and its bindings.
    async fn register(server: &Server, options: Options, groups: BTreeMap<String, String>) -> Self {
        let plane = ControlPlane::start(options).await.unwrap();
        elbow::install(&plane).unwrap();
        let token = server.register_cluster(plane.name(), "full").await.unwrap();
        let mut manifest = String::new();
        for (group, arn) in &groups {
            server
                .declare_target_group(group, arn, &[plane.name()])
                .await
                .unwrap();
            writeln!(manifest, "---\n{}\n---\n{}", service(group), binding(group, arn)).unwrap();
        }
        elbow::apply(&plane, "bindings", &manifest).unwrap();
        Self {
            agent: None,
            client: plane.client().await.unwrap(),
            groups,
            plane,
            token,
        }
    }

    pub(crate) async fn start_agent(&mut self, installation: &Installation, server: &Server) {
        let name = self.plane.name();
        let instance = format!("agent-of-{name}");
        let agent = installation
            .agent(name, &instance, &self.token, &self.plane, &[server], &[])
            .await;
        self.agent = Some(agent.unwrap());
    }
}

/// Makes the target groups, and answers their ARNs by name.
fn load(aws: &Handle, names: &[String]) -> BTreeMap<String, String> {
    let groups: Vec<_> = names
        .iter()
        .map(|name| json!({"name": name, "vpc": fixture::VPC, "port": 80, "target_type": "ip"}))
        .collect();
    let world = json!({
        "account": fixture::ACCOUNT, "region": fixture::REGION,
        "vpcs": [{"id": fixture::VPC, "cidrs": ["192.168.0.0/16"]}],
        "subnets": [{"id": "subnet-0123456789abcdef0", "vpc": fixture::VPC, "cidr": "192.168.0.0/16", "zone": fixture::ZONES[0]}],
        "target_groups": groups,
    });
    let world: Fixture = serde_json::from_value(world).unwrap();
    aws.set_account(fixture::ACCESS_KEY, fixture::ACCOUNT);
    aws.load(&world).unwrap().target_groups
}

/// A headless Service.
pub(crate) fn service(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

fn binding(name: &str, arn: &str) -> serde_json::Value {
    json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"serviceRef": {"name": name, "port": 80}, "targetGroupARN": arn},
    })
}
