//! EC2, API version 2016-11-15: the network and the machines behind targets.

mod filters;
mod instances;
mod interfaces;
pub(crate) mod model;
pub(crate) mod rules;
mod security_groups;
mod subnets;
pub(crate) mod tags;
mod vpcs;
mod zones;

use crate::{
    action::{Action, Run},
    error::AwsError,
    paging::{self, BadMarker},
    query::Node,
    throttle::Category::{Ec2Describe, Ec2Mutating},
    world::View,
};

pub(crate) use instances::{default_interface, set_state};

/// Every action with the bucket that it draws from.
pub(crate) const ACTIONS: &[Action] = &[
    Action::new("CreateVpc", Ec2Mutating, Run::Write(vpcs::create)),
    Action::new("DescribeVpcs", Ec2Describe, Run::Read(vpcs::describe)),
    Action::new("CreateSubnet", Ec2Mutating, Run::Write(subnets::create)),
    Action::new("DescribeSubnets", Ec2Describe, Run::Read(subnets::describe)),
    Action::new(
        "DescribeAvailabilityZones",
        Ec2Describe,
        Run::Read(zones::describe),
    ),
    Action::new(
        "CreateSecurityGroup",
        Ec2Mutating,
        Run::Write(security_groups::create),
    ),
    Action::new(
        "DeleteSecurityGroup",
        Ec2Mutating,
        Run::Write(security_groups::delete),
    ),
    Action::new(
        "DescribeSecurityGroups",
        Ec2Describe,
        Run::Read(security_groups::describe),
    ),
    Action::new(
        "AuthorizeSecurityGroupIngress",
        Ec2Mutating,
        Run::Write(rules::authorize_ingress),
    ),
    Action::new(
        "RevokeSecurityGroupIngress",
        Ec2Mutating,
        Run::Write(rules::revoke_ingress),
    ),
    Action::new(
        "DescribeSecurityGroupRules",
        Ec2Describe,
        Run::Read(rules::describe),
    ),
    Action::new("RunInstances", Ec2Mutating, Run::Write(instances::run)),
    Action::new(
        "TerminateInstances",
        Ec2Mutating,
        Run::Write(instances::terminate),
    ),
    Action::new("DescribeInstances", Ec2Describe, Run::Read(instances::describe)),
    Action::new(
        "DescribeNetworkInterfaces",
        Ec2Describe,
        Run::Read(interfaces::describe),
    ),
    Action::new("CreateTags", Ec2Mutating, Run::Write(tags::create)),
    Action::new("DeleteTags", Ec2Mutating, Run::Write(tags::delete)),
];

/// One page by EC2's parameters `MaxResults` (5 to 1000) and `NextToken`.
fn page<'a, T>(
    view: &View<'_>,
    params: &Node<'_>,
    list: &str,
    items: impl IntoIterator<Item = (&'a str, T)>,
) -> Result<(Vec<T>, Option<String>), AwsError> {
    let asked = params.parsed::<usize>("MaxResults")?;
    if let Some(size) = asked.filter(|size| !(5..=1000).contains(size)) {
        let message = format!(
            "Value ( {size} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."
        );
        return Err(AwsError::new("InvalidParameterValue", message));
    }
    let size = asked.unwrap_or(view.settings.paging.ec2);
    let lifetime = view.settings.paging.marker_lifetime;
    paging::page(list, items, size, params.text("NextToken"), lifetime, view.now).map_err(|BadMarker| {
        AwsError::new(
            "InvalidPaginationToken",
            "The specified pagination token is not valid or is expired.",
        )
    })
}
