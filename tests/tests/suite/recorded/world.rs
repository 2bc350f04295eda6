//! The recordings' world: their VPC, nodes and target groups, with Elbow where LBC was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use awssim::{Fixture, HealthState, Place, Running, Simulator};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use sandbox::{
    Progress, Wait,
    elbow::{self, Installation, Server},
    fixture,
    kubernetes::{ControlPlane, Node, Options},
    postgres::{self, Postgres},
    process::Process,
    wait_until,
};
use serde_json::{Value, json};

use super::case::{self, Case, Difference, FOREIGN_TARGET, State, Step, Symbols};

/// Far more than a step takes: a case that ends elsewhere is told after it.
const SETTLE: Duration = Duration::from_mins(1);
/// Cases end side by side, which would look like a deleted definition.
const OPTIONS: [(&str, &str); 1] = [("--guard-unbinding-always-meant", "1000")];
/// Reasons of a binding that is not done.
const UNDER_WAY: [&str; 4] = ["Progressing", "AwaitingCluster", "AwaitingAws", "Held"];

pub(crate) struct World {
    place: Place,
    symbols: Symbols,
    /// Case → the fixture's target group → ARN. Each case has groups of its own, so that they go side by side.
    groups: BTreeMap<String, BTreeMap<String, String>>,
    failures: Mutex<Vec<String>>,
    aws: Running,
    plane: ControlPlane,
    client: kube::Client,
    _server: Server,
    _agent: Process,
    _installation: Installation,
    _postgres: Postgres,
}

impl World {
    pub(crate) async fn start(cases: &[Case]) -> Self {
        let world: Value = serde_json::from_str(&case::read(&case::folder().join("fixture.json"))).unwrap();
        let place = Place::new(
            world["account"].as_str().unwrap(),
            world["region"].as_str().unwrap(),
        );
        let symbols: Symbols = serde_json::from_value(world["symbols"].clone()).unwrap();
        let cluster = world["cluster"].as_str().unwrap();
        let aws = Simulator::builder().start_local().await.unwrap();
        aws.handle().set_account(fixture::ACCESS_KEY, &place.account);
        let made = aws.handle().load(&network(&world, &symbols, cases)).unwrap();
        let groups: BTreeMap<_, BTreeMap<_, _>> = cases
            .iter()
            .enumerate()
            .map(|(index, case)| {
                let arn = |group: &String| {
                    (
                        group.clone(),
                        made.target_groups[&group_name(index, group)].clone(),
                    )
                };
                (case.name.clone(), case.groups.iter().map(arn).collect())
            })
            .collect();
        let (postgres, plane) = tokio::try_join!(
            Postgres::start_own(postgres::Options::default()),
            ControlPlane::start(Options::full(cluster, nodes(&world, &symbols)))
        )
        .unwrap();
        label_nodes(&plane, &world);
        let database = postgres.fresh_database("recorded").await.unwrap();
        let installation = Installation::new(database, aws.url().to_owned(), Progress::silent()).unwrap();
        let server = installation.server("server-1", &OPTIONS).await.unwrap();
        elbow::install(&plane).unwrap();
        let spec = json!({"spec": {
            "account": place.account, "region": place.region, "vpcId": symbols.0["vpc"], "mode": "full", "serve": "all",
        }});
        let path = format!("/v1/clusters/{cluster}");
        let answer = server
            .call(reqwest::Method::PUT, &path, Some(&spec))
            .await
            .unwrap();
        let token = answer["agentToken"].as_str().unwrap().to_owned().into();
        for (name, arn) in &made.target_groups {
            server.declare_target_group(name, arn, &[cluster]).await.unwrap();
        }
        let agent = installation
            .agent(cluster, "agent-1", &token, &plane, &[&server], &[])
            .await
            .unwrap();
        Self {
            place,
            symbols,
            groups,
            failures: Mutex::default(),
            aws,
            client: plane.client().await.unwrap(),
            plane,
            _server: server,
            _agent: agent,
            _installation: installation,
            _postgres: postgres,
        }
    }

    /// Plays a case to its end, or to the first step that ends elsewhere.
    pub(crate) async fn play(&self, case: &Case, differences: &[Difference]) {
        self.kubectl(&["create", "namespace", &case.name]);
        let mut applied = Vec::new();
        for step in &case.steps {
            let objects = self.apply(case, step, &applied);
            let listed = differences
                .iter()
                .find(|difference| difference.case == case.name && difference.step == step.name);
            let wanted = listed.map_or(&step.lbc, |difference| &difference.ours);
            if listed.is_some() && *wanted == step.lbc {
                self.fail(case, step, "is listed as a difference and is none");
            }
            if let Err(seen) = self.settled(case, wanted).await {
                self.fail(
                    case,
                    step,
                    &format!("wanted {wanted:#?}\nin the end there was {seen}"),
                );
                break;
            }
            applied = objects;
        }
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    fn fail(&self, case: &Case, step: &Step, what: &str) {
        let failure = format!("{}, step {}: {what}", case.name, step.name);
        self.failures.lock().unwrap().push(failure);
    }

    /// Makes the step's objects the only ones of the case; answers `kind/name` of each.
    fn apply(&self, case: &Case, step: &Step, before: &[String]) -> Vec<String> {
        let mut objects = Vec::new();
        if !step.manifest.is_empty() {
            let file = self
                .plane
                .folder()
                .join(format!("{}-{}.yaml", case.name, step.name));
            let manifest = self.symbols.fill(&step.manifest, &self.groups[&case.name]);
            std::fs::write(&file, manifest).unwrap();
            let applied = self.kubectl(&[
                "apply",
                "--namespace",
                &case.name,
                "--output",
                "name",
                "--filename",
                file.to_str().unwrap(),
            ]);
            objects = applied.lines().map(str::to_owned).collect();
        }
        let gone = before.iter().filter(|object| !objects.contains(object));
        for object in gone {
            self.kubectl(&["delete", "--namespace", &case.name, "--wait=false", object]);
        }
        objects
    }

    /// Waits until AWS holds what is wanted and every binding says that it is done; else what was seen.
    async fn settled(&self, case: &Case, wanted: &State) -> Result<(), String> {
        let progress = Progress::silent();
        let settled = wait_until(SETTLE, &case.name, &progress, async || {
            let seen = self.state(case).await;
            let under_way = self.under_way(case).await;
            if seen == *wanted && under_way.is_empty() {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("{seen:#?} {under_way:?}")))
            }
        });
        settled.await.map_err(|error| error.to_string())
    }

    /// The statuses of bindings that still wait for something: the others are done, or refused for good.
    async fn under_way(&self, case: &Case) -> Vec<String> {
        let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
        let bindings: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &case.name, &ApiResource::from_gvk(&kind));
        let bindings = bindings.list(&ListParams::default()).await.unwrap();
        let waits = |binding: &DynamicObject| {
            let status = &binding.data["status"];
            let current = status["observedGeneration"].as_i64() == binding.metadata.generation;
            let conditions = status["conditions"].as_array();
            let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
            let reason = ready.map_or("", |ready| ready["reason"].as_str().unwrap());
            (!current || reason.is_empty() || UNDER_WAY.contains(&reason))
                .then(|| format!("{}: {status}", binding.metadata.name.as_deref().unwrap()))
        };
        bindings.iter().filter_map(waits).collect()
    }

    /// What AWS holds of the case, in the recording's words.
    async fn state(&self, case: &Case) -> State {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &case.name);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        let pods: BTreeMap<_, _> = pods
            .iter()
            .filter_map(|pod| {
                let address = pod.status.as_ref()?.pod_ip.as_deref()?;
                Some((address, pod.metadata.name.as_deref()?))
            })
            .collect();
        let mut state = State::default();
        for (group, arn) in &self.groups[&case.name] {
            for target in self.aws.handle().targets(arn).unwrap() {
                if target.state == HealthState::Draining {
                    continue;
                }
                let id = match pods.get(&*target.id) {
                    Some(pod) => format!("pod:{pod}"),
                    None => self.symbols.name(&target.id).to_owned(),
                };
                state.targets.insert(format!("tg-{group} {id}:{}", target.port));
            }
        }
        if case.opens {
            state.openings = self.openings();
        }
        state
    }

    fn openings(&self) -> BTreeSet<String> {
        let nodes = &self.symbols.0["sg-nodes"];
        let rules = self
            .aws
            .handle()
            .security_group_rules(&self.place, nodes)
            .unwrap();
        let ingress = rules.into_iter().filter(|rule| !rule.egress);
        ingress
            .map(|rule| {
                let (from, to) = rule.ports.unwrap_or((-1, -1));
                format!(
                    "sg-nodes {} {from}-{to} {}",
                    rule.protocol,
                    self.symbols.name(&rule.peer)
                )
            })
            .collect()
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.plane.kubectl(arguments).unwrap();
        assert!(said.status.success(), "kubectl {arguments:?}: {}", said.stderr);
        said.stdout
    }
}

fn group_name(case: usize, group: &str) -> String {
    format!("c{case}-{group}")
}

/// The recordings' VPC in the simulator's words.
fn network(world: &Value, symbols: &Symbols, cases: &[Case]) -> Fixture {
    let (aws, id) = (&world["aws"], |name: &str| symbols.0[name].clone());
    let entries = |field: &str| aws[field].as_object().unwrap().iter();
    let subnets: Vec<_> = entries("subnets")
        .map(|(name, subnet)| {
            json!({"id": id(&format!("subnet-{name}")), "vpc": id("vpc"), "cidr": subnet["cidr"],
                "zone": subnet["zone"], "tags": subnet["tags"]})
        })
        .collect();
    let security_groups: Vec<_> = entries("security-groups")
        .map(|(name, group)| {
            json!({"id": id(&format!("sg-{name}")), "name": name, "vpc": id("vpc"), "tags": group["tags"]})
        })
        .collect();
    let instances: Vec<_> = entries("instances")
        .map(|(name, instance)| {
            json!({"id": id(&format!("instance-{name}")), "address": instance["private-ip"],
                "subnet": id(&format!("subnet-{}", instance["subnet"].as_str().unwrap())),
                "security_groups": [id("sg-nodes")]})
        })
        .collect();
    let interfaces: Vec<_> = entries("instances")
        .map(|(name, instance)| {
            let pods: ipnet::Ipv4Net = instance["pods"].as_str().unwrap().parse().unwrap();
            // EC2 delegates prefixes of this length.
            let prefixes: Vec<_> = pods.subnets(28).unwrap().collect();
            json!({"id": id(&format!("eni-{name}")), "addresses": [pods.hosts().last().unwrap()],
                "prefixes": prefixes, "instance": id(&format!("instance-{name}")),
                "subnet": id(&format!("subnet-{}", instance["subnet"].as_str().unwrap())),
                "security_groups": [id("sg-nodes")]})
        })
        .collect();
    let target_groups: Vec<_> = cases
        .iter()
        .enumerate()
        .flat_map(|(index, case)| case.groups.iter().map(move |group| (index, group)))
        .map(|(index, group)| {
            let made = &aws["target-groups"][group];
            let foreign = FOREIGN_TARGET.strip_prefix(&format!("tg-{group} "));
            let targets: Vec<_> = foreign
                .and_then(|target| target.split_once(':'))
                .map(|(id, port)| json!({"id": id, "port": port.parse::<u16>().unwrap()}))
                .into_iter()
                .collect();
            json!({"name": group_name(index, group), "vpc": id("vpc"), "protocol": made[0], "port": made[1],
                "target_type": made[2], "targets": targets})
        })
        .collect();
    serde_json::from_value(json!({
        "account": world["account"], "region": world["region"],
        "vpcs": [{"id": id("vpc"), "cidrs": [aws["vpc"]["cidr"]]}],
        "subnets": subnets, "security_groups": security_groups, "instances": instances,
        "network_interfaces": interfaces, "target_groups": target_groups,
    }))
    .unwrap()
}

/// The recordings' Node objects.
fn node_objects(world: &Value) -> impl Iterator<Item = &Value> {
    let objects = world["kubernetes"].as_array().unwrap().iter();
    objects.filter(|object| object["kind"] == "Node")
}

fn nodes(world: &Value, symbols: &Symbols) -> Vec<Node> {
    node_objects(world)
        .map(|node| {
            let provider = node["spec"]["providerID"].as_str().unwrap();
            let instance_id = provider.rsplit('/').next().unwrap().to_owned();
            let instance = symbols.name(&instance_id).strip_prefix("instance-");
            let pod_cidr: ipnet::Ipv4Net = node["spec"]["podCIDR"].as_str().unwrap().parse().unwrap();
            let address =
                instance.map(|name| world["aws"]["instances"][name]["private-ip"].as_str().unwrap());
            Node {
                name: node["metadata"]["name"].as_str().unwrap().to_owned(),
                pod_cidr,
                internal_ip: address
                    .map_or_else(|| pod_cidr.hosts().last().unwrap(), |ip| ip.parse().unwrap()),
                zone: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                instance_id,
            }
        })
        .collect()
}

fn label_nodes(plane: &ControlPlane, world: &Value) {
    for node in node_objects(world) {
        let labels = node["metadata"]["labels"].as_object().unwrap();
        let labels = labels
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()));
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        let arguments = ["label", "--overwrite", "node"].map(str::to_owned);
        let said = plane
            .kubectl(arguments.into_iter().chain([name]).chain(labels))
            .unwrap();
        elbow::done(&said).unwrap();
    }
}
