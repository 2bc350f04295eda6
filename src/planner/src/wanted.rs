//! From facts to wishes: which targets does a binding want, which does it merely tolerate, and when is that unknown?

use std::{collections::BTreeMap, net::IpAddr};

use model::{
    TargetKey,
    binding::{BindingSpec, Lifecycle, PortRef},
    condition::{Problem, Reason},
    fact::{AddressFamily, Endpoint, EndpointSlice, PodRef, Protocol, Service, ServicePort, Stated},
    group::BoundService,
    node::NodeFacts,
    target::TargetType,
    target_group::{IpAddressType, TargetGroupFacts},
};

use crate::{Input, admission, gate::Deadlock, instance};

/// What a binding says about targets.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Nothing can be said: it adds nothing and keeps what it holds.
    Unknown(Problem),
    /// It was deleted on purpose and lets everything go.
    Released,
    /// Nobody has a say about what it holds any more: it is ours no more and stays where it is.
    Relinquished,
    /// Elbow does not serve it: what it holds stays.
    NotServed,
    /// It was deleted together with too many others and keeps what it holds.
    DeletionHeld,
    Stated(Statement),
}

/// What a binding's facts say, once they can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    /// Ready endpoints, and those that only wait for AWS to find them healthy, each with its pod; or the instances of ready nodes.
    pub wanted: BTreeMap<TargetKey, Option<PodRef>>,
    /// Endpoints that are there and not ready, nor terminating.
    pub not_ready: BTreeMap<TargetKey, Option<PodRef>>,
    /// Endpoints that are there and end, each with its pod.
    pub terminating: BTreeMap<TargetKey, Option<PodRef>>,
    /// Why `wanted` is empty although the facts are known: the Service or its port does not exist.
    pub problem: Option<Problem>,
}

/// What `input` says about targets.
pub(crate) fn wish(group: &Input, input: &BoundService) -> Wish {
    let binding = &input.binding;
    match binding.lifecycle {
        Lifecycle::Deleted { .. } if binding.standing.acts() => return Wish::Released,
        Lifecycle::Deleted { .. } | Lifecycle::Relinquished { .. } => return Wish::Relinquished,
        Lifecycle::DeletionHeld { .. } => return Wish::DeletionHeld,
        Lifecycle::Active => {}
    }
    if !binding.standing.is_planned() {
        return Wish::NotServed;
    }
    if let Some(problem) = &binding.problem {
        // Its present text is wrong, so what it means now is not known.
        return Wish::Unknown(problem.clone());
    }
    let Some(spec) = &binding.spec else {
        return Wish::Unknown(Problem::new(Reason::Invalid, "the binding has no valid text yet"));
    };
    let facts = match admission::admitted(group, input).and_then(|()| described(group)) {
        Ok(facts) => facts,
        Err(problem) => return Wish::Unknown(problem),
    };
    if let Err(problem) =
        admission::in_own_vpc(group, input, facts).and_then(|()| matches(spec, input, facts))
    {
        return Wish::Unknown(problem);
    }
    let awaiting = |what: &str| {
        let message = format!("waiting for cluster `{}` to state {what}", input.cluster.name);
        Wish::Unknown(Problem::new(Reason::AwaitingCluster, message))
    };
    let Stated::Known(service) = &input.facts.service else {
        return awaiting(&format!("Service `{}`", spec.service));
    };
    let found = match service {
        None => Err(service_missing(spec)),
        Some(service) => resolve(service, spec, facts).map(|port| (service, port)),
    };
    let stated = if facts.target_type == TargetType::Instance {
        match (&input.nodes.nodes, &input.nodes.unsynced) {
            (Stated::Known(nodes), _) => {
                found.and_then(|(service, port)| instance::statement(service, port, spec, nodes))
            }
            (Stated::Unknown, Some(reason)) => return awaiting(&format!("its nodes: {reason}")),
            (Stated::Unknown, None) => {
                return awaiting("its nodes (an agent of an older version never does)");
            }
        }
    } else {
        let Stated::Known(slices) = &input.facts.slices else {
            return awaiting(&format!("the EndpointSlices of Service `{}`", spec.service));
        };
        found.map(|(_, port)| endpoints(slices, port, facts, input))
    };
    // Known to be gone: nothing is wanted. What was registered goes the guarded way.
    Wish::Stated(stated.unwrap_or_else(|problem| Statement {
        problem: Some(problem),
        ..Statement::default()
    }))
}

/// The endpoints of a port in the union of the Service's slices.
fn endpoints(
    slices: &[EndpointSlice],
    port: &ServicePort,
    facts: &TargetGroupFacts,
    input: &BoundService,
) -> Statement {
    let deadlock = Deadlock::of(input);
    let family = match facts.ip_address_type {
        IpAddressType::Ipv4 => AddressFamily::Ipv4,
        IpAddressType::Ipv6 => AddressFamily::Ipv6,
    };
    let mut statement = Statement::default();
    let slices = slices.iter().filter(|slice| slice.family == family);
    // The endpoints of a Service are the union of its slices (S20): one slice alone says nothing about absence.
    let slices: Vec<_> = if model::sabotage::is_on("S20") {
        slices.rev().take(1).collect()
    } else {
        slices.collect()
    };
    for slice in slices {
        let numbers = slice
            .ports
            .iter()
            .filter(|p| p.name == port.name && p.protocol == port.protocol);
        for number in numbers.filter_map(|p| p.port) {
            for endpoint in &slice.endpoints {
                for address in &endpoint.addresses {
                    statement.add(endpoint, *address, number, &input.nodes, &deadlock);
                }
            }
        }
    }
    statement.settle();
    statement
}

impl Statement {
    fn add(
        &mut self,
        endpoint: &Endpoint,
        address: IpAddr,
        port: u16,
        nodes: &NodeFacts,
        deadlock: &Deadlock<'_>,
    ) {
        let key = TargetKey::ip(address, port);
        // A node that nobody hears of says nothing about its pods: AWS's health checks judge.
        let unheard = || {
            endpoint
                .node
                .as_ref()
                .is_some_and(|node| nodes.unknown.contains(node))
        };
        if endpoint.is_terminating() {
            self.terminating.insert(key, endpoint.pod.clone());
        } else if endpoint.is_ready()
            || unheard()
            || deadlock.holds(endpoint.pod.as_ref(), endpoint.node.as_ref())
        {
            self.wanted.insert(key, endpoint.pod.clone());
        } else {
            self.not_ready.insert(key, endpoint.pod.clone());
        }
    }

    /// An endpoint may stand in two slices while it moves, one of them out of date. The better state counts, but
    /// a pod that ends never becomes ready again.
    fn settle(&mut self) {
        let Self {
            wanted,
            not_ready,
            terminating,
            problem: _,
        } = self;
        let ends = |key: &TargetKey, pod: &Option<PodRef>| pod.is_some() && terminating.get(key) == Some(pod);
        wanted.retain(|key, pod| !ends(key, pod));
        not_ready.retain(|key, pod| !wanted.contains_key(key) && !ends(key, pod));
        terminating.retain(|key, _| !wanted.contains_key(key) && !not_ready.contains_key(key));
    }
}

/// What AWS says about the group.
fn described(group: &Input) -> Result<&TargetGroupFacts, Problem> {
    match &group.facts {
        model::Observed::Present { value, .. } => Ok(value),
        model::Observed::Absent { .. } => {
            let message = format!(
                "AWS knows no target group {}: check the ARN, or create the target group",
                group.arn
            );
            Err(Problem::at(
                Reason::TargetGroupNotFound,
                "spec.targetGroupARN",
                message,
            ))
        }
        model::Observed::Unknown => Err(group.failure.clone().unwrap_or_else(|| {
            Problem::new(
                Reason::AwaitingAws,
                "waiting for AWS to describe the target group",
            )
        })),
    }
}

/// Whether what the binding says about the group is what AWS says.
fn matches(spec: &BindingSpec, input: &BoundService, facts: &TargetGroupFacts) -> Result<(), Problem> {
    let mismatch = |field: &str, said: String, is: String| {
        let message =
            format!("the binding says `{said}` and AWS says `{is}`: correct the field or leave it out");
        Err(Problem::at(Reason::TargetGroupMismatch, field, message))
    };
    if let Some(said) = spec.target_type.filter(|said| *said != facts.target_type) {
        return mismatch("spec.targetType", said.to_string(), facts.target_type.to_string());
    }
    let quic = matches!(facts.protocol.as_deref(), Some("QUIC" | "TCP_QUIC"));
    match facts.target_type {
        TargetType::Ip if spec.node_selector.is_some() => {
            let message = "it selects nodes and the target group's type is `ip`: remove it, or use a target group of type \
                           `instance`";
            return Err(Problem::at(Reason::Invalid, "spec.nodeSelector", message));
        }
        TargetType::Instance if quic => {
            let message = "QUIC cannot be used with a target group of type `instance`: use one of type `ip`";
            return Err(Problem::at(Reason::Invalid, "spec.targetGroupARN", message));
        }
        TargetType::Ip | TargetType::Instance => {}
        TargetType::Lambda | TargetType::Alb => {
            let message = format!(
                "the target group's type is `{}` and only `ip` and `instance` hold what a Service has: use one of them",
                facts.target_type
            );
            return Err(Problem::at(
                Reason::TargetTypeNotServed,
                "spec.targetGroupARN",
                message,
            ));
        }
    }
    if let Some(said) = spec.ip_address_type.filter(|said| *said != facts.ip_address_type) {
        return mismatch(
            "spec.ipAddressType",
            said.to_string(),
            facts.ip_address_type.to_string(),
        );
    }
    if let (Some(said), Some(is)) = (&spec.protocol, &facts.protocol)
        && said != is
    {
        return mismatch("spec.targetGroupProtocol", said.clone(), is.clone());
    }
    if let (Some(said), Some(is)) = (&spec.vpc_id, &facts.vpc)
        && said != is
    {
        return mismatch("spec.vpcID", said.clone(), is.clone());
    }
    match &facts.vpc {
        // A group of a peered VPC is served when the binding says that it is meant.
        Some(vpc) if vpc != input.cluster.spec.vpc_id.as_str() && spec.vpc_id.is_none() => {
            let message = format!(
                "the target group is in {vpc} and cluster `{}` is in {}: use a target group of the cluster's VPC, \
                 or set `{vpc}` here if it reaches the pods",
                input.cluster.name, input.cluster.spec.vpc_id
            );
            Err(Problem::at(Reason::TargetGroupMismatch, "spec.vpcID", message))
        }
        _ => Ok(()),
    }
}

fn service_missing(spec: &BindingSpec) -> Problem {
    let message = format!(
        "Service `{}` does not exist in the binding's namespace: create it or correct the name",
        spec.service
    );
    Problem::at(Reason::ServiceNotFound, "spec.serviceRef.name", message)
}

/// The port of the Service that the binding means. Slices are matched by its name.
///
/// A Service may have one number for TCP and for UDP: the group's protocol says which is meant.
fn resolve<'a>(
    service: &'a Service,
    spec: &BindingSpec,
    facts: &TargetGroupFacts,
) -> Result<&'a ServicePort, Problem> {
    let preferred = match facts.protocol.as_deref() {
        Some("UDP" | "QUIC") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let meant = |port: &&ServicePort| match &spec.port {
        PortRef::Number(number) => port.port == *number,
        PortRef::Name(name) => port.name == *name,
    };
    let candidates = || service.ports.iter().filter(meant);
    candidates()
        .find(|port| port.protocol == preferred)
        .or_else(|| candidates().next())
        .ok_or_else(|| {
            let ports: Vec<_> = service
                .ports
                .iter()
                .map(|port| {
                    if port.name.is_empty() {
                        port.port.to_string()
                    } else {
                        format!("{} ({})", port.port, port.name)
                    }
                })
                .collect();
            let message = format!(
                "Service `{}` has no port `{}`; it has {}",
                spec.service,
                spec.port,
                ports.join(", ")
            );
            Problem::at(Reason::PortNotFound, "spec.serviceRef.port", message)
        })
}
