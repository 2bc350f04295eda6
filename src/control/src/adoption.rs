//! Taking a binding over from the AWS Load Balancer Controller ("LBC"), or from whoever else writes to its targets.
//!
//! Both must not act on one object, so LBC has to be gone first. How that is known: LBC's replicas choose their leader by
//! a Lease that they renew every few seconds, and the cluster's agent says whether one is being renewed. Where it cannot
//! say, or where LBC runs and has nothing to do with this object, an operator's explicit word decides. A word that was
//! wrong is found out: LBC puts its finalizer back, and the binding is contested.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::{
    binding::{Lifecycle, Origin},
    ownership::{Pulse, Serve, Standing},
};
use store::{ClusterState, StoredBinding};

use crate::{Control, Error, Principal, Write, bindings::BindingName, text, view::AdoptionView};

/// An agent that was not heard of for longer than this says nothing about LBC.
const FRESH: Duration = Duration::from_mins(1);

impl Control {
    /// Takes a binding over. `lbc_is_gone`: the operator's word where the agent cannot say so.
    pub async fn adopt_binding(
        &self,
        principal: &Principal,
        name: &BindingName,
        lbc_is_gone: bool,
        write: Write,
    ) -> Result<AdoptionView, Error> {
        let actor = principal.write("adopt bindings")?;
        text::object_name(&name.object)?;
        let cluster = self.cluster(&name.cluster).await?;
        let found = self.find_binding(cluster.cluster.id, &name.object, None).await?;
        let stored = found.filter(|stored| stored.binding.lifecycle == Lifecycle::Active);
        let stored = stored.ok_or_else(|| Error::not_found("binding", &name.object))?;
        write.expected.check(Some(stored.binding.version))?;
        admit(&stored, &cluster)?;
        if !lbc_is_gone && stored.binding.origin == Origin::Object {
            require_absence(&cluster)?;
        }
        let plan = self.plan_of_adoption(&stored).await?;
        let webhooks = cluster.surroundings.webhooks.clone().unwrap_or_default();
        let id = stored.binding.id;
        let stored = if write.dry_run {
            stored
        } else {
            self.store.adopt(actor, id, stored.binding.version).await?;
            let adopted = self.store.binding(id).await?;
            adopted.ok_or_else(|| Error::not_found("binding", &name.object))?
        };
        Ok(AdoptionView {
            binding: stored.into(),
            plan,
            webhooks,
        })
    }

    /// What would be planned if the binding were served already.
    async fn plan_of_adoption(&self, stored: &StoredBinding) -> Result<model::plan::Plan, Error> {
        let spec = stored.binding.spec.as_ref().ok_or_else(|| unreadable(stored))?;
        let mut input = self.input(&spec.target_group).await?;
        input.drifts.clear();
        for bound in &mut input.bindings {
            if bound.binding.id == stored.binding.id {
                bound.binding.standing = Standing::Served;
            }
        }
        Ok(planner::plan(&input))
    }
}

/// Whether the object can be taken over at all.
fn admit(stored: &StoredBinding, cluster: &ClusterState) -> Result<(), Error> {
    let binding = &stored.binding;
    if binding.problem.is_some() || binding.spec.is_none() {
        return Err(unreadable(stored));
    }
    if binding.origin == Origin::Object && cluster.cluster.spec.serve == Serve::None {
        return Err(Error::Conflict(format!(
            "cluster `{}` is registered to serve none of its objects: set its spec.serve to `labelled` or `all` first",
            cluster.cluster.name
        )));
    }
    match binding.standing {
        Standing::NotServed => Err(Error::Conflict(format!(
            "binding `{}` is nobody's: set the label {}: \"true\" on the object, and it is served",
            binding.object,
            model::ownership::SERVE_LABEL,
        ))),
        Standing::Unstated => Err(Error::Conflict(
            "the cluster's agent does not say who acts on the object: upgrade the agent first".to_owned(),
        )),
        Standing::Served | Standing::ManagedByLBC | Standing::Adopting | Standing::Contested => Ok(()),
    }
}

fn unreadable(stored: &StoredBinding) -> Error {
    let problem = stored.binding.problem.as_ref().map(ToString::to_string);
    Error::Conflict(format!(
        "binding `{}` has to be mended before it can be taken over: {}",
        stored.binding.object,
        problem.unwrap_or_else(|| "it names no target group".to_owned())
    ))
}

/// Whether LBC is known to be gone.
fn require_absence(cluster: &ClusterState) -> Result<(), Error> {
    let word = "once it is sure that the AWS Load Balancer Controller does not act on this object, say so with lbcIsGone=true";
    let fresh = SignedDuration::try_from(FRESH).unwrap_or(SignedDuration::MAX);
    let heard_of = |seen: Timestamp| cluster.now.duration_since(seen) <= fresh;
    let name = &cluster.cluster.name;
    if !cluster.seen_at.is_some_and(heard_of) {
        return Err(Error::Conflict(format!(
            "the agent of cluster `{name}` is silent, so it is not known whether the AWS Load Balancer Controller still runs \
             there: {word}"
        )));
    }
    match &cluster.surroundings.lbc {
        Some(Pulse::None) => Ok(()),
        Some(Pulse::Beats { lease, holder }) => Err(Error::Conflict(format!(
            "the AWS Load Balancer Controller still runs in cluster `{name}`: `{holder}` renews the Lease {lease}. Scale it to \
             zero or uninstall it; {word}"
        ))),
        None => Err(Error::Conflict(format!(
            "the agent of cluster `{name}` cannot see whether the AWS Load Balancer Controller still runs there: {word}"
        ))),
    }
}
