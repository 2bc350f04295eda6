//! Elastic Load Balancing v2, API version 2015-12-01.

mod attributes;
mod checks;
pub(crate) mod health;
mod listeners;
mod load_balancers;
pub(crate) mod model;
pub(crate) mod tags;
mod target_groups;
pub(crate) mod targets;

use crate::{
    action::{Action, Run},
    error::AwsError,
    paging::{self, BadMarker},
    query::Node,
    throttle::Category::{ElbDescribe, ElbMutating, ElbRegistration, ElbResourceIntensive},
    world::View,
};

pub(crate) use listeners::refresh_use;

/// Every action with the bucket that it draws from.
pub(crate) const ACTIONS: &[Action] = &[
    Action::new(
        "CreateTargetGroup",
        ElbMutating,
        Run::Write(target_groups::create),
    ),
    Action::new(
        "DescribeTargetGroups",
        ElbDescribe,
        Run::Read(target_groups::describe),
    ),
    Action::new(
        "ModifyTargetGroup",
        ElbMutating,
        Run::Write(target_groups::modify),
    ),
    Action::new(
        "DeleteTargetGroup",
        ElbMutating,
        Run::Write(target_groups::delete),
    ),
    Action::new(
        "DescribeTargetGroupAttributes",
        ElbDescribe,
        Run::Read(attributes::describe_target_group),
    ),
    Action::new(
        "ModifyTargetGroupAttributes",
        ElbMutating,
        Run::Write(attributes::modify_target_group),
    ),
    Action::new("RegisterTargets", ElbRegistration, Run::Write(targets::register)),
    Action::new(
        "DeregisterTargets",
        ElbRegistration,
        Run::Write(targets::deregister),
    ),
    Action::new(
        "DescribeTargetHealth",
        ElbDescribe,
        Run::Read(targets::describe_health),
    ),
    Action::new(
        "CreateLoadBalancer",
        ElbResourceIntensive,
        Run::Write(load_balancers::create),
    ),
    Action::new(
        "DescribeLoadBalancers",
        ElbDescribe,
        Run::Read(load_balancers::describe),
    ),
    Action::new(
        "DeleteLoadBalancer",
        ElbMutating,
        Run::Write(load_balancers::delete),
    ),
    Action::new(
        "SetSecurityGroups",
        ElbMutating,
        Run::Write(load_balancers::set_security_groups),
    ),
    Action::new(
        "DescribeLoadBalancerAttributes",
        ElbDescribe,
        Run::Read(attributes::describe_load_balancer),
    ),
    Action::new(
        "ModifyLoadBalancerAttributes",
        ElbMutating,
        Run::Write(attributes::modify_load_balancer),
    ),
    Action::new("CreateListener", ElbMutating, Run::Write(listeners::create)),
    Action::new("DescribeListeners", ElbDescribe, Run::Read(listeners::describe)),
    Action::new("ModifyListener", ElbMutating, Run::Write(listeners::modify)),
    Action::new("DeleteListener", ElbMutating, Run::Write(listeners::delete)),
    Action::new("AddTags", ElbMutating, Run::Write(tags::add)),
    Action::new("RemoveTags", ElbMutating, Run::Write(tags::remove)),
    Action::new("DescribeTags", ElbDescribe, Run::Read(tags::describe)),
];

/// One page by ELB's parameters `PageSize` (1 to 400) and `Marker`.
fn page<'a, T>(
    view: &View<'_>,
    params: &Node<'_>,
    list: &str,
    items: impl IntoIterator<Item = (&'a str, T)>,
) -> Result<(Vec<T>, Option<String>), AwsError> {
    let size = params
        .parsed::<usize>("PageSize")?
        .unwrap_or(view.settings.paging.elbv2);
    if !(1..=400).contains(&size) {
        return Err(AwsError::validation(format!(
            "Page size '{size}' must be between 1 and 400"
        )));
    }
    let lifetime = view.settings.paging.marker_lifetime;
    paging::page(list, items, size, params.text("Marker"), lifetime, view.now)
        .map_err(|BadMarker| AwsError::validation("The marker is invalid or has expired"))
}
