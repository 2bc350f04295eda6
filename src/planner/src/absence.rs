//! Why a target of ours is not wanted: each binding that holds it gives its word, and the weakest word counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use model::{
    BindingId, ClusterId, TargetId,
    cluster::{Mode, VpcId},
    fact::{Evidence, PodRef},
    group::BoundService,
    ledger::{Ground, LedgerTarget, NodeEnd},
    node::{NodeDeparture, NodeRef, StoredNode},
    plan::HoldReason,
    sabotage,
};

use uuid::Uuid;

use crate::{
    Input,
    wanted::{self, Statement, Wish},
};

/// A binding with its wish.
#[derive(Debug)]
pub(crate) struct Holder<'a> {
    pub input: &'a BoundService,
    pub wish: Wish,
    /// Addresses that bindings of other clusters in the same VPC have endpoints at, with their pods.
    elsewhere: BTreeMap<IpAddr, BTreeSet<Uuid>>,
}

/// All bindings of the group with their wishes.
pub(crate) fn holders(input: &Input) -> BTreeMap<BindingId, Holder<'_>> {
    let mut holders: BTreeMap<_, _> = input
        .bindings
        .iter()
        .map(|bound| {
            let holder = Holder {
                input: bound,
                wish: wanted::wish(input, bound),
                elsewhere: BTreeMap::new(),
            };
            (bound.binding.id, holder)
        })
        .collect();
    let mut endpoints = Vec::new();
    for holder in holders.values() {
        endpoints.extend(holder.endpoints());
    }
    let several = endpoints
        .iter()
        .any(|endpoint| endpoint.cluster != endpoints[0].cluster);
    for holder in holders.values_mut().filter(|_| several) {
        let cluster = &holder.input.cluster;
        for endpoint in &endpoints {
            if endpoint.cluster != cluster.id && endpoint.vpc == cluster.spec.vpc_id {
                let pods = holder.elsewhere.entry(endpoint.address).or_default();
                pods.insert(endpoint.pod);
            }
        }
    }
    holders
}

/// Who has an address, as a cluster says.
struct Holding {
    cluster: ClusterId,
    vpc: VpcId,
    address: IpAddr,
    pod: Uuid,
}

/// The node that an instance has, or had.
enum NodeBehind<'a> {
    Present(&'a StoredNode),
    Departed(&'a NodeDeparture),
}

/// What one binding says about one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Wants,
    /// It can say nothing, or may not yet let go.
    Keeps {
        mass_unbinding: bool,
    },
    LetsGo(Ground),
    /// It has no say any more, and no wish that the target goes.
    Relinquishes,
}

/// What all bindings of a target say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Wanted,
    Kept {
        mass_unbinding: bool,
    },
    /// With the weakest ground of all that let go.
    Unwanted(Ground),
    /// Nobody who has a say is left: it stays in AWS and is ours no more.
    Relinquished,
}

impl Holder<'_> {
    pub(crate) fn id(&self) -> BindingId {
        self.input.binding.id
    }

    /// What keeps this binding from writing, whatever it wants.
    pub(crate) fn restraint(&self) -> Option<HoldReason> {
        let BoundService {
            binding,
            cluster,
            paused,
            ..
        } = self.input;
        if paused.is_some() {
            return Some(HoldReason::Paused);
        }
        if binding.standing.waits_for_lbc() {
            return Some(HoldReason::ManagedByLBC);
        }
        match cluster.spec.mode {
            _ if sabotage::is_on("S12") => None,
            Mode::Observe => Some(HoldReason::ModeObserve),
            Mode::AddOnly => Some(HoldReason::ModeAddOnly),
            Mode::Full => None,
        }
    }

    /// Why it may not even register, if it may not.
    pub(crate) fn only_planned(&self) -> Option<HoldReason> {
        self.restraint()
            .filter(|reason| *reason != HoldReason::ModeAddOnly)
    }

    /// The endpoints that live, each with the pod that its cluster names.
    fn endpoints(&self) -> impl Iterator<Item = Holding> {
        let cluster = &self.input.cluster;
        let stated = self
            .statement()
            .into_iter()
            .flat_map(|statement| statement.wanted.iter().chain(&statement.not_ready));
        stated.filter_map(move |(key, pod)| match key.id {
            TargetId::Ip(address) => Some(Holding {
                cluster: cluster.id,
                vpc: cluster.spec.vpc_id.clone(),
                address,
                pod: uid(pod.as_ref())?,
            }),
            TargetId::Named(_) => None,
        })
    }

    /// Whether a pod of another cluster has the target's address now: an address is one interface's at a time.
    fn is_reassigned(&self, row: &LedgerTarget) -> bool {
        let (TargetId::Ip(address), Some(ours)) = (&row.key().id, uid(row.pod.as_ref())) else {
            return false;
        };
        self.elsewhere
            .get(address)
            .is_some_and(|pods| !pods.contains(&ours))
    }

    pub(crate) fn statement(&self) -> Option<&Statement> {
        match &self.wish {
            Wish::Stated(statement) => Some(statement),
            Wish::Unknown(_) | Wish::Released | Wish::NotServed | Wish::Relinquished | Wish::DeletionHeld => {
                None
            }
        }
    }

    /// What this binding says about `row`.
    pub(crate) fn word(&self, row: &LedgerTarget) -> Word {
        let statement = match &self.wish {
            Wish::Unknown(_) | Wish::NotServed => {
                return Word::Keeps {
                    mass_unbinding: false,
                };
            }
            Wish::DeletionHeld => return Word::Keeps { mass_unbinding: true },
            Wish::Released => return Word::LetsGo(Ground::BindingDeleted),
            Wish::Relinquished => return Word::Relinquishes,
            Wish::Stated(statement) => statement,
        };
        if statement.wanted.contains_key(row.key()) {
            return Word::Wants;
        }
        if statement.not_ready.contains_key(row.key()) {
            return Word::LetsGo(Ground::NotReady);
        }
        if let TargetId::Named(instance) = &row.key().id {
            return Word::LetsGo(self.end_of_node(statement, instance, row));
        }
        let evidence = self.evidence(statement, row);
        Word::LetsGo(if evidence.is_positive() {
            Ground::Proven(evidence)
        } else if self.is_reassigned(row) {
            Ground::Reassigned
        } else {
            Ground::Unproven(evidence)
        })
    }

    /// The best that the cluster could prove about the end of the target's pod.
    fn evidence(&self, statement: &Statement, row: &LedgerTarget) -> Evidence {
        let ends = |pod: &Option<PodRef>| row.pod.is_none() || uid(pod.as_ref()) == uid(row.pod.as_ref());
        if statement.terminating.get(row.key()).is_some_and(ends) {
            return Evidence::Terminating;
        }
        let TargetId::Ip(address) = row.key().id else {
            return Evidence::None;
        };
        let stated = if statement.problem.is_some() {
            Evidence::NotSelected
        } else {
            Evidence::None
        };
        self.departed(address, row)
            .map_or(stated, |evidence| evidence.max(stated))
    }

    /// What is known of the end of the node behind an instance that is not wanted.
    fn end_of_node(&self, statement: &Statement, instance: &str, row: &LedgerTarget) -> Ground {
        if statement.terminating.contains_key(row.key()) {
            return Ground::NodeEnded(NodeEnd::Draining);
        }
        match self.node(instance) {
            Some(NodeBehind::Departed(departure)) if departure.gone => Ground::NodeEnded(NodeEnd::Gone),
            Some(NodeBehind::Present(_)) => Ground::Unproven(Evidence::NotSelected),
            Some(NodeBehind::Departed(_)) | None if statement.problem.is_some() => {
                Ground::Unproven(Evidence::NotSelected)
            }
            Some(NodeBehind::Departed(_)) | None => Ground::Unproven(Evidence::None),
        }
    }

    fn node(&self, instance: &str) -> Option<NodeBehind<'_>> {
        let facts = &self.input.nodes;
        let mut nodes = facts.nodes.known().into_iter().flatten();
        let present = nodes.find(|stored| stored.node.instance_id() == Some(instance));
        present.map(NodeBehind::Present).or_else(|| {
            // Of several nodes that the instance had in turn, one that is surely gone.
            let departures = facts.departures.iter().filter(|gone| gone.instance == instance);
            departures
                .max_by_key(|departure| departure.gone)
                .map(NodeBehind::Departed)
        })
    }

    /// The node to be read again before the cluster can confirm that `row` is not wanted. None where the node does not
    /// matter: an address, or a Service that has no such port.
    pub(crate) fn node_in_question(&self, row: &LedgerTarget) -> Option<NodeRef> {
        match self.node(self.instance_in_question(row)?)? {
            NodeBehind::Present(stored) => Some(stored.node.node_ref()),
            NodeBehind::Departed(departure) => Some(departure.node.clone()),
        }
    }

    /// When consistent reads last showed all that makes `row` unwanted.
    pub(crate) fn confirmed_at(&self, row: &LedgerTarget) -> Option<Timestamp> {
        let service = self.input.facts.confirmed_at?;
        let Some(instance) = self.instance_in_question(row) else {
            return Some(service);
        };
        match self.node(instance) {
            Some(NodeBehind::Present(stored)) => Some(service.min(stored.confirmed_at?)),
            Some(NodeBehind::Departed(_)) | None => None,
        }
    }

    fn instance_in_question<'b>(&self, row: &'b LedgerTarget) -> Option<&'b str> {
        match &row.key().id {
            TargetId::Named(instance) if self.statement().is_some_and(|stated| stated.problem.is_none()) => {
                Some(instance)
            }
            TargetId::Named(_) | TargetId::Ip(_) => None,
        }
    }

    fn departed(&self, address: IpAddr, row: &LedgerTarget) -> Option<Evidence> {
        let about_row = self.input.facts.departures.iter().filter(|departure| {
            departure.address == address
                && match (uid(departure.pod.as_ref()), uid(row.pod.as_ref())) {
                    (Some(gone), Some(ours)) => gone == ours,
                    // Without both pods only time tells this endpoint from an earlier one of the same address.
                    _ => departure.at >= row.changed_at,
                }
        });
        about_row.map(|departure| departure.evidence).max()
    }
}

fn uid(pod: Option<&PodRef>) -> Option<Uuid> {
    pod.map(|pod| pod.uid)
}

/// What the bindings that hold `row` say together.
pub(crate) fn standing(row: &LedgerTarget, holders: &BTreeMap<BindingId, Holder<'_>>) -> Standing {
    let mut weakest: Option<Ground> = None;
    let mut kept = None;
    let mut relinquished = false;
    for id in &row.bindings {
        // A binding that nobody told us about has not let go.
        match holders.get(id).map_or(
            Word::Keeps {
                mass_unbinding: false,
            },
            |holder| holder.word(row),
        ) {
            Word::Wants => return Standing::Wanted,
            Word::Keeps { mass_unbinding } => kept = Some(kept.unwrap_or(false) || mass_unbinding),
            Word::Relinquishes => relinquished = true,
            Word::LetsGo(ground) => {
                weakest = Some(weakest.map_or(ground, |least| weaker(least, ground)));
            }
        }
    }
    match kept {
        Some(mass_unbinding) => Standing::Kept { mass_unbinding },
        None if relinquished && weakest.is_none() => Standing::Relinquished,
        None => Standing::Unwanted(weakest.unwrap_or(Ground::Unproven(Evidence::None))),
    }
}

/// An endpoint that is there and not ready is the weakest reason to remove it: it may be ready in a second.
fn weaker(a: Ground, b: Ground) -> Ground {
    if a == Ground::NotReady || b == Ground::NotReady {
        Ground::NotReady
    } else {
        a.min(b)
    }
}
