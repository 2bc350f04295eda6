//! What users are told about each binding. Equal plans give equal words: no times, no counts of attempts.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BindingId, TargetKey,
    binding::{Lifecycle, Origin},
    cluster::Mode,
    condition::{BindingStatus, Problem, Readiness, Reason, Truth},
    group::BoundService,
    ledger::{LedgerState, LedgerTarget},
    ownership::{SERVE_LABEL, Serve, Standing},
    pause::Pause,
    plan::{HoldReason, Plan, Step},
    pod::{GATE_NAME_BYTES, condition_type},
    target::TargetType,
};

use crate::{
    absence::Holder,
    contest::Contest,
    input::Input,
    network::told,
    wanted::{Statement, Wish},
};

pub(crate) fn statuses(
    input: &Input,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    plan: &Plan,
    contest: Option<Contest>,
) -> BTreeMap<BindingId, BindingStatus> {
    let wanted_by_any: BTreeSet<_> = holders
        .values()
        .filter_map(Holder::statement)
        .flat_map(|statement| statement.wanted.keys())
        .collect();
    let unsettled = unsettled(plan);
    holders
        .iter()
        .map(|(id, holder)| {
            (
                *id,
                Account::new(input, holder, plan, &wanted_by_any, &unsettled).status(input, plan, contest),
            )
        })
        .collect()
}

/// Targets that this plan registers or claims: not there yet.
fn unsettled(plan: &Plan) -> BTreeSet<&TargetKey> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Claim { targets } | Step::Register { targets } => Some(targets),
            Step::Deregister { .. } | Step::Forget { .. } | Step::Unbind { .. } => None,
        })
        .flatten()
        .map(|addition| &addition.target.key)
        .collect()
}

/// One binding's share of the plan.
struct Account<'a> {
    holder: &'a Holder<'a>,
    desired: usize,
    registered: usize,
    /// Its targets that AWS has or may have.
    present: usize,
    /// Of these, unwanted ones that a hold keeps.
    held: usize,
    /// Of these, unwanted ones that are being removed or wait for a registration.
    leaving: usize,
    /// Wanted targets that a hold keeps out.
    kept_out: usize,
    holds: Vec<HoldReason>,
}

impl<'a> Account<'a> {
    fn new(
        input: &Input,
        holder: &'a Holder<'a>,
        plan: &Plan,
        wanted_by_any: &BTreeSet<&TargetKey>,
        unsettled: &BTreeSet<&TargetKey>,
    ) -> Self {
        let id = holder.id();
        let wants = |key: &TargetKey| {
            holder
                .statement()
                .is_some_and(|statement| statement.wanted.contains_key(key))
        };
        let present: Vec<&LedgerTarget> = input
            .ledger
            .iter()
            .filter(|row| row.bindings.contains(&id) && row.state != LedgerState::Deregistered)
            .collect();
        let registered = input
            .ledger
            .iter()
            .filter(|row| row.state == LedgerState::Registered && row.bindings.contains(&id))
            .filter(|row| wants(row.key()) && !unsettled.contains(row.key()))
            .count();
        let unwanted: BTreeSet<_> = present
            .iter()
            .map(|row| row.key())
            .filter(|key| !wanted_by_any.contains(key))
            .collect();
        let holds: Vec<_> = plan
            .holds
            .iter()
            .filter(|hold| hold.bindings.contains(&id))
            .collect();
        let held: BTreeSet<_> = holds
            .iter()
            .flat_map(|hold| &hold.removals)
            .filter(|key| unwanted.contains(key))
            .collect();
        Self {
            holder,
            desired: holder.statement().map_or(0, |statement| statement.wanted.len()),
            registered,
            present: present.len(),
            held: held.len(),
            leaving: unwanted.len() - held.len(),
            kept_out: holds
                .iter()
                .flat_map(|hold| &hold.additions)
                .filter(|key| wants(key))
                .count(),
            holds: holds.iter().map(|hold| hold.reason).collect(),
        }
    }

    fn status(&self, input: &Input, plan: &Plan, contest: Option<Contest>) -> BindingStatus {
        let mut ready = self.readiness(input, plan, contest);
        if let Some(pause) = &self.holder.input.paused {
            ready = paused(pause, &ready);
        }
        let spec = self.holder.input.binding.spec.as_ref();
        told::add(self.holder.input, &mut ready);
        if let Some(refusal) = self.refused_gate() {
            ready.message.push_str("; ");
            ready.message.push_str(&refusal);
        }
        for warning in self.warnings(input) {
            ready.message.push_str("; warning: ");
            ready.message.push_str(&warning);
        }
        for warning in spec.iter().flat_map(|spec| &spec.warnings) {
            ready.message.push_str("; warning: ");
            ready.message.push_str(warning);
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        BindingStatus {
            observed_generation: self.holder.input.binding.generation,
            ready,
            desired: count(self.desired),
            registered: count(self.registered),
            held: count(self.held),
            target_type: self.to_fill_in(input),
        }
    }

    /// Why no pod can wait for the binding, although it works.
    fn refused_gate(&self) -> Option<String> {
        let name = &self.holder.input.binding.object.name;
        (name.len() > GATE_NAME_BYTES).then(|| {
            format!(
                "readiness gate refused: the name has more than {GATE_NAME_BYTES} characters, so that Kubernetes lets no \
                 pod have the gate {}: for pods that are to wait for AWS, give the binding a shorter name",
                condition_type(name)
            )
        })
    }

    /// What a user should know although the binding works.
    fn warnings(&self, input: &Input) -> Vec<String> {
        let bound = self.holder.input;
        let mut warnings = Vec::new();
        let ip = input
            .facts
            .present()
            .is_some_and(|facts| facts.target_type == TargetType::Ip);
        let (delay, grace) = (input.deregistration_delay, bound.facts.pods.shortest_grace);
        if let (Some(delay), Some(grace), true) = (delay, grace, ip)
            && delay.as_secs() > u64::from(grace)
        {
            warnings.push(format!(
                "AWS lets requests go on for {} s after a target is deregistered, and a pod of the Service ends after {grace} s: \
                 raise the pods' terminationGracePeriodSeconds, or lower the target group's deregistration delay",
                delay.as_secs()
            ));
        }
        warnings
    }

    /// The target type, for an object that leaves it out and is acted on.
    fn to_fill_in(&self, input: &Input) -> Option<TargetType> {
        let binding = &self.holder.input.binding;
        let wanted = binding.lifecycle == Lifecycle::Active
            && binding.origin == Origin::Object
            && binding.standing.acts()
            && self.holder.only_planned().is_none()
            && binding.problem.is_none();
        let spec = binding.spec.as_ref().filter(|_| wanted)?;
        let facts = input.facts.present()?;
        let served = matches!(facts.target_type, TargetType::Ip | TargetType::Instance);
        (spec.target_type.is_none() && served).then_some(facts.target_type)
    }

    fn readiness(&self, input: &Input, plan: &Plan, contest: Option<Contest>) -> Readiness {
        if let Some(readiness) = self.managed_by_lbc() {
            return readiness;
        }
        match &self.holder.wish {
            Wish::Unknown(problem) => self.in_doubt(problem),
            Wish::NotServed => self.not_served(),
            Wish::DeletionHeld => {
                let release = HoldReason::MassUnbinding.release();
                let message = format!(
                    "deleted together with many other bindings of the cluster: {} kept; MassUnbinding is lifted by {release}",
                    targets(self.present)
                );
                say(Truth::False, Reason::Held, message)
            }
            Wish::Relinquished => {
                let why = match self.holder.input.binding.lifecycle {
                    Lifecycle::Relinquished { .. } => "the cluster left",
                    _ => "deleted while Elbow did not serve it",
                };
                let message = format!("{why}: its targets stay in AWS and are nobody's");
                say(Truth::True, Reason::Reconciled, message)
            }
            Wish::Released if self.present == 0 => say(
                Truth::True,
                Reason::Reconciled,
                "deleted; none of its targets is registered any more",
            ),
            Wish::Released => self.unfinished(input, plan, contest).unwrap_or_else(|| {
                let message = format!("deleted; {} left to others", targets(self.present));
                say(Truth::True, Reason::Reconciled, message)
            }),
            Wish::Stated(statement) => {
                if let Some(problem) = &statement.problem {
                    return self.in_doubt(problem);
                }
                self.unfinished(input, plan, contest)
                    .unwrap_or_else(|| self.done())
            }
        }
    }

    /// Nobody asked Elbow to act: why, how that is changed, and what stays.
    fn not_served(&self) -> Readiness {
        let BoundService { binding, cluster, .. } = self.holder.input;
        let why = match (binding.standing, cluster.spec.serve) {
            (Standing::Unstated, _) => {
                "the cluster's agent does not say who acts on the object: upgrade the agent".to_owned()
            }
            (_, Serve::None) => {
                format!(
                    "cluster `{}` is registered to serve none of its objects: set spec.serve of the cluster to `labelled` or `all`",
                    cluster.name
                )
            }
            (_, Serve::Labelled) => {
                format!(
                    "only labelled objects of the cluster are served: set the label {SERVE_LABEL}: \"true\""
                )
            }
            (_, Serve::All) => {
                format!("its label {SERVE_LABEL} is not \"true\": remove the label, or set it so")
            }
        };
        let kept = match self.present {
            0 => String::new(),
            present => format!(
                "; {} registered for it stay in AWS: to remove them, have it served and delete it then, or deregister them \
                 in AWS",
                targets(present)
            ),
        };
        say(
            Truth::False,
            Reason::NotServed,
            format!("not served: {why}{kept}"),
        )
    }

    /// LBC acts: how that ends, and what is planned for then.
    fn managed_by_lbc(&self) -> Option<Readiness> {
        let binding = &self.holder.input.binding;
        if binding.lifecycle != Lifecycle::Active {
            return None;
        }
        let how = match binding.standing {
            Standing::ManagedByLBC => {
                "the AWS Load Balancer Controller acts on the object (its finalizer, checkpoint or stack label is there); \
                 once it is gone, `elbow adopt` takes the object over"
            }
            Standing::Adopting => {
                "taken over: waiting for the cluster's agent to remove the AWS Load Balancer Controller's finalizer and \
                 checkpoint"
            }
            Standing::Served | Standing::NotServed | Standing::Unstated | Standing::Contested => return None,
        };
        let planned = match &self.holder.wish {
            Wish::Unknown(problem)
            | Wish::Stated(Statement {
                problem: Some(problem),
                ..
            }) => problem.to_string(),
            _ => format!("{} would be made ours", targets(self.desired - self.registered)),
        };
        let message = format!("{how}; until then nothing is written: {planned}");
        Some(say(Truth::False, Reason::ManagedByLBC, message))
    }

    fn in_doubt(&self, problem: &Problem) -> Readiness {
        let status = match problem.reason {
            Reason::AwaitingCluster | Reason::AwaitingAws => Truth::Unknown,
            _ => Truth::False,
        };
        let kept = match self.present {
            0 => String::new(),
            present => format!("; {} still registered for it", targets(present)),
        };
        say(status, problem.reason, format!("{problem}{kept}"))
    }

    /// What is still to be done, if anything is.
    fn unfinished(&self, input: &Input, plan: &Plan, contest: Option<Contest>) -> Option<Readiness> {
        let missing = self.desired - self.registered;
        if self.holder.input.cluster.spec.mode == Mode::Observe {
            let message = format!(
                "the cluster's mode is `observe`: {} would be registered and {} removed; nothing is written",
                targets(missing),
                self.held
            );
            return Some(say(Truth::False, Reason::ObserveOnly, message));
        }
        if let Some(failure) = input.failure.as_ref().filter(|_| missing + self.leaving > 0) {
            return Some(say(Truth::False, failure.reason, failure.message.clone()));
        }
        let deleted = matches!(self.holder.wish, Wish::Released);
        let progress = || {
            if deleted {
                "deleted".to_owned()
            } else {
                self.progress()
            }
        };
        if let Some(contest) = contest {
            let kept = match self.held {
                0 => String::new(),
                held => format!(", {} kept", targets(held)),
            };
            let message = format!("{}{kept}; {}", progress(), contest.explanation());
            let status = if missing > 0 || deleted {
                Truth::False
            } else {
                Truth::True
            };
            return Some(say(status, Reason::Contested, message));
        }
        if self.kept_out > 0 && self.kept_out == missing && plan.observe.is_some() {
            return Some(say(
                Truth::Unknown,
                Reason::AwaitingAws,
                format!("{}; waiting for AWS to list the targets", progress()),
            ));
        }
        let reasons = || {
            let reasons = self.holds.iter();
            reasons
                .map(|reason| format!("{reason} is lifted by {}", reason.release()))
                .collect::<Vec<_>>()
                .join("; ")
        };
        if self.kept_out > 0 && self.kept_out == missing && self.leaving == 0 {
            let message = format!("{}; {} left out: {}", progress(), targets(missing), reasons());
            return Some(say(Truth::False, Reason::Held, message));
        }
        if missing > 0 || self.leaving > 0 {
            let leaving = if self.leaving > 0 {
                format!(", {} to remove", self.leaving)
            } else {
                String::new()
            };
            let status = if missing > 0 || deleted {
                Truth::False
            } else {
                Truth::True
            };
            return Some(say(
                status,
                Reason::Progressing,
                format!("{}{leaving}", progress()),
            ));
        }
        (self.held > 0).then(|| {
            let message = format!("{}; {} kept: {}", progress(), targets(self.held), reasons());
            let status = if deleted { Truth::False } else { Truth::True };
            say(status, Reason::Held, message)
        })
    }

    fn done(&self) -> Readiness {
        say(Truth::True, Reason::Reconciled, self.progress())
    }

    fn progress(&self) -> String {
        format!("{} of {} registered", self.registered, targets(self.desired))
    }
}

/// Who paused it and why, before what would be told without.
fn paused(pause: &Pause, otherwise: &Readiness) -> Readiness {
    let Pause { by, reason, since: _ } = pause;
    let message = format!(
        "paused by {by}: {reason}; nothing is written until `elbow resume`; {}",
        otherwise.message
    );
    say(otherwise.status, Reason::Paused, message)
}

fn say(status: Truth, reason: Reason, message: impl Into<String>) -> Readiness {
    Readiness {
        status,
        reason,
        message: message.into(),
    }
}

fn targets(count: usize) -> String {
    if count == 1 {
        "1 target".to_owned()
    } else {
        format!("{count} targets")
    }
}
