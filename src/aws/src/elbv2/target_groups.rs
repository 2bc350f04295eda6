//! DescribeTargetGroups.

use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{TargetGroup, TargetGroupIpAddressTypeEnum},
};
use ipnet::IpNet;
use model::{
    Observed, TargetGroupArn,
    target_group::{IpAddressType, TargetGroupFacts},
};

use crate::{Error, ErrorClass, budget::Category, call::Caller, ec2::vpcs::Vpcs, metrics::Action};

const ACTION: Action = Action::DescribeTargetGroups;

/// The cheapest call that needs a permission which we need anyway.
pub(crate) async fn warm(caller: &Caller, client: &Client) -> Result<(), Error> {
    let request = client.describe_target_groups().page_size(1);
    caller
        .read(ACTION, Category::Describe, "", || request.clone().send())
        .await?;
    Ok(())
}

pub(crate) async fn describe(
    caller: &Caller,
    client: &Client,
    vpcs: &Vpcs,
    arn: &TargetGroupArn,
) -> Result<Observed<TargetGroupFacts>, Error> {
    let turn = arn.to_string();
    // Before the question as far as an absence goes, too.
    let at = (caller.clock)();
    let request = client.describe_target_groups().target_group_arns(&turn);
    let answer = caller
        .read(ACTION, Category::Describe, &turn, || request.clone().send())
        .await;
    let (at, answer) = match answer {
        Ok(answer) => answer,
        Err(failure) if failure.class == ErrorClass::Vanished => return Ok(Observed::Absent { at }),
        Err(failure) => return Err(failure.into()),
    };
    // AWS documents TargetGroupNotFound for a group that does not exist; an empty list says nothing.
    let group = answer
        .target_groups()
        .iter()
        .find(|group| group.target_group_arn() == Some(&turn))
        .ok_or_else(|| Error::answer(ACTION, format!("it does not list {turn}")))?;
    let vpc_cidrs = match group.vpc_id() {
        Some(vpc) => vpcs.cidrs(caller, vpc).await?,
        None => None,
    };
    Ok(Observed::Present {
        at,
        value: facts(group, vpc_cidrs)?,
    })
}

pub(super) fn facts(group: &TargetGroup, vpc_cidrs: Option<Vec<IpNet>>) -> Result<TargetGroupFacts, Error> {
    // AWS leaves out the type of groups that are older than types.
    let target_type = group
        .target_type()
        .map_or("instance", |target_type| target_type.as_str());
    let ip_address_type = match group.ip_address_type().map(TargetGroupIpAddressTypeEnum::as_str) {
        None | Some("ipv4") => IpAddressType::Ipv4,
        Some("ipv6") => IpAddressType::Ipv6,
        Some(other) => {
            return Err(Error::answer(
                ACTION,
                format!("the IP address type `{other}` is unknown"),
            ));
        }
    };
    let port = group.port().map(u16::try_from).transpose();
    Ok(TargetGroupFacts {
        target_type: target_type
            .parse()
            .map_err(|invalid| Error::answer(ACTION, format!("{invalid}")))?,
        protocol: group.protocol().map(|protocol| protocol.as_str().to_owned()),
        port: port.map_err(|_| Error::answer(ACTION, "the port is none"))?,
        vpc: group.vpc_id().map(str::to_owned),
        ip_address_type,
        vpc_cidrs,
        in_use: !group.load_balancer_arns().is_empty(),
    })
}
