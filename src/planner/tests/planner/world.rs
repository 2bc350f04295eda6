//! A cluster, an AWS and a database small enough to be obviously right, and an apply that can fail in every way.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, Observed, Target, TargetGroupArn, TargetKey,
    binding::{Binding, BindingSpec, Lifecycle, Origin},
    cluster::{Cluster, ClusterSpec, Mode},
    condition::Problem,
    drain::Drain,
    fact::{
        AddressFamily, Departure, Endpoint, EndpointSlice, Evidence, ObjectName, ObjectVersion, PodRef,
        Protocol, Service, ServiceFacts, ServicePort, SlicePort, Stated,
    },
    group::BoundService,
    guard::Guards,
    ledger::{Ground, LedgerState, LedgerTarget, Removal},
    node::{Node, NodeDeparture, NodeFacts, NodeReady, NodeRef, StoredNode, Taint},
    ownership::{Serve, Standing},
    plan::{Addition, MarkKey, Plan, Step, Why},
    pod::PodFacts,
    target::{HealthState, ObservedTarget, TargetType},
    target_group::{IpAddressType, TargetGroup, TargetGroupFacts, TargetGroupSpec},
};
use planner::Input;
use uuid::Uuid;

pub(crate) const PORT: u16 = 8080;

pub(crate) fn arn() -> TargetGroupArn {
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb"
        .parse()
        .unwrap()
}

pub(crate) fn epoch() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

pub(crate) fn key(last: u8) -> TargetKey {
    TargetKey::ip(address(last), PORT)
}

/// The instance that stands for the last byte of an address.
pub(crate) fn instance(last: u8) -> String {
    format!("i-{last:0>17x}")
}

pub(crate) const NODE_PORT: u16 = 30001;

/// An endpoint with its pod, in the words of a test. In a group of instances it is a node with its instance: ready as the
/// pod, with an autoscaler's taint where the pod is terminating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub ip: u8,
    pub uid: u128,
    pub ready: bool,
    pub terminating: bool,
}

impl Pod {
    pub(crate) fn new(ip: u8, uid: u128) -> Self {
        Self {
            ip,
            uid,
            ready: true,
            terminating: false,
        }
    }

    pub(crate) fn reference(&self) -> PodRef {
        PodRef {
            namespace: "shop".into(),
            name: format!("web-{}", self.uid),
            uid: Uuid::from_u128(self.uid),
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            addresses: vec![address(self.ip)],
            ready: Some(self.ready && !self.terminating),
            serving: None,
            terminating: Some(self.terminating),
            node: None,
            zone: None,
            pod: Some(self.reference()),
        }
    }
}

/// How a call to AWS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Applied, and the answer is lost.
    AnswerLost,
    /// Not applied, and nobody knows.
    CallLost,
    /// The process dies between the intent and the call.
    Crash,
}

/// A DeregisterTargets that AWS got, with what the test needs to judge it.
#[derive(Clone, Debug)]
pub(crate) struct Deregistered {
    pub at: Timestamp,
    pub key: TargetKey,
    pub ground: Ground,
    /// The ledger's row when it was planned; `None`: not ours.
    pub row: Option<LedgerTarget>,
    /// Targets of ours just before the call.
    pub live_before: u32,
}

/// A cluster, and when its agent was last heard of.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub cluster: Cluster,
    pub last_seen: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub now: Timestamp,
    /// Whether the targets are the nodes' instances, and not the pods' addresses.
    pub instances: bool,
    pub guards: Guards,
    pub restored: bool,
    pub fenced_until: Option<Timestamp>,
    pub declared: Option<TargetGroup>,
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
    pub clusters: BTreeMap<ClusterId, Registered>,
    /// Clusters whose agent is down.
    pub down: BTreeSet<ClusterId>,
    pub bindings: BTreeMap<BindingId, BoundService>,
    pub ledger: BTreeMap<TargetKey, LedgerTarget>,
    pub removals: Vec<Removal>,
    pub released: BTreeMap<TargetKey, Timestamp>,
    pub drifts: Vec<Timestamp>,
    pub drains: Vec<Drain>,
    pub deregistration_delay: Option<std::time::Duration>,
    pub failure: Option<Problem>,
    pub zones_wanted: Option<Timestamp>,
    pub frozen: bool,
    /// What AWS has: registered, or draining.
    pub aws: BTreeMap<TargetKey, HealthState>,
    /// What AWS says first of a target.
    pub first_health: HealthState,
    /// What AWS had, for answers that are stale.
    pub past: Vec<(Timestamp, BTreeMap<TargetKey, HealthState>)>,
    pub registered_calls: Vec<(Timestamp, Addition)>,
    pub deregistered: Vec<Deregistered>,
}

impl World {
    /// A declared, described and observed group without bindings.
    pub(crate) fn new() -> Self {
        let now = epoch();
        let facts = TargetGroupFacts {
            target_type: TargetType::Ip,
            protocol: Some("HTTP".into()),
            port: Some(80),
            vpc: Some("vpc-0a1b2c3d".into()),
            ip_address_type: IpAddressType::Ipv4,
            vpc_cidrs: Some(vec!["10.0.0.0/16".parse().unwrap()]),
            in_use: true,
        };
        let spec = TargetGroupSpec {
            arn: arn(),
            clusters: Vec::new(),
            grants: Vec::new(),
        };
        Self {
            now,
            instances: false,
            guards: Guards::default(),
            restored: false,
            fenced_until: None,
            declared: Some(TargetGroup {
                name: "web".parse().unwrap(),
                spec,
                version: 1,
            }),
            facts: Observed::Present {
                at: now,
                value: facts,
            },
            targets: Observed::Present {
                at: now,
                value: Vec::new(),
            },
            clusters: BTreeMap::new(),
            down: BTreeSet::new(),
            bindings: BTreeMap::new(),
            ledger: BTreeMap::new(),
            removals: Vec::new(),
            released: BTreeMap::new(),
            drifts: Vec::new(),
            drains: Vec::new(),
            deregistration_delay: None,
            failure: None,
            zones_wanted: None,
            frozen: false,
            aws: BTreeMap::new(),
            first_health: HealthState::Healthy,
            past: Vec::new(),
            registered_calls: Vec::new(),
            deregistered: Vec::new(),
        }
    }

    /// The same with a group of type `instance`.
    pub(crate) fn of_instances() -> Self {
        let mut world = Self::new();
        world.become_instances();
        world
    }

    pub(crate) fn become_instances(&mut self) {
        self.instances = true;
        if let Observed::Present { value, .. } = &mut self.facts {
            value.target_type = TargetType::Instance;
        }
    }

    /// The target that stands for an address.
    pub(crate) fn key_of(&self, address: IpAddr) -> TargetKey {
        if self.instances {
            instance_key(address)
        } else {
            TargetKey::ip(address, PORT)
        }
    }

    pub(crate) fn cluster(&mut self, name: &str, mode: Mode) -> ClusterId {
        let id = ClusterId(Uuid::from_u128(0xc0 + self.clusters.len() as u128));
        let name: model::Name = name.parse().unwrap();
        if let Some(declared) = &mut self.declared {
            declared.spec.clusters.push(name.clone());
        }
        let shard = arn().shard().clone();
        let spec = ClusterSpec {
            account: shard.account,
            region: shard.region,
            vpc_id: "vpc-0a1b2c3d".parse().unwrap(),
            aws_name: None,
            mode,
            serve: Serve::All,
            bind_undeclared: false,
            roles: Vec::new(),
        };
        let cluster = Cluster {
            id,
            name,
            spec,
            cordoned: false,
            version: 1,
        };
        let last_seen = Some(self.now);
        self.clusters.insert(id, Registered { cluster, last_seen });
        id
    }

    /// A binding of its own Service, whose facts are known and which has no endpoints.
    pub(crate) fn bind(&mut self, cluster: ClusterId, name: &str) -> BindingId {
        let id = BindingId(Uuid::from_u128(0xb0 + self.bindings.len() as u128));
        let object = ObjectName::new("shop", name);
        let spec = BindingSpec {
            target_group: arn(),
            service: name.into(),
            port: "http".parse().unwrap(),
            target_type: None,
            ip_address_type: None,
            vpc_id: None,
            protocol: None,
            networking: Vec::new(),
            node_selector: None,
            // What is told of removals does not depend on it; who may share is told by stories of its own.
            shared: true,
            role: None,
            warnings: Vec::new(),
        };
        let binding = Binding {
            id,
            cluster,
            object: object.clone(),
            origin: Origin::Object,
            generation: 1,
            lifecycle: Lifecycle::Active,
            standing: Standing::Served,
            spec: Some(spec),
            problem: None,
            version: 1,
        };
        let bound_since = self.now;
        let facts = ServiceFacts {
            service: Stated::Known(Some(service(&object))),
            slices: Stated::Known(Vec::new()),
            departures: Vec::new(),
            confirmed_at: None,
            pods: PodFacts::default(),
        };
        self.bindings.insert(
            id,
            BoundService {
                binding,
                bound_since,
                cluster: self.clusters[&cluster].cluster.clone(),
                last_seen: None,
                paused: None,
                facts,
                nodes: Arc::new(NodeFacts::default()),
                openings: BTreeMap::new(),
                unopened: None,
            },
        );
        id
    }

    pub(crate) fn binding(&mut self, id: BindingId) -> &mut BoundService {
        self.bindings.get_mut(&id).unwrap()
    }

    /// States the pods of a binding's Service, each list a slice; what vanished has `evidence`.
    pub(crate) fn state(&mut self, id: BindingId, slices: &[Vec<Pod>], evidence: Evidence) {
        let (now, instances) = (self.now, self.instances);
        let bound = self.binding(id);
        let before = pods(&bound.facts);
        let service = bound.binding.object.name.clone();
        let stated = slices
            .iter()
            .enumerate()
            .map(|(index, pods)| slice(&service, index, pods))
            .collect();
        bound.facts.slices = Stated::Known(stated);
        let after = pods(&bound.facts);
        if instances {
            // A node that stands for an instance ends what is remembered of those before it.
            let stands =
                |departure: &Departure| after.iter().any(|(address, _)| *address == departure.address);
            bound.facts.departures.retain(|departure| !stands(departure));
        }
        for (address, pod) in before.into_iter().filter(|entry| !after.contains(entry)) {
            let departed = |departure: &Departure| departure.address == address && departure.pod == pod;
            bound.facts.departures.retain(|departure| !departed(departure));
            bound.facts.departures.push(Departure {
                address,
                pod,
                evidence,
                at: now,
            });
        }
    }

    /// A cluster's mode is its bindings' too.
    pub(crate) fn set_mode(&mut self, cluster: ClusterId, mode: Mode) {
        self.clusters.get_mut(&cluster).unwrap().cluster.spec.mode = mode;
    }

    pub(crate) fn wait(&mut self, duration: SignedDuration) {
        self.past.push((self.now, self.aws.clone()));
        self.now = self.now.checked_add(duration).unwrap();
        let oldest = self.now.checked_sub(self.guards.window * 2).unwrap();
        self.past.retain(|(at, _)| *at >= oldest);
        for cluster in self
            .clusters
            .values_mut()
            .filter(|cluster| !self.down.contains(&cluster.cluster.id))
        {
            cluster.last_seen = Some(self.now);
        }
    }

    /// AWS answers with what it has, or with what it had `stale` ago.
    pub(crate) fn observe(&mut self, stale: SignedDuration) {
        let as_of = self.now.checked_sub(stale).unwrap();
        let had = self
            .past
            .iter()
            .rev()
            .find(|(at, _)| *at <= as_of)
            .filter(|_| !stale.is_zero());
        let had = had.map_or(&self.aws, |(_, had)| had);
        let value = had
            .iter()
            .map(|(key, state)| ObservedTarget {
                target: Target {
                    key: key.clone(),
                    zone: None,
                },
                state: state.clone(),
                reason: None,
                description: None,
            })
            .collect();
        self.targets = Observed::Present { at: self.now, value };
    }

    pub(crate) fn input(&self) -> Input {
        let mut bindings: Vec<_> = self.bindings.values().cloned().collect();
        for bound in &mut bindings {
            let Registered { cluster, last_seen } = self.clusters[&bound.binding.cluster].clone();
            bound.cluster = cluster;
            bound.last_seen = last_seen;
            if self.instances {
                bound.nodes = Arc::new(nodes(&bound.facts, &bound.nodes));
            }
        }
        Input {
            now: self.now,
            guards: self.guards.clone(),
            restored: self.restored,
            fenced_until: self.fenced_until,
            arn: arn(),
            declared: self.declared.clone(),
            facts: self.facts.clone(),
            targets: self.targets.clone(),
            bindings,
            ledger: self.ledger.values().cloned().collect(),
            removals: self.removals.clone(),
            released: self.released.clone(),
            drifts: self.drifts.clone(),
            drains: self.drains.clone(),
            deregistration_delay: self.deregistration_delay,
            failure: self.failure.clone(),
            zones_wanted: self.zones_wanted,
            frozen: self.frozen,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        planner::plan(&self.input())
    }

    /// Plans and applies until there is no work. The plans that had work, and the last one.
    pub(crate) fn settle(&mut self) -> Vec<Plan> {
        let mut plans = Vec::new();
        loop {
            let plan = self.plan();
            let idle = plan.steps.is_empty();
            self.apply(&plan, Fate::Answered);
            plans.push(plan);
            if idle {
                return plans;
            }
            assert!(plans.len() < 10, "planning does not come to rest: {plans:#?}");
        }
    }

    /// Writes each step's intent, calls AWS, records the outcome.
    pub(crate) fn apply(&mut self, plan: &Plan, fate: Fate) {
        for (MarkKey(key), mark) in &plan.marks {
            if let Some(row) = self.ledger.get_mut(key) {
                row.unwanted_since = *mark;
            }
        }
        for step in &plan.steps {
            match step {
                Step::Claim { targets } => {
                    for addition in targets {
                        self.write(addition, true);
                    }
                }
                Step::Unbind { targets } => {
                    for addition in targets {
                        let row = self.ledger.get_mut(&addition.target.key).unwrap();
                        row.bindings.clone_from(&addition.bindings);
                        row.pod.clone_from(&addition.pod);
                    }
                }
                Step::Forget { targets } => self.ledger.retain(|key, _| !targets.contains(key)),
                Step::Register { targets } => {
                    for addition in targets {
                        self.write(addition, false);
                    }
                    if fate == Fate::Crash {
                        return;
                    }
                    if fate == Fate::Answered && targets.iter().any(|addition| addition.why == Why::Drifted) {
                        self.drifts.push(self.now);
                    }
                    for addition in targets {
                        self.registered_calls.push((self.now, addition.clone()));
                        let key = &addition.target.key;
                        if fate != Fate::CallLost {
                            self.aws.insert(key.clone(), self.first_health.clone());
                        }
                        self.record(key, LedgerState::Registered, fate);
                    }
                }
                Step::Deregister { targets } => {
                    let live = |row: &&LedgerTarget| row.state != LedgerState::Deregistered;
                    let live_before = u32::try_from(self.ledger.values().filter(live).count()).unwrap();
                    for target in targets {
                        let key = target.target.key.clone();
                        let row = self.ledger.get(&key).cloned();
                        self.deregistered.push(Deregistered {
                            at: self.now,
                            key: key.clone(),
                            ground: target.ground,
                            row,
                            live_before,
                        });
                        if let Some(row) = self.ledger.get_mut(&key) {
                            row.state = LedgerState::Deregistering;
                            row.changed_at = self.now;
                        }
                        self.removals.push(Removal {
                            key,
                            at: self.now,
                            ground: target.ground,
                            live_before,
                        });
                    }
                    if fate == Fate::Crash {
                        return;
                    }
                    for target in targets {
                        let key = &target.target.key;
                        if fate != Fate::CallLost && self.aws.contains_key(key) {
                            self.aws.insert(key.clone(), HealthState::Draining);
                        }
                        self.record(key, LedgerState::Deregistered, fate);
                    }
                }
            }
        }
    }

    fn write(&mut self, addition: &Addition, claimed: bool) {
        let row = LedgerTarget {
            target: addition.target.clone(),
            state: if claimed {
                LedgerState::Registered
            } else {
                LedgerState::Registering
            },
            claimed,
            bindings: addition.bindings.clone(),
            pod: addition.pod.clone(),
            changed_at: self.now,
            ambiguous_at: self
                .ledger
                .get(&addition.target.key)
                .and_then(|row| row.ambiguous_at),
            unwanted_since: None,
        };
        self.ledger.insert(addition.target.key.clone(), row);
    }

    fn record(&mut self, key: &TargetKey, state: LedgerState, fate: Fate) {
        let now = self.now;
        let Some(row) = self.ledger.get_mut(key) else {
            return;
        };
        match fate {
            Fate::Answered => {
                row.state = state;
                row.changed_at = now;
            }
            Fate::AnswerLost | Fate::CallLost | Fate::Crash => row.ambiguous_at = Some(now),
        }
    }

    /// What AWS has registered.
    pub(crate) fn in_aws(&self) -> BTreeSet<TargetKey> {
        let registered = self
            .aws
            .iter()
            .filter(|(_, state)| **state != HealthState::Draining);
        registered.map(|(key, _)| key.clone()).collect()
    }
}

fn service(object: &ObjectName) -> Service {
    Service {
        object: object.clone(),
        version: ObjectVersion {
            uid: Uuid::from_u128(1),
            resource_version: 1,
        },
        service_type: "NodePort".into(),
        ports: vec![ServicePort {
            name: "http".into(),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: Some(NODE_PORT),
        }],
        selector: BTreeMap::new(),
    }
}

fn slice(service: &str, index: usize, pods: &[Pod]) -> EndpointSlice {
    EndpointSlice {
        object: ObjectName::new("shop", format!("{service}-{index}")),
        version: ObjectVersion {
            uid: Uuid::from_u128(index as u128),
            resource_version: 1,
        },
        service: service.into(),
        family: AddressFamily::Ipv4,
        ports: vec![SlicePort {
            name: "http".into(),
            port: Some(PORT),
            protocol: Protocol::Tcp,
        }],
        endpoints: pods.iter().map(Pod::endpoint).collect(),
    }
}

fn pods(facts: &ServiceFacts) -> BTreeSet<(IpAddr, Option<PodRef>)> {
    let slices = facts.slices.known().into_iter().flatten();
    slices
        .flat_map(|slice| &slice.endpoints)
        .map(|endpoint| (endpoint.addresses[0], endpoint.pod.clone()))
        .collect()
}

fn instance_key(address: IpAddr) -> TargetKey {
    let IpAddr::V4(address) = address else {
        unreachable!("the nodes of a test are told apart by IPv4 addresses")
    };
    TargetKey {
        id: model::TargetId::Named(instance(address.octets()[3])),
        port: NODE_PORT,
    }
}

/// The nodes that stand for the pods of a Service; `base` for what pods have no word for.
fn nodes(facts: &ServiceFacts, base: &NodeFacts) -> NodeFacts {
    let endpoints = |slices: &Vec<EndpointSlice>| -> Vec<Endpoint> {
        slices.iter().flat_map(|slice| slice.endpoints.clone()).collect()
    };
    let node = |endpoint: &Endpoint| StoredNode {
        node: node(endpoint),
        confirmed_at: facts.confirmed_at,
    };
    let stated = facts.slices.known().map(endpoints).map(|endpoints| {
        let nodes = endpoints
            .iter()
            .map(|endpoint| (endpoint.addresses[0], node(endpoint)));
        let by_address: BTreeMap<_, _> = nodes.collect();
        by_address.into_values().collect()
    });
    let departures = facts.departures.iter().map(|departure| NodeDeparture {
        node: NodeRef {
            name: node_name(departure.address),
            uid: departure.pod.as_ref().unwrap().uid,
        },
        instance: instance_key(departure.address).id.to_string(),
        gone: departure.evidence.is_positive(),
        at: departure.at,
    });
    NodeFacts {
        nodes: stated.map_or(Stated::Unknown, Stated::Known),
        departures: departures.collect(),
        ..base.clone()
    }
}

fn node_name(address: IpAddr) -> String {
    format!("node-{}", address.to_string().rsplit_once('.').unwrap().1)
}

fn node(endpoint: &Endpoint) -> Node {
    let address = endpoint.addresses[0];
    let drained = Taint {
        key: "ToBeDeletedByClusterAutoscaler".into(),
        effect: "NoSchedule".into(),
    };
    Node {
        name: node_name(address),
        version: ObjectVersion {
            uid: endpoint.pod.as_ref().unwrap().uid,
            resource_version: 1,
        },
        provider_id: Some(format!("aws:///eu-central-1a/{}", instance_key(address).id)),
        labels: BTreeMap::new(),
        taints: endpoint.is_terminating().then_some(drained).into_iter().collect(),
        ready: if endpoint.ready == Some(true) {
            NodeReady::True
        } else {
            NodeReady::False
        },
        unschedulable: false,
    }
}
