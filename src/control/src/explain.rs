//! Why a target is or is not registered: everything that is known of it, in one place.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use model::{
    BindingId, Name, Observed, PlanId, TargetGroupArn, TargetId, TargetKey,
    binding::Binding,
    condition::BindingStatus,
    fact::{Departure, Endpoint, ObjectName},
    group::{BoundService, GroupSnapshot},
    ledger::{LedgerState, LedgerTarget},
    pause::Pause,
    plan::{Hold, Plan, Step},
    target::ObservedTarget,
};
use planner::Input;
use serde_json::Value;
use store::JournaledPlan;

use crate::{Control, Error, Principal, bindings::BindingName, text};

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Address(IpAddr),
    Pod { cluster: Option<Name>, pod: ObjectName },
    Binding(BindingName),
}

/// The last plans that are searched for what was done to a target.
const PLANS: u32 = 50;

/// What is known of one target group, as far as it concerns the subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub target_group: TargetGroupArn,
    /// The name under which it is declared.
    pub name: Option<Name>,
    pub bindings: Vec<BindingExplanation>,
    pub targets: Vec<TargetExplanation>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BindingExplanation {
    pub cluster: Name,
    pub binding: Binding,
    /// As the next plan would tell it.
    pub status: Option<BindingStatus>,
    pub paused: Option<Pause>,
    /// When the cluster's agent was last heard of.
    pub seen_at: Option<Timestamp>,
}

/// One target: what the cluster says, what we did, what AWS says, and what comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetExplanation {
    pub key: TargetKey,
    /// One sentence.
    pub verdict: String,
    /// What clusters state of its address.
    pub endpoints: Vec<EndpointExplanation>,
    pub ledger: Option<LedgerTarget>,
    /// What AWS said last.
    pub health: Option<ObservedTarget>,
    pub observed_at: Option<Timestamp>,
    /// What the next plan would do with it: `register`, `deregister`, …
    pub next: Option<&'static str>,
    pub holds: Vec<Hold>,
    /// The last plan that wrote it, with what became of that.
    pub last: Option<LastWrite>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointExplanation {
    pub cluster: Name,
    pub service: ObjectName,
    /// In a slice; absent: it vanished.
    pub endpoint: Option<Endpoint>,
    /// How it vanished.
    pub departure: Option<Departure>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LastWrite {
    pub plan: PlanId,
    pub at: Timestamp,
    pub action: &'static str,
    /// `acknowledged`, `failed` or `ambiguous`; `None`: not known (yet).
    pub outcome: Option<String>,
    /// AWS's names of the requests, as CloudTrail has them.
    pub request_ids: Vec<String>,
}

impl Control {
    /// Explains what is stored. AWS is not asked.
    pub async fn explain(&self, principal: &Principal, subject: &Subject) -> Result<Vec<Explanation>, Error> {
        principal.read("explain")?;
        let mut wanted: BTreeMap<TargetGroupArn, BTreeSet<TargetKey>> = BTreeMap::new();
        let candidates = match subject {
            Subject::Address(address) => self.store.candidates_of_address(*address).await?,
            Subject::Pod { cluster, pod } => {
                text::object_name(pod)?;
                let cluster = match cluster {
                    Some(name) if !principal.sees_in(name, &pod.namespace) => return Ok(Vec::new()),
                    Some(name) => Some(self.cluster(name).await?.cluster.id),
                    None => None,
                };
                self.store.candidates_of_pod(cluster, pod).await?
            }
            Subject::Binding(name) => {
                principal.read_in("explain", &name.cluster, &name.object.namespace)?;
                let stored = self.named_binding(name).await?;
                if let Some(spec) = stored.binding.spec {
                    wanted.entry(spec.target_group).or_default();
                }
                Vec::new()
            }
        };
        for candidate in candidates {
            wanted
                .entry(candidate.target_group)
                .or_default()
                .extend(candidate.target);
        }
        let mut explanations = Vec::new();
        for (arn, keys) in wanted {
            // What others have in a group is not for everybody's eyes.
            if !self.sees_whole(principal, &arn).await? {
                continue;
            }
            let circumstances = self.circumstances().await?;
            let (snapshot, seen) = self.known(&arn).await?;
            let targets = seen.targets.clone();
            let plan = planner::plan(&Input::new(
                snapshot.clone(),
                seen,
                self.settings.guards.clone(),
                circumstances,
            ));
            let journal = self.store.plans(&arn, None, PLANS).await?;
            let group = Group {
                snapshot: &snapshot,
                targets: &targets,
                plan: &plan,
                journal: &journal,
            };
            explanations.push(group.explain(subject, keys));
        }
        Ok(explanations)
    }
}

/// All that is known of one target group.
struct Group<'a> {
    snapshot: &'a GroupSnapshot,
    targets: &'a Observed<Vec<ObservedTarget>>,
    plan: &'a Plan,
    journal: &'a [JournaledPlan],
}

impl Group<'_> {
    fn explain(&self, subject: &Subject, mut keys: BTreeSet<TargetKey>) -> Explanation {
        let bound: Vec<_> = match subject {
            Subject::Binding(name) => {
                let named = |bound: &&BoundService| {
                    bound.cluster.name == name.cluster && bound.binding.object == name.object
                };
                self.snapshot.bindings.iter().filter(named).collect()
            }
            Subject::Address(_) | Subject::Pod { .. } => self.snapshot.bindings.iter().collect(),
        };
        let ids: BTreeSet<BindingId> = bound.iter().map(|bound| bound.binding.id).collect();
        let addresses = self.addresses_of(subject);
        let concerns = |key: &TargetKey, bindings: &[BindingId]| match subject {
            Subject::Address(address) => key.id == TargetId::Ip(*address),
            Subject::Binding(_) => bindings.iter().any(|id| ids.contains(id)),
            Subject::Pod { .. } => addresses.contains(&key.id),
        };
        let ledger = self
            .snapshot
            .ledger
            .iter()
            .map(|row| (row.key(), row.bindings.as_slice()));
        let held = self.plan.holds.iter().flat_map(|hold| {
            let keys = hold.removals.iter().chain(&hold.additions);
            keys.map(|key| (key, hold.bindings.as_slice()))
        });
        let planned = self.plan.steps.iter().flat_map(additions);
        let concerned = ledger
            .chain(held)
            .chain(planned)
            .filter(|(key, bindings)| concerns(key, bindings));
        keys.extend(concerned.map(|(key, _)| key.clone()));
        Explanation {
            target_group: self.snapshot.arn.clone(),
            name: self
                .snapshot
                .declared
                .as_ref()
                .map(|declared| declared.name.clone()),
            bindings: bound.into_iter().map(|bound| self.binding(bound)).collect(),
            targets: keys.into_iter().map(|key| self.target(key)).collect(),
        }
    }

    /// The addresses that the pod has or had.
    fn addresses_of(&self, subject: &Subject) -> BTreeSet<TargetId> {
        let Subject::Pod { pod, .. } = subject else {
            return BTreeSet::new();
        };
        let services = self.snapshot.bindings.iter().map(|bound| &bound.facts);
        let of_pod = services.flat_map(|facts| {
            let slices = facts.slices.known().into_iter().flatten();
            let standing = slices.flat_map(|slice| &slice.endpoints).filter(|endpoint| {
                endpoint
                    .pod
                    .as_ref()
                    .is_some_and(|it| it.namespace == pod.namespace && it.name == pod.name)
            });
            let gone = facts.departures.iter().filter(|departure| {
                departure
                    .pod
                    .as_ref()
                    .is_some_and(|it| it.namespace == pod.namespace && it.name == pod.name)
            });
            let standing = standing.flat_map(|endpoint| endpoint.addresses.iter().copied());
            standing.chain(gone.map(|departure| departure.address))
        });
        of_pod.map(TargetId::Ip).collect()
    }

    fn binding(&self, bound: &BoundService) -> BindingExplanation {
        BindingExplanation {
            cluster: bound.cluster.name.clone(),
            binding: bound.binding.clone(),
            status: self.plan.statuses.get(&bound.binding.id).cloned(),
            paused: bound.paused.clone(),
            seen_at: bound.last_seen,
        }
    }

    fn target(&self, key: TargetKey) -> TargetExplanation {
        let observed = self.targets.present().into_iter().flatten();
        let health = observed
            .into_iter()
            .find(|observed| observed.target.key == key)
            .cloned();
        let ledger = self.snapshot.ledger.iter().find(|row| *row.key() == key).cloned();
        let next = self.plan.steps.iter().find(|step| names(step, &key)).map(action);
        let concerned = |hold: &&Hold| hold.removals.contains(&key) || hold.additions.contains(&key);
        let holds: Vec<_> = self.plan.holds.iter().filter(concerned).cloned().collect();
        let verdict = verdict(health.as_ref(), self.targets.at(), ledger.as_ref(), next, &holds);
        TargetExplanation {
            verdict,
            endpoints: self.endpoints(&key),
            ledger,
            health,
            observed_at: self.targets.at(),
            next,
            holds,
            last: self.last(&key),
            key,
        }
    }

    fn endpoints(&self, key: &TargetKey) -> Vec<EndpointExplanation> {
        let TargetId::Ip(address) = key.id else {
            return Vec::new();
        };
        let mut found: Vec<EndpointExplanation> = Vec::new();
        for bound in &self.snapshot.bindings {
            let Some(spec) = &bound.binding.spec else { continue };
            let service = ObjectName::new(bound.binding.object.namespace.clone(), spec.service.clone());
            if found
                .iter()
                .any(|it| it.cluster == bound.cluster.name && it.service == service)
            {
                continue;
            }
            let slices = bound.facts.slices.known().into_iter().flatten();
            let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
            let endpoint = endpoints
                .find(|endpoint| endpoint.addresses.contains(&address))
                .cloned();
            let mut departures = bound.facts.departures.iter();
            let departure = departures.find(|departure| departure.address == address).cloned();
            if endpoint.is_some() || departure.is_some() {
                let cluster = bound.cluster.name.clone();
                found.push(EndpointExplanation {
                    cluster,
                    service,
                    endpoint,
                    departure,
                });
            }
        }
        found
    }

    fn last(&self, key: &TargetKey) -> Option<LastWrite> {
        let (plan, step) = self.journal.iter().find_map(|journaled| {
            let mut writes = journaled.plan.steps.iter().filter(|step| step.writes_aws());
            Some((journaled, writes.find(|step| names(step, key))?))
        })?;
        let named = serde_json::to_value(key).unwrap_or_default();
        let entries = plan.outcome.as_ref().and_then(Value::as_array);
        let has = |list: &Value| list.as_array().is_some_and(|targets| targets.contains(&named));
        let mut outcome = None;
        let mut request_ids = Vec::new();
        for entry in entries.into_iter().flatten() {
            for word in ["acknowledged", "failed", "ambiguous"] {
                if has(&entry[word]) {
                    outcome = Some(word.to_owned());
                }
            }
            for request in entry["requests"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|it| has(&it["targets"]))
            {
                request_ids.extend(request["requestId"].as_str().map(str::to_owned));
            }
        }
        Some(LastWrite {
            plan: plan.id,
            at: plan.at,
            action: action(step),
            outcome,
            request_ids,
        })
    }
}

fn additions(step: &Step) -> Vec<(&TargetKey, &[BindingId])> {
    match step {
        Step::Claim { targets } | Step::Register { targets } | Step::Unbind { targets } => {
            let keys = targets
                .iter()
                .map(|addition| (&addition.target.key, addition.bindings.as_slice()));
            keys.collect()
        }
        // What is removed stands in the ledger.
        Step::Deregister { .. } | Step::Forget { .. } => Vec::new(),
    }
}

fn names(step: &Step, key: &TargetKey) -> bool {
    match step {
        Step::Claim { targets } | Step::Register { targets } | Step::Unbind { targets } => {
            targets.iter().any(|addition| addition.target.key == *key)
        }
        Step::Deregister { targets } => targets.iter().any(|gone| gone.target.key == *key),
        Step::Forget { targets } => targets.contains(key),
    }
}

fn action(step: &Step) -> &'static str {
    match step {
        Step::Claim { .. } => "claim",
        Step::Register { .. } => "register",
        Step::Deregister { .. } => "deregister",
        Step::Forget { .. } => "forget",
        Step::Unbind { .. } => "unbind",
    }
}

/// What is so, and what comes next, in one sentence.
fn verdict(
    health: Option<&ObservedTarget>,
    observed_at: Option<Timestamp>,
    ledger: Option<&LedgerTarget>,
    next: Option<&'static str>,
    holds: &[Hold],
) -> String {
    let registered = match (health.filter(|health| health.is_registered()), ledger) {
        (Some(_), Some(_)) => "registered by Elbow",
        (Some(_), None) => "registered by somebody else",
        // What AWS said before our own write says nothing of it.
        (None, Some(row))
            if row.state == LedgerState::Registered && observed_at.is_none_or(|at| at <= row.changed_at) =>
        {
            "registered by Elbow, and AWS was not asked since"
        }
        (None, Some(_)) => "Elbow's, and AWS does not list it as registered",
        (None, None) => "not registered",
    };
    let held = |hold: &Hold| {
        format!(
            "held back by {}, which is lifted by {}",
            hold.reason,
            hold.reason.release()
        )
    };
    match (next, holds) {
        (Some(action), _) => format!("{registered}; the next plan will {action} it"),
        (None, []) => format!("{registered}; nothing is to be done"),
        (None, holds) => {
            let reasons: Vec<_> = holds.iter().map(held).collect();
            format!("{registered}; {}", reasons.join("; "))
        }
    }
}
