//! Which nodes a binding of an instance group wants: their instances at the Service's node port.

use model::{
    TargetKey,
    binding::BindingSpec,
    condition::{Problem, Reason},
    fact::{Service, ServicePort},
    node::{Node, NodeReady, StoredNode, Taint},
    target::TargetId,
};

use crate::wanted::Statement;

/// Nodes with one of these are no targets, whatever it is set to (Kubernetes, "Well-Known Labels").
const EXCLUDING: [&str; 3] = [
    "node-role.kubernetes.io/master",
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "alpha.service-controller.kubernetes.io/exclude-balancer",
];
/// A pod's own machine that no node port leads to.
const COMPUTE_TYPE: (&str, &str) = ("eks.amazonaws.com/compute-type", "fargate");
const CLUSTER_AUTOSCALER: &str = "ToBeDeletedByClusterAutoscaler";
const KARPENTER: (&str, &str) = ("karpenter.sh/disrupted", "NoSchedule");

/// What a node is to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Target,
    NotReady,
    /// It is about to be taken away, whatever becomes of its condition.
    Ending,
    /// Labels or the binding's selector leave it out.
    Excluded,
}

/// The targets among `nodes`, or why there can be none.
pub(crate) fn statement(
    service: &Service,
    port: &ServicePort,
    spec: &BindingSpec,
    nodes: &[StoredNode],
) -> Result<Statement, Problem> {
    let port = node_port(service, port)?;
    let mut statement = Statement::default();
    for StoredNode { node, .. } in nodes {
        let Some(key) = key(node, port) else { continue };
        let place = match part(node, spec) {
            Part::Target => &mut statement.wanted,
            Part::NotReady => &mut statement.not_ready,
            Part::Ending => &mut statement.terminating,
            Part::Excluded => continue,
        };
        place.insert(key, None);
    }
    Ok(statement)
}

fn node_port(service: &Service, port: &ServicePort) -> Result<u16, Problem> {
    let name = &service.object.name;
    let message = match (service.service_type.as_str(), port.node_port) {
        ("NodePort" | "LoadBalancer", Some(port)) => return Ok(port),
        ("NodePort" | "LoadBalancer", None) => format!(
            "port {} of Service `{name}` has no node port: let it allocate one, or use a target group of type `ip`",
            port.port
        ),
        (other, _) => format!(
            "Service `{name}` is of type {other}, which has no node ports: make it NodePort or LoadBalancer, or use a \
             target group of type `ip`"
        ),
    };
    Err(Problem::at(Reason::PortNotFound, "spec.serviceRef.port", message))
}

fn key(node: &Node, port: u16) -> Option<TargetKey> {
    let id = TargetId::Named(node.instance_id()?.to_owned());
    Some(TargetKey { id, port })
}

fn part(node: &Node, spec: &BindingSpec) -> Part {
    if node.taints.iter().any(is_end) {
        return Part::Ending;
    }
    let labels = &node.labels;
    let excluded = EXCLUDING.iter().any(|label| labels.contains_key(*label))
        || labels
            .get(COMPUTE_TYPE.0)
            .is_some_and(|kind| kind == COMPUTE_TYPE.1);
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|selector| selector.selects(labels));
    match node.ready {
        _ if excluded || !selected => Part::Excluded,
        // Nobody hears of it, which says nothing about what it serves: AWS's health checks judge.
        NodeReady::True | NodeReady::Unknown => Part::Target,
        NodeReady::False | NodeReady::Absent => Part::NotReady,
    }
}

fn is_end(taint: &Taint) -> bool {
    taint.key == CLUSTER_AUTOSCALER || (taint.key.as_str(), taint.effect.as_str()) == KARPENTER
}
