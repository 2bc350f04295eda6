//! Network interfaces, with the secondary addresses and prefixes that pods use.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    filters::Filters,
    model::{NetworkInterface, mac},
    page, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Region, View},
    xml::Xml,
};

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("NetworkInterfaceId");
    if let Some(id) = ids.iter().find(|id| !view.region.interfaces.contains_key(**id)) {
        let message = format!("The networkInterface ID '{id}' does not exist");
        return Err(AwsError::new("InvalidNetworkInterfaceID.NotFound", message));
    }
    let known = [
        "network-interface-id",
        "addresses.private-ip-address",
        "private-ip-address",
        "ipv6-addresses.ipv6-address",
        "ipv4-prefix.ipv4-prefix",
        "ipv6-prefix.ipv6-prefix",
        "attachment.instance-id",
        "attachment.status",
        "group-id",
        "vpc-id",
        "subnet-id",
        "availability-zone",
        "description",
        "status",
    ];
    let filters = Filters::read(params, &known)?;
    let wanted = view.region.interfaces.values().filter(|interface| {
        (ids.is_empty() || ids.contains(&interface.id.as_str()))
            && filters.matches(&interface.tags, |field| match field {
                "network-interface-id" => vec![interface.id.clone()],
                "addresses.private-ip-address" => addresses(interface, IpAddr::is_ipv4),
                "ipv6-addresses.ipv6-address" => addresses(interface, IpAddr::is_ipv6),
                "private-ip-address" => interface
                    .addresses
                    .first()
                    .map(ToString::to_string)
                    .into_iter()
                    .collect(),
                "ipv4-prefix.ipv4-prefix" | "ipv6-prefix.ipv6-prefix" => {
                    interface.prefixes.iter().map(IpNet::to_string).collect()
                }
                "attachment.instance-id" => interface.instance.clone().into_iter().collect(),
                "attachment.status" => interface.instance.iter().map(|_| "attached".to_owned()).collect(),
                "group-id" => interface.security_groups.clone(),
                "vpc-id" => vec![interface.vpc.clone()],
                "subnet-id" => vec![interface.subnet.clone()],
                "availability-zone" => vec![interface.zone.clone()],
                "description" => vec![interface.description.clone()],
                _ => vec![status(interface).to_owned()],
            })
    });
    let (interfaces, next) = page(
        view,
        params,
        "NetworkInterfaces",
        wanted.map(|each| (each.id.as_str(), each)),
    )?;
    let mut xml = Xml::new();
    xml.list("networkInterfaceSet", "item", interfaces, |xml, interface| {
        write(xml, view.region, interface);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

fn addresses(interface: &NetworkInterface, of_family: fn(&IpAddr) -> bool) -> Vec<String> {
    let addresses = interface.addresses.iter();
    addresses
        .filter(|address| of_family(address))
        .map(ToString::to_string)
        .collect()
}

/// The interfaces of an instance are attached in the order of their ids, the instance's own first.
fn device_index(region: &Region, interface: &NetworkInterface, instance: &str) -> usize {
    let own = region.instances.get(instance).map(|instance| instance.address);
    let is_own = |each: &NetworkInterface| own.is_some_and(|own| each.addresses.first() == Some(&own));
    let attached = region.interfaces.values();
    attached
        .filter(|each| each.instance.as_deref() == Some(instance))
        .filter(|each| (!is_own(each), &each.id) < (!is_own(interface), &interface.id))
        .count()
}

fn status(interface: &NetworkInterface) -> &'static str {
    if interface.instance.is_some() {
        "in-use"
    } else {
        "available"
    }
}

/// The members that an interface has both on its own and as part of an instance.
pub(super) fn write_identity(xml: &mut Xml, region: &Region, interface: &NetworkInterface) {
    xml.text("networkInterfaceId", &interface.id);
    xml.text("subnetId", &interface.subnet);
    xml.text("vpcId", &interface.vpc);
    xml.text("description", &interface.description);
    xml.text("ownerId", &region.place.account);
    xml.text("status", status(interface));
    xml.text("macAddress", mac(&interface.id));
    xml.maybe("privateIpAddress", interface.addresses.first());
    xml.text("interfaceType", "interface");
}

pub(super) fn write_groups(xml: &mut Xml, region: &Region, ids: &[String]) {
    xml.list("groupSet", "item", ids, |xml, id| {
        xml.text("groupId", id);
        xml.maybe(
            "groupName",
            region.security_groups.get(id).map(|group| &group.name),
        );
    });
}

pub(super) fn write_addresses(xml: &mut Xml, interface: &NetworkInterface) {
    let v4 = interface
        .addresses
        .iter()
        .filter(|address| address.is_ipv4())
        .zip(0..);
    xml.list("privateIpAddressesSet", "item", v4, |xml, (address, index)| {
        xml.text("privateIpAddress", address);
        xml.text("primary", index == 0);
    });
    let v6 = interface.addresses.iter().filter(|address| address.is_ipv6());
    xml.list("ipv6AddressesSet", "item", v6, |xml, address| {
        xml.text("ipv6Address", address);
    });
}

pub(super) fn write_prefixes(xml: &mut Xml, interface: &NetworkInterface) {
    let of_family = |v6: bool| {
        interface
            .prefixes
            .iter()
            .filter(move |net| matches!(net, IpNet::V6(_)) == v6)
    };
    xml.list("ipv4PrefixSet", "item", of_family(false), |xml, prefix| {
        xml.text("ipv4Prefix", prefix);
    });
    xml.list("ipv6PrefixSet", "item", of_family(true), |xml, prefix| {
        xml.text("ipv6Prefix", prefix);
    });
}

fn write(xml: &mut Xml, region: &Region, interface: &NetworkInterface) {
    write_identity(xml, region, interface);
    xml.text("availabilityZone", &interface.zone);
    xml.text("requesterManaged", false);
    xml.text("sourceDestCheck", true);
    write_groups(xml, region, &interface.security_groups);
    if let Some(instance) = &interface.instance {
        xml.within("attachment", |xml| {
            xml.text("attachmentId", interface.id.replacen("eni-", "eni-attach-", 1));
            xml.text("instanceId", instance);
            xml.text("instanceOwnerId", &region.place.account);
            xml.text("deviceIndex", device_index(region, interface, instance));
            xml.text("status", "attached");
            xml.text("deleteOnTermination", true);
        });
    }
    write_addresses(xml, interface);
    write_prefixes(xml, interface);
    tags::write(xml, &interface.tags);
}
