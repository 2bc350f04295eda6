//! From a binding's `networking`, its targets and their network interfaces to openings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use model::{
    BindingId, SecurityGroupId, Shard, TargetId, TargetKey,
    binding::{OpenPort, PortRef},
    cluster::Cluster,
    condition::{Problem, Reason},
    fact::{ServiceFacts, Stated},
    group::BoundService,
    network::{Interface, Interfaces, Openings, Permission, Place, PortRange},
    node::NodeFacts,
    sabotage,
    target::TargetType,
};

use crate::{
    input::Input,
    wanted::{Statement, Wish, wish},
};

/// What a binding needs open now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// `None`: as it was.
    pub openings: Option<Openings>,
    /// Why something could not be computed. What it was before stays open.
    pub problem: Option<Problem>,
}

/// The interfaces that must be known to compute the openings of the group's bindings, as far as they are `here`.
pub fn places(input: &Input, here: &Shard) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for bound in at_home(input, here).filter(|bound| asks(bound)) {
        if let Wish::Stated(statement) = wish(input, bound) {
            let hosts = Hosts::of(bound);
            places.extend(targets(&statement).map(|target| hosts.place(target)));
        }
    }
    places
}

/// What each binding of the group needs open, of those whose clusters are in the shard `here`, as their security groups
/// are. Bindings without `networking`, now and before, are left out.
pub fn compute(input: &Input, here: &Shard, interfaces: &Interfaces) -> BTreeMap<BindingId, Computed> {
    at_home(input, here)
        .filter(|bound| asks(bound) || !bound.openings.is_empty() || bound.unopened.is_some())
        .map(|bound| (bound.binding.id, computed(input, bound, interfaces)))
        .collect()
}

fn at_home<'a>(input: &'a Input, here: &'a Shard) -> impl Iterator<Item = &'a BoundService> {
    let bindings = input.bindings.iter();
    bindings.filter(move |bound| bound.cluster.spec.shard() == *here)
}

/// Whether the binding asks for anything, and is ours to act on.
fn asks(bound: &BoundService) -> bool {
    if !bound.binding.standing.acts() {
        return false;
    }
    let spec = bound.binding.spec.as_ref();
    spec.is_some_and(|spec| !spec.networking.is_empty())
}

/// Targets that are there or may be there in a moment: their ports are opened before they are ready.
fn targets(statement: &Statement) -> impl Iterator<Item = &TargetId> {
    let keys = statement.wanted.keys().chain(statement.not_ready.keys());
    keys.map(|key| &key.id)
}

/// On which instances the addresses of a binding are, as far as its cluster says.
struct Hosts<'a> {
    bound: &'a BoundService,
    /// The node that each address is on.
    nodes: BTreeMap<IpAddr, &'a str>,
}

impl<'a> Hosts<'a> {
    fn of(bound: &'a BoundService) -> Self {
        let slices = bound.facts.slices.known().into_iter().flatten();
        let mut endpoints: Vec<_> = slices.flat_map(|slice| &slice.endpoints).collect();
        // While a pod leaves and another has its address already, the one that stays says where that is.
        endpoints.sort_by_key(|endpoint| !endpoint.is_terminating());
        let nodes = endpoints.into_iter().filter_map(|endpoint| {
            let node = endpoint.node.as_deref()?;
            Some(endpoint.addresses.iter().map(move |address| (*address, node)))
        });
        Self {
            bound,
            nodes: nodes.flatten().collect(),
        }
    }

    fn node(&self, target: &TargetId) -> Option<&'a str> {
        match target {
            TargetId::Ip(address) => self.nodes.get(address).copied(),
            TargetId::Named(_) => None,
        }
    }

    fn place(&self, target: &TargetId) -> Place {
        let hosts = self.bound.nodes.hosts.known();
        let host = self.node(target).and_then(|node| hosts?.get(node)?.clone());
        Place {
            vpc: self.bound.cluster.spec.vpc_id.clone(),
            target: target.clone(),
            host,
        }
    }

    /// What the cluster has yet to state before it can be said that no interface has the target.
    fn awaited(&self, target: &TargetId) -> Option<Problem> {
        let node = self.node(target)?;
        let NodeFacts { hosts, unsynced, .. } = &*self.bound.nodes;
        let what = match (hosts, unsynced) {
            (Stated::Known(hosts), _) if hosts.contains_key(node) => return None,
            (_, Some(reason)) => format!("its nodes: {reason}"),
            (Stated::Known(_), None) => format!("node `{node}`, which {target} is on"),
            (Stated::Unknown, None) => "its nodes (an agent of an older version never does)".to_owned(),
        };
        let message = format!(
            "waiting for cluster `{}` to state {what}, to open ports before it",
            self.bound.cluster.name
        );
        Some(Problem::at(Reason::AwaitingCluster, "spec.networking", message))
    }
}

fn computed(input: &Input, bound: &BoundService, interfaces: &Interfaces) -> Computed {
    let keep = |problem| Computed {
        openings: None,
        problem,
    };
    let before = || -> Openings {
        let opening = |(group, opening): (&SecurityGroupId, &model::network::Opening)| {
            (group.clone(), opening.permissions.clone())
        };
        bound.openings.iter().map(opening).collect()
    };
    if !bound.binding.standing.acts() {
        return keep(None);
    }
    let statement = match wish(input, bound) {
        // What is wrong with the binding itself is told by its status anyhow.
        Wish::Unknown(_) if sabotage::is_on("S1") => Statement::default(),
        Wish::Unknown(_) | Wish::NotServed | Wish::Released | Wish::Relinquished | Wish::DeletionHeld => {
            return keep(None);
        }
        Wish::Stated(statement) => statement,
    };
    let permissions = match permissions(input, bound) {
        Ok(permissions) => permissions,
        Err(problem) => return keep(Some(problem)),
    };
    let mut openings = Openings::new();
    let mut problem = None;
    if !permissions.is_empty() {
        let (groups, unclear) = groups(bound, &statement, interfaces);
        openings.extend(groups.into_iter().map(|group| (group, permissions.clone())));
        problem = unclear;
    }
    // A rule is closed only when the targets that needed it have been deregistered, and nothing is closed on a guess.
    if problem.is_some() || is_leaving(input, bound, &statement) {
        for (group, permissions) in before() {
            openings.entry(group).or_default().extend(permissions);
        }
    }
    Computed {
        openings: (openings != before()).then_some(openings),
        problem,
    }
}

/// Whether AWS may have targets of the binding that it does not want any more.
fn is_leaving(input: &Input, bound: &BoundService, statement: &Statement) -> bool {
    let stays = |key: &TargetKey| statement.wanted.contains_key(key) || statement.not_ready.contains_key(key);
    input
        .ledger
        .iter()
        .filter(|row| row.bindings.contains(&bound.binding.id))
        .any(|row| row.may_be_registered() && !stays(row.key()))
}

/// The security groups that stand before the binding's targets, and why some are not known.
fn groups(
    bound: &BoundService,
    statement: &Statement,
    interfaces: &Interfaces,
) -> (BTreeSet<SecurityGroupId>, Option<Problem>) {
    let mut groups = BTreeSet::new();
    let mut unknown: Option<Problem> = None;
    let mut missing = Vec::new();
    let hosts = Hosts::of(bound);
    for target in targets(statement) {
        match interfaces.found.get(&hosts.place(target)) {
            Some(Some(interface)) => match choose(interface, target, &bound.cluster) {
                Ok(group) => drop(groups.insert(group)),
                Err(problem) => drop(unknown.get_or_insert(problem)),
            },
            Some(None) => match hosts.awaited(target) {
                Some(problem) => drop(unknown.get_or_insert(problem)),
                None => missing.push(target),
            },
            None => {
                let unanswered =
                    || Problem::new(Reason::AwaitingAws, "waiting for AWS to list network interfaces");
                unknown.get_or_insert_with(|| interfaces.problem.clone().unwrap_or_else(unanswered));
            }
        }
    }
    let unknown = unknown.or_else(|| {
        let first = missing.first()?;
        let others = match missing.len() - 1 {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        let message = format!(
            "no network interface in {} has {first}{others}, so its ports cannot be opened: open them by hand where it is",
            bound.cluster.spec.vpc_id
        );
        Some(Problem::at(Reason::InterfaceNotFound, "spec.networking", message))
    });
    (groups, unknown)
}

/// The group whose rules decide: the only one, or the only one that is tagged as the cluster's.
fn choose(interface: &Interface, target: &TargetId, cluster: &Cluster) -> Result<SecurityGroupId, Problem> {
    if let [only] = &interface.groups[..] {
        return Ok(only.id.clone());
    }
    let tag = cluster.aws_tag();
    let tagged: Vec<_> = interface
        .groups
        .iter()
        .filter(|group| group.tags.contains_key(&tag))
        .collect();
    if let [only] = tagged[..] {
        return Ok(only.id.clone());
    }
    let groups: Vec<_> = interface
        .groups
        .iter()
        .map(|group| group.id.to_string())
        .collect();
    let message = format!(
        "network interface {} of {target} has {} security groups ({}), and {} of them are tagged `{tag}`: tag exactly one",
        interface.id,
        groups.len(),
        groups.join(", "),
        tagged.len(),
    );
    Err(Problem::at(
        Reason::SecurityGroupNotChosen,
        "spec.networking",
        message,
    ))
}

/// Every peer on every port that the binding names.
fn permissions(input: &Input, bound: &BoundService) -> Result<BTreeSet<Permission>, Problem> {
    let mut permissions = BTreeSet::new();
    let rules = bound.binding.spec.iter().flat_map(|spec| &spec.networking);
    for (index, rule) in rules.enumerate() {
        for (number, port) in rule.ports.iter().enumerate() {
            let field = || format!("spec.networking.ingress[{index}].ports[{number}].port");
            for ports in resolve(input, &bound.facts, port, field)? {
                permissions.extend(rule.from.iter().map(|peer| Permission {
                    protocol: port.protocol,
                    peer: peer.clone(),
                    ports,
                }));
            }
        }
    }
    Ok(permissions)
}

/// The port's numbers where the targets are: several if slices disagree.
fn resolve(
    input: &Input,
    facts: &ServiceFacts,
    port: &OpenPort,
    field: impl Fn() -> String,
) -> Result<BTreeSet<PortRange>, Problem> {
    let name = match &port.port {
        None => return Ok(BTreeSet::from([PortRange::ALL])),
        Some(PortRef::Number(number)) => return Ok(BTreeSet::from([PortRange::single(*number)])),
        Some(PortRef::Name(name)) => name,
    };
    let by_instance = input
        .facts
        .present()
        .is_some_and(|facts| facts.target_type == TargetType::Instance);
    let numbers: BTreeSet<u16> = match (&facts.service, &facts.slices) {
        (Stated::Known(Some(service)), _) if by_instance => service
            .ports
            .iter()
            .filter(|each| each.name == *name && each.protocol == port.protocol)
            .filter_map(|each| each.node_port)
            .collect(),
        (_, Stated::Known(slices)) if !by_instance => slices
            .iter()
            .flat_map(|slice| &slice.ports)
            .filter(|each| each.name == *name && each.protocol == port.protocol)
            .filter_map(|each| each.port)
            .collect(),
        _ => BTreeSet::new(),
    };
    if numbers.is_empty() {
        let kind = if by_instance {
            "a NodePort"
        } else {
            "an endpoint's port"
        };
        let message = format!(
            "the Service has no {} port `{name}` with {kind}: correct the name, or write the number",
            port.protocol
        );
        return Err(Problem::at(Reason::PortNotFound, field(), message));
    }
    Ok(numbers.into_iter().map(PortRange::single).collect())
}
