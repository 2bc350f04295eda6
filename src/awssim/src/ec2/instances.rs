//! Instances, each with one network interface.

use std::{net::IpAddr, sync::Arc};

use super::{
    filters::Filters,
    interfaces,
    model::{Instance, InstanceState, NetworkInterface, Subnet, Tags, parse},
    page, security_groups, subnets, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn run(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let image = params.required("ImageId")?;
    let count = params
        .parsed::<usize>("MaxCount")?
        .ok_or_else(|| AwsError::missing("MaxCount"))?;
    if !(1..=1000).contains(&count) {
        return Err(AwsError::malformed("maxCount", &count.to_string()));
    }
    let subnet_id = params
        .text("SubnetId")
        .or_else(|| {
            params
                .list("NetworkInterface")
                .first()
                .and_then(|each| each.text("SubnetId"))
        })
        .ok_or_else(|| {
            AwsError::new(
                "MissingInput",
                "No subnets found for the default VPC; name a SubnetId",
            )
        })?;
    let subnet = Arc::clone(
        change
            .region
            .subnets
            .get(subnet_id)
            .ok_or_else(|| subnets::not_found(subnet_id))?,
    );
    let groups = params.texts("SecurityGroupId");
    for group in &groups {
        security_groups::find(change.region, group)?;
    }
    let asked: Option<IpAddr> = params
        .text("PrivateIpAddress")
        .map(|text| parse("privateIpAddress", text))
        .transpose()?;
    if asked.is_some_and(|address| !subnet.cidr.contains(&address)) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "Address does not fall within the subnet's address range",
        ));
    }
    let mut started = Vec::new();
    for _ in 0..count {
        let address = match asked {
            Some(address) if taken(change.region, &subnet, address) => {
                return Err(AwsError::new(
                    "InvalidIPAddress.InUse",
                    format!("Address {address} is in use."),
                ));
            }
            Some(address) => address,
            None => free_address(change.region, &subnet).ok_or_else(|| {
                AwsError::new(
                    "InsufficientFreeAddressesInSubnet",
                    "There are not enough free addresses",
                )
            })?,
        };
        let instance = Arc::new(Instance {
            id: change.ids.ec2("i"),
            vpc: subnet.vpc.clone(),
            subnet: subnet.id.clone(),
            zone: subnet.zone.clone(),
            address,
            security_groups: groups.iter().map(|id| (*id).to_owned()).collect(),
            image: image.to_owned(),
            kind: params.text("InstanceType").unwrap_or("m5.large").to_owned(),
            state: InstanceState::Running,
            launched: change.now,
            tags: tags::specified(params, "instance"),
        });
        let interface = default_interface(change.ids.ec2("eni"), &instance);
        change
            .region
            .interfaces
            .insert(interface.id.clone(), Arc::new(interface));
        change
            .region
            .instances
            .insert(instance.id.clone(), Arc::clone(&instance));
        started.push(instance);
    }
    let mut xml = Xml::new();
    write_reservation(
        &mut xml,
        change.region,
        &change.ids.ec2("r"),
        started.iter().map(AsRef::as_ref),
    );
    Ok(xml)
}

pub(crate) fn default_interface(id: String, instance: &Instance) -> NetworkInterface {
    NetworkInterface {
        id,
        vpc: instance.vpc.clone(),
        subnet: instance.subnet.clone(),
        zone: instance.zone.clone(),
        addresses: vec![instance.address],
        prefixes: Vec::new(),
        security_groups: instance.security_groups.clone(),
        instance: Some(instance.id.clone()),
        description: String::new(),
        tags: Tags::new(),
    }
}

fn taken(region: &Region, subnet: &Subnet, address: IpAddr) -> bool {
    region
        .interfaces
        .values()
        .any(|interface| interface.vpc == subnet.vpc && interface.addresses.contains(&address))
}

/// AWS keeps the first four addresses and the last one.
fn free_address(region: &Region, subnet: &Subnet) -> Option<IpAddr> {
    let last = subnet.cidr.broadcast();
    subnet
        .cidr
        .hosts()
        .skip(3)
        .filter(|address| *address != last)
        .find(|each| !taken(region, subnet, *each))
}

pub(super) fn terminate(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("InstanceId");
    let mut before = Vec::new();
    for id in &ids {
        before.push((*id, find(change.region, id)?.state));
    }
    for id in &ids {
        set_state(change.region, id, InstanceState::Terminated, change.now);
    }
    let mut xml = Xml::new();
    xml.list("instancesSet", "item", before, |xml, (id, previous)| {
        xml.text("instanceId", id);
        xml.within("currentState", |xml| write_state(xml, InstanceState::Terminated));
        xml.within("previousState", |xml| write_state(xml, previous));
    });
    Ok(xml)
}

/// Changes the state of an instance with what follows: a terminated one loses its interfaces and is
/// deregistered from every target group.
pub(crate) fn set_state(region: &mut Region, id: &str, state: InstanceState, now: jiff::Timestamp) -> bool {
    let Some(instance) = region.instances.get_mut(id) else {
        return false;
    };
    Arc::make_mut(instance).state = state;
    if state == InstanceState::Terminated {
        region
            .interfaces
            .retain(|_, interface| interface.instance.as_deref() != Some(id));
        for group in region.target_groups.values_mut() {
            let keys: Vec<_> = group.targets.keys().filter(|key| key.id == id).cloned().collect();
            for key in keys {
                Arc::make_mut(group).deregister(&key, now);
            }
        }
    }
    true
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("InstanceId");
    for id in &ids {
        find(view.region, id)?;
    }
    let known = [
        "instance-id",
        "instance-state-name",
        "private-ip-address",
        "network-interface.addresses.private-ip-address",
        "private-dns-name",
        "vpc-id",
        "subnet-id",
        "availability-zone",
        "instance-type",
        "instance.group-id",
    ];
    let filters = Filters::read(params, &known)?;
    let wanted = view.region.instances.values().filter(|instance| {
        (ids.is_empty() || ids.contains(&instance.id.as_str()))
            && filters.matches(&instance.tags, |field| match field {
                "instance-id" => vec![instance.id.clone()],
                "instance-state-name" => vec![instance.state.as_str().to_owned()],
                "private-ip-address" | "network-interface.addresses.private-ip-address" => {
                    vec![instance.address.to_string()]
                }
                "private-dns-name" => vec![private_name(view.region, instance)],
                "vpc-id" => vec![instance.vpc.clone()],
                "subnet-id" => vec![instance.subnet.clone()],
                "availability-zone" => vec![instance.zone.clone()],
                "instance-type" => vec![instance.kind.clone()],
                _ => instance.security_groups.clone(),
            })
    });
    let (instances, next) = page(
        view,
        params,
        "Instances",
        wanted.map(|each| (each.id.as_str(), each)),
    )?;
    let mut xml = Xml::new();
    xml.list("reservationSet", "item", instances, |xml, instance| {
        let reservation = instance.id.replacen("i-", "r-", 1);
        write_reservation(xml, view.region, &reservation, [instance.as_ref()]);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

fn find<'a>(region: &'a Region, id: &str) -> Result<&'a Arc<Instance>, AwsError> {
    if !id.starts_with("i-") {
        return Err(AwsError::new(
            "InvalidInstanceID.Malformed",
            format!("Invalid id: \"{id}\""),
        ));
    }
    region.instances.get(id).ok_or_else(|| {
        AwsError::new(
            "InvalidInstanceID.NotFound",
            format!("The instance ID '{id}' does not exist"),
        )
    })
}

fn private_name(region: &Region, instance: &Instance) -> String {
    let address = instance.address.to_string().replace(['.', ':'], "-");
    format!("ip-{address}.{}.compute.internal", region.place.region)
}

fn write_state(xml: &mut Xml, state: InstanceState) {
    xml.text("code", state.code());
    xml.text("name", state.as_str());
}

fn write_reservation<'a>(
    xml: &mut Xml,
    region: &Region,
    id: &str,
    instances: impl IntoIterator<Item = &'a Instance>,
) {
    xml.text("reservationId", id);
    xml.text("ownerId", &region.place.account);
    xml.within("groupSet", |_| ());
    xml.list("instancesSet", "item", instances, |xml, instance| {
        write(xml, region, instance);
    });
}

fn write(xml: &mut Xml, region: &Region, instance: &Instance) {
    xml.text("instanceId", &instance.id);
    xml.text("imageId", &instance.image);
    xml.within("instanceState", |xml| write_state(xml, instance.state));
    xml.text("privateDnsName", private_name(region, instance));
    xml.text("dnsName", "");
    xml.text("reason", "");
    xml.text("amiLaunchIndex", 0);
    xml.text("instanceType", &instance.kind);
    xml.text("launchTime", format_args!("{:.3}", instance.launched));
    xml.within("placement", |xml| {
        xml.text("availabilityZone", &instance.zone);
        xml.text("groupName", "");
        xml.text("tenancy", "default");
    });
    xml.within("monitoring", |xml| xml.text("state", "disabled"));
    if instance.state != InstanceState::Terminated {
        xml.text("subnetId", &instance.subnet);
        xml.text("vpcId", &instance.vpc);
        xml.text("privateIpAddress", instance.address);
    }
    xml.text("architecture", "x86_64");
    interfaces::write_groups(xml, region, &instance.security_groups);
    let own = region
        .interfaces
        .values()
        .filter(|each| each.instance.as_deref() == Some(&instance.id));
    xml.list("networkInterfaceSet", "item", own, |xml, interface| {
        interfaces::write_identity(xml, region, interface);
        xml.text("sourceDestCheck", true);
        interfaces::write_groups(xml, region, &interface.security_groups);
        interfaces::write_addresses(xml, interface);
        interfaces::write_prefixes(xml, interface);
    });
    tags::write(xml, &instance.tags);
}
