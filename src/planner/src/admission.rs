//! Who may put targets into the group. A binding that may not adds nothing and keeps what it has.
//!
//! What is told to whoever wrote a binding names nothing that belongs to somebody else.

use model::{
    binding::Lifecycle,
    condition::{Problem, Reason},
    group::BoundService,
    target_group::{TargetGroup, TargetGroupFacts},
};

use crate::Input;

const FIELD: &str = "spec.targetGroupARN";

/// Whether the binding may use the group, as far as AWS needs not be asked.
pub(crate) fn admitted(group: &Input, bound: &BoundService) -> Result<(), Problem> {
    in_reach(group, bound)?;
    match &group.declared {
        Some(declared) => granted(declared, bound)?,
        None => first_come(group, bound)?,
    }
    alone_or_shared(group, bound)
}

/// The cluster's own region, and its account or one whose role it may name.
fn in_reach(group: &Input, bound: &BoundService) -> Result<(), Problem> {
    let cluster = &bound.cluster;
    let (theirs, own) = (group.arn.shard(), cluster.spec.shard());
    let role = bound.binding.spec.as_ref().and_then(|spec| spec.role.as_ref());
    if let Some(role) = role
        && !cluster.spec.roles.contains(role)
    {
        let message = format!(
            "cluster `{}` may not use this role and external id: have an admin add them to the cluster's spec.roles, or \
             correct them",
            cluster.name
        );
        return Err(Problem::at(
            Reason::RoleNotAllowed,
            "spec.iamRoleArnToAssume",
            message,
        ));
    }
    let by_role = role.is_some_and(|role| *role.arn.account() == theirs.account)
        && group.declared.is_some()
        && theirs.region == own.region
        && theirs.partition == own.partition;
    if *theirs == own || by_role {
        return Ok(());
    }
    let message = format!(
        "the target group is in {theirs} and cluster `{}` is in {own}: bind a target group of the cluster's own account \
         and region, or a declared one of the region with spec.iamRoleArnToAssume",
        cluster.name,
    );
    Err(Problem::at(Reason::WrongShard, FIELD, message))
}

fn granted(declared: &TargetGroup, bound: &BoundService) -> Result<(), Problem> {
    let (cluster, namespace) = (&bound.cluster.name, &bound.binding.object.namespace);
    if declared.spec.admits(cluster, namespace) {
        return Ok(());
    }
    let message = format!(
        "the target group does not admit namespace `{namespace}` of cluster `{cluster}`: have its owner add the cluster \
         to spec.clusters, or the namespace to spec.grants, of the declared target group"
    );
    Err(Problem::at(Reason::ClusterNotAdmitted, FIELD, message))
}

/// A group that nobody declared belongs to the first namespace that bound it.
fn first_come(group: &Input, bound: &BoundService) -> Result<(), Problem> {
    let cluster = &bound.cluster;
    if !cluster.spec.bind_undeclared {
        let message = format!(
            "no declared target group has the ARN {}: declare it with PUT /v1/target-groups/NAME, or register cluster \
             `{}` with `bindUndeclared`",
            group.arn, cluster.name
        );
        return Err(Problem::at(Reason::TargetGroupNotDeclared, FIELD, message));
    }
    let owner = group
        .bindings
        .iter()
        .filter(|other| is_bound(other) && other.cluster.spec.bind_undeclared)
        .filter(|other| other.cluster.spec.shard() == *group.arn.shard())
        .min_by_key(|other| other.seniority());
    let place = |bound: &BoundService| (bound.cluster.id, bound.binding.object.namespace.clone());
    if owner.is_none_or(|owner| place(owner) == place(bound)) {
        return Ok(());
    }
    let message = "the target group is in use from another namespace or cluster: have it declared with \
                   PUT /v1/target-groups/NAME, with leave for this namespace";
    Err(Problem::at(Reason::NotGranted, FIELD, message))
}

/// A group that nobody declared is bound in the cluster's own VPC alone, whatever the binding says.
pub(crate) fn in_own_vpc(
    group: &Input,
    bound: &BoundService,
    facts: &TargetGroupFacts,
) -> Result<(), Problem> {
    let own = bound.cluster.spec.vpc_id.as_str();
    if group.declared.is_some() || facts.vpc.as_deref() == Some(own) {
        return Ok(());
    }
    let message = format!(
        "the target group is not in {own}, the VPC of cluster `{}`: have it declared with PUT /v1/target-groups/NAME",
        bound.cluster.name
    );
    Err(Problem::at(Reason::TargetGroupNotDeclared, FIELD, message))
}

/// Two bindings of one cluster share a group if it is declared for several clusters, or if both say so: else somebody has
/// copied an object and does not know. The earlier stays.
fn alone_or_shared(group: &Input, bound: &BoundService) -> Result<(), Problem> {
    if group
        .declared
        .as_ref()
        .is_some_and(|declared| declared.spec.is_shared())
    {
        return Ok(());
    }
    let says_so = |bound: &BoundService| bound.binding.spec.as_ref().is_some_and(|spec| spec.shared);
    let clash = group
        .bindings
        .iter()
        .filter(|other| other.cluster.id == bound.cluster.id && is_bound(other))
        .filter(|other| other.seniority() < bound.seniority())
        .any(|earlier| !(says_so(earlier) && says_so(bound)));
    if !clash {
        return Ok(());
    }
    let message = "another binding of the cluster has the target group already: set `multiClusterTargetGroup: true` on \
                   both to share it, or use another target group";
    Err(Problem::at(Reason::TargetGroupNotShared, FIELD, message))
}

/// Whether the binding is there, or may return, and is ours to act on.
fn is_bound(bound: &BoundService) -> bool {
    let present = matches!(
        bound.binding.lifecycle,
        Lifecycle::Active | Lifecycle::DeletionHeld { .. }
    );
    present && bound.binding.standing.is_planned()
}
