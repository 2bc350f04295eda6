//! From a binding's `networking`, its targets and their network interfaces to openings.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BindingId, SecurityGroupId, TargetId, TargetKey,
    binding::{OpenPort, PortRef},
    cluster::Cluster,
    condition::{Problem, Reason},
    fact::{ServiceFacts, Stated},
    group::BoundService,
    network::{Interface, Interfaces, Openings, Permission, Place, PortRange},
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

/// The interfaces that must be known to compute the openings of the group's bindings.
pub fn places(input: &Input) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for bound in input
        .bindings
        .iter()
        .filter(|bound| asks(bound) && is_at_home(input, bound))
    {
        if let Wish::Stated(statement) = wish(input, bound) {
            places.extend(targets(&statement).map(|target| place(bound, target)));
        }
    }
    places
}

/// What each binding of the group needs open. Bindings without `networking`, now and before, are left out.
pub fn compute(input: &Input, interfaces: &Interfaces) -> BTreeMap<BindingId, Computed> {
    input
        .bindings
        .iter()
        .filter(|bound| asks(bound) || !bound.openings.is_empty())
        .map(|bound| (bound.binding.id, computed(input, bound, interfaces)))
        .collect()
}

/// Whether the binding asks for anything, and is ours to act on.
fn asks(bound: &BoundService) -> bool {
    if !bound.binding.standing.acts() {
        return false;
    }
    let spec = bound.binding.spec.as_ref();
    spec.is_some_and(|spec| !spec.networking.is_empty())
}

/// Whether whoever writes the group sees the interfaces of the binding's cluster.
fn is_at_home(input: &Input, bound: &BoundService) -> bool {
    *input.arn.shard() == bound.cluster.spec.shard()
}

/// Targets that are there or may be there in a moment: their ports are opened before they are ready.
fn targets(statement: &Statement) -> impl Iterator<Item = &TargetId> {
    let keys = statement.wanted.keys().chain(statement.not_ready.keys());
    keys.map(|key| &key.id)
}

fn place(bound: &BoundService, target: &TargetId) -> Place {
    Place {
        vpc: bound.cluster.spec.vpc_id.clone(),
        target: target.clone(),
        host: None,
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
    if asks(bound) && !is_at_home(input, bound) {
        let message = format!(
            "the target group is in {} and the pods are in {}, where this version opens nothing for it: open the ports by hand",
            input.arn.shard(),
            bound.cluster.spec.shard(),
        );
        return keep(Some(Problem::at(
            Reason::InterfaceNotFound,
            "spec.networking",
            message,
        )));
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
    for target in targets(statement) {
        match interfaces.found.get(&place(bound, target)) {
            Some(Some(interface)) => match choose(interface, target, &bound.cluster) {
                Ok(group) => drop(groups.insert(group)),
                Err(problem) => drop(unknown.get_or_insert(problem)),
            },
            Some(None) => missing.push(target),
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
