//! Subnets.

use std::sync::Arc;

use ipnet::IpNet;

use super::{
    filters::Filters,
    model::{Subnet, parse},
    page, tags, vpcs,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let region = &change.region;
    let vpc_id = params.required("VpcId")?;
    let vpc = region.vpcs.get(vpc_id).ok_or_else(|| vpcs::not_found(vpc_id))?;
    let cidr: IpNet = parse("cidrBlock", params.required("CidrBlock")?)?;
    if !vpc.cidrs.iter().any(|outer| outer.contains(&cidr)) {
        let message = format!("The CIDR '{cidr}' is invalid.");
        return Err(AwsError::new("InvalidSubnet.Range", message));
    }
    let overlaps = |other: &Arc<Subnet>| {
        other.vpc == vpc_id && (other.cidr.contains(&cidr) || cidr.contains(&other.cidr))
    };
    if region.subnets.values().any(overlaps) {
        let message = format!("The CIDR '{cidr}' conflicts with another subnet");
        return Err(AwsError::new("InvalidSubnet.Conflict", message));
    }
    let zones = region.place.zones();
    let zone = match params.text("AvailabilityZone") {
        None => zones[0].clone(),
        Some(zone) if zones.iter().any(|known| known == zone) => zone.to_owned(),
        Some(zone) => return Err(AwsError::malformed("availabilityZone", zone)),
    };
    let id = change.ids.ec2("subnet");
    let tags = tags::specified(params, "subnet");
    let subnet = Subnet {
        id,
        vpc: vpc_id.to_owned(),
        cidr: cidr.trunc(),
        zone,
        tags,
    };
    let mut xml = Xml::new();
    xml.within("subnet", |xml| write(xml, change.region, &subnet));
    change.region.subnets.insert(subnet.id.clone(), Arc::new(subnet));
    Ok(xml)
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("SubnetId");
    if let Some(id) = ids.iter().find(|id| !view.region.subnets.contains_key(**id)) {
        return Err(not_found(id));
    }
    let known = [
        "subnet-id",
        "vpc-id",
        "availability-zone",
        "availabilityZone",
        "availability-zone-id",
        "cidr-block",
        "cidr",
        "state",
    ];
    let filters = Filters::read(params, &known)?;
    let wanted = view.region.subnets.values().filter(|subnet| {
        (ids.is_empty() || ids.contains(&subnet.id.as_str()))
            && filters.matches(&subnet.tags, |field| {
                vec![match field {
                    "subnet-id" => subnet.id.clone(),
                    "vpc-id" => subnet.vpc.clone(),
                    "availability-zone" | "availabilityZone" => subnet.zone.clone(),
                    "availability-zone-id" => view.region.place.zone_id(&subnet.zone),
                    "cidr-block" | "cidr" => subnet.cidr.to_string(),
                    _ => "available".to_owned(),
                }]
            })
    });
    let (subnets, next) = page(
        view,
        params,
        "Subnets",
        wanted.map(|subnet| (subnet.id.as_str(), subnet)),
    )?;
    let mut xml = Xml::new();
    xml.list("subnetSet", "item", subnets, |xml, subnet| {
        write(xml, view.region, subnet);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::new(
        "InvalidSubnetID.NotFound",
        format!("The subnet ID '{id}' does not exist"),
    )
}

fn write(xml: &mut Xml, region: &Region, subnet: &Subnet) {
    let place = &region.place;
    xml.text("subnetId", &subnet.id);
    xml.text(
        "subnetArn",
        place.arn("ec2", format_args!("subnet/{}", subnet.id)),
    );
    xml.text("state", "available");
    xml.text("ownerId", &place.account);
    xml.text("vpcId", &subnet.vpc);
    xml.text("cidrBlock", subnet.cidr);
    xml.text("availableIpAddressCount", free_addresses(region, subnet));
    xml.text("availabilityZone", &subnet.zone);
    xml.text("availabilityZoneId", place.zone_id(&subnet.zone));
    xml.text("defaultForAz", false);
    xml.text("mapPublicIpOnLaunch", false);
    xml.text("assignIpv6AddressOnCreation", false);
    xml.within("ipv6CidrBlockAssociationSet", |_| ());
    tags::write(xml, &subnet.tags);
}

/// AWS keeps five addresses of every subnet for itself.
fn free_addresses(region: &Region, subnet: &Subnet) -> u64 {
    let bits = u32::from(subnet.cidr.max_prefix_len() - subnet.cidr.prefix_len()).min(32);
    let used: usize = region
        .interfaces
        .values()
        .filter(|interface| interface.subnet == subnet.id)
        .map(|interface| interface.addresses.len())
        .sum();
    (1_u64 << bits).saturating_sub(5 + used as u64)
}
