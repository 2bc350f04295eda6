//! What is to be registered: wanted targets that AWS does not have, or that are not yet ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, Observed, Target, TargetId, TargetKey,
    condition::Reason,
    fact::PodRef,
    ledger::{LedgerState, LedgerTarget},
    plan::{Addition, HoldReason, Why},
    sabotage,
    target::Zone,
};

use crate::{
    absence::{Holder, Word},
    holds::Holds,
    input::Input,
    observe::{Settled, Sight},
};

/// How long it is believed that AWS wants to be told zones.
const ZONES_REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// Who wants a target.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    pub bindings: BTreeSet<BindingId>,
    /// What each of them takes for the pod behind it.
    pub pods: Vec<Option<PodRef>>,
}

impl Demand {
    /// The pod to write down: the one that stands there, unless no binding knows of it any more.
    pub(crate) fn pod(&self, row: Option<&LedgerTarget>) -> Option<PodRef> {
        match row {
            Some(row) if self.pods.contains(&row.pod) => row.pod.clone(),
            _ => self.pods.first().cloned().flatten(),
        }
    }
}

/// All wanted targets of the bindings that may write. What the others want is shown as a hold.
pub(crate) fn demands(
    input: &Input,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    holds: &mut Holds,
) -> BTreeMap<TargetKey, Demand> {
    let mut demands: BTreeMap<TargetKey, Demand> = BTreeMap::new();
    for holder in holders.values() {
        let opening = holder.input.opening_until(input.now, &input.guards);
        for (key, pod) in holder
            .statement()
            .into_iter()
            .flat_map(|statement| &statement.wanted)
        {
            if let Some(restraint) = holder.only_planned() {
                let registered =
                    |row: &LedgerTarget| row.key() == key && row.state == LedgerState::Registered;
                if !input.ledger.iter().any(registered) {
                    holds.addition(restraint, key, &[holder.id()]);
                }
                continue;
            }
            // What is there already is nothing new: a cordoned cluster keeps it, and keeps others from removing it.
            let there = |row: &LedgerTarget| row.key() == key && row.may_be_registered();
            if holder.input.cluster.cordoned && !input.ledger.iter().any(there) {
                holds.addition(HoldReason::ClusterCordoned, key, &[holder.id()]);
                continue;
            }
            // A target before which the ports are still closed would only be found unhealthy.
            if opening.is_some() && !input.ledger.iter().any(|row| row.key() == key) {
                holds.addition_until(HoldReason::OpeningPending, key, &[holder.id()], opening);
                continue;
            }
            let demand = demands.entry(key.clone()).or_default();
            demand.bindings.insert(holder.id());
            demand.pods.push(pod.clone());
        }
    }
    demands
}

#[derive(Debug, Default)]
pub(crate) struct Additions {
    pub claim: Vec<Addition>,
    pub register: Vec<Addition>,
}

impl Additions {
    /// The bindings whose unproven removals wait for this plan's registrations.
    pub(crate) fn holding_back(&self, input: &Input) -> BTreeSet<BindingId> {
        if is_refused(input) {
            return BTreeSet::new();
        }
        self.register
            .iter()
            .flat_map(|addition| &addition.bindings)
            .copied()
            .collect()
    }
}

/// Whether AWS refused the last registration for what it asked. Only removals may make room for it, or it will be
/// refused for ever: they must not wait for each other.
pub(crate) fn is_refused(input: &Input) -> bool {
    is_full(input) || last_failure(input) == Some(Reason::InvalidTarget)
}

/// Whether it was for want of room.
pub(crate) fn is_full(input: &Input) -> bool {
    last_failure(input) == Some(Reason::QuotaExceeded) && !sabotage::is_on("S17")
}

fn last_failure(input: &Input) -> Option<Reason> {
    input.failure.as_ref().map(|failure| failure.reason)
}

pub(crate) fn additions(
    input: &Input,
    sight: &Sight<'_>,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    demands: &BTreeMap<TargetKey, Demand>,
    holds: &mut Holds,
) -> Additions {
    let ledger: BTreeMap<_, _> = input.ledger.iter().map(|row| (row.key(), row)).collect();
    // A group with a row of ours was observed before that row was written.
    let observed_once = matches!(input.targets, Observed::Present { .. }) || !input.ledger.is_empty();
    let mut additions = Additions::default();
    for (key, demand) in demands {
        let row = ledger.get(key).copied();
        let bindings: Vec<_> = holding(row, demand, holders).into_iter().collect();
        let why = match row {
            None if !observed_once => {
                holds.addition(HoldReason::NotObserved, key, &bindings);
                continue;
            }
            None if sight.is_registered(key) => Why::AlreadyPresent,
            None => Why::Wanted,
            Some(row) => match row.state {
                LedgerState::Registered if is_missing(row, sight, input) => Why::Drifted,
                LedgerState::Registered => continue,
                LedgerState::Registering => Why::Unresolved,
                LedgerState::Deregistering | LedgerState::Deregistered => Why::Wanted,
            },
        };
        let target = Target {
            key: key.clone(),
            zone: zone(key, input),
        };
        let addition = Addition {
            target,
            bindings,
            pod: demand.pod(row),
            why,
        };
        match why {
            Why::AlreadyPresent => additions.claim.push(addition),
            _ => additions.register.push(addition),
        }
    }
    additions
}

/// Whether AWS was seen without a target that we registered.
pub(crate) fn is_missing(row: &LedgerTarget, sight: &Sight<'_>, input: &Input) -> bool {
    let settled = Settled::of(row, &input.guards);
    sight.registered_since(row.key(), settled.contradiction) == Some(false)
}

/// The bindings that a target is held for: those that want it and those that have not surely let it go.
pub(crate) fn holding(
    row: Option<&LedgerTarget>,
    demand: &Demand,
    holders: &BTreeMap<BindingId, Holder<'_>>,
) -> BTreeSet<BindingId> {
    let mut bindings = demand.bindings.clone();
    if let Some(row) = row {
        let surely_gone = |id: &&BindingId| match holders.get(id).map(|holder| holder.word(row)) {
            Some(Word::LetsGo(ground)) => ground.is_positive(),
            Some(Word::Relinquishes) => true,
            Some(Word::Wants | Word::Keeps { .. }) | None => false,
        };
        bindings.extend(row.bindings.iter().filter(|id| !surely_gone(id)));
    }
    bindings
}

/// What RegisterTargets wants to be told of an address outside the group's VPC: `all`
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetDescription.html>). Of one in a block of
/// the VPC that no subnet has, AWS wants its zone and refuses `all`; of all others it wants nothing and refuses `all`, too.
/// So zones are told once AWS has asked for them.
fn zone(key: &TargetKey, input: &Input) -> Option<Zone> {
    let TargetId::Ip(address) = key.id else {
        return None;
    };
    let wanted = |at: Timestamp| input.now.duration_since(at) < ZONES_REMEMBERED;
    let wanted = input.zones_wanted.is_some_and(wanted);
    let cidrs = input.facts.present()?.vpc_cidrs.as_ref();
    match cidrs.map(|cidrs| cidrs.iter().any(|cidr| cidr.contains(&address))) {
        Some(false) => Some(Zone::All),
        Some(true) if wanted => zone_of_node(address, input).map(Zone::Named),
        None if wanted => Some(Zone::All),
        Some(true) | None => None,
    }
}

/// The zone of the node that an address is on, as its endpoint tells it.
fn zone_of_node(address: IpAddr, input: &Input) -> Option<String> {
    let slices = input
        .bindings
        .iter()
        .filter_map(|bound| bound.facts.slices.known());
    let mut endpoints = slices.flatten().flat_map(|slice| &slice.endpoints);
    let endpoint = endpoints.find(|endpoint| endpoint.addresses.contains(&address))?;
    endpoint.zone.clone()
}
