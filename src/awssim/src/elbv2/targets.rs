//! Targets: register, deregister, describe their health.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use super::{
    checks,
    health::{self, Health},
    model::{Target, TargetGroup, TargetKey, TargetType},
};
use crate::{
    action::Reply,
    ec2::model::{InstanceState, Vpc},
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn register(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("TargetGroupArn")?;
    let group = checks::target_group(change.region, arn)?;
    let asked = read(params, group, change.settings.quotas.targets_per_call)?;
    let mut checked = Vec::with_capacity(asked.len());
    for (key, zone) in asked {
        let zone = check(change.region, group, &key, zone.as_deref())?;
        checked.push((key, zone));
    }
    let now = change.now;
    let fresh = |key: &TargetKey| {
        group
            .targets
            .get(key)
            .is_none_or(|target| target.deregistered.is_some())
    };
    let added: BTreeSet<&TargetKey> = checked
        .iter()
        .map(|(key, _)| key)
        .filter(|key| fresh(key))
        .collect();
    if added.len() + alive(group) > change.settings.quotas.targets_per_target_group {
        return Err(AwsError::new(
            "TooManyTargets",
            format!("You've reached the limit on the number of targets for target group '{arn}'"),
        ));
    }
    registrations_of_each_id(change, group, &added)?;
    let group = checks::target_group_mut(change.region, arn)?;
    group.sweep(now);
    for (key, zone) in checked {
        add(group, key, zone, now);
    }
    Ok(Xml::new())
}

/// Registers a target, or brings a draining one back. A present one stays as it is.
pub(crate) fn add(group: &mut TargetGroup, key: TargetKey, zone: Option<String>, now: jiff::Timestamp) {
    let fresh = Target {
        zone,
        registered: now,
        deregistered: None,
        scripted: None,
    };
    match group.targets.entry(key) {
        Entry::Vacant(place) => {
            place.insert(fresh);
        }
        Entry::Occupied(mut present) if present.get().deregistered.is_some() => {
            let scripted = present.get_mut().scripted.take();
            present.insert(Target { scripted, ..fresh });
        }
        Entry::Occupied(_) => {}
    }
}

pub(super) fn deregister(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("TargetGroupArn")?;
    let group = checks::target_group(change.region, arn)?;
    let asked = read(params, group, change.settings.quotas.targets_per_call)?;
    let now = change.now;
    let group = checks::target_group_mut(change.region, arn)?;
    group.sweep(now);
    for (key, _) in asked {
        group.deregister(&key, now);
    }
    Ok(Xml::new())
}

pub(super) fn describe_health(view: &View<'_>, params: &Node<'_>) -> Reply {
    let group = checks::target_group(view.region, params.required("TargetGroupArn")?)?;
    let mut xml = Xml::new();
    if params.has("Targets") {
        let asked = read(params, group, usize::MAX)?;
        xml.list("TargetHealthDescriptions", "member", asked, |xml, (key, _)| {
            let known = group.targets.get(&key);
            let health = known.and_then(|target| health::of(view, group, &key, target));
            let zone = known
                .filter(|_| health.is_some())
                .and_then(|target| target.zone.as_deref());
            write(
                xml,
                group,
                &key,
                zone,
                &health.unwrap_or_else(Health::not_registered),
            );
        });
    } else {
        let present = group.targets.iter().filter_map(|(key, target)| {
            health::of(view, group, key, target).map(|health| (key, target, health))
        });
        xml.list(
            "TargetHealthDescriptions",
            "member",
            present,
            |xml, (key, target, health)| {
                write(xml, group, key, target.zone.as_deref(), &health);
            },
        );
    }
    Ok(xml)
}

fn write(xml: &mut Xml, group: &TargetGroup, key: &TargetKey, zone: Option<&str>, health: &Health) {
    xml.within("Target", |xml| {
        xml.text("Id", &key.id);
        xml.text("Port", key.port);
        xml.maybe("AvailabilityZone", zone);
    });
    match group.spec.health_check.port.as_str() {
        "traffic-port" => xml.text("HealthCheckPort", key.port),
        port => xml.text("HealthCheckPort", port),
    }
    xml.within("TargetHealth", |xml| {
        xml.text("State", health.state.as_str());
        xml.maybe("Reason", health.reason.as_ref());
        xml.maybe("Description", health.description.as_ref());
    });
}

fn alive(group: &TargetGroup) -> usize {
    group
        .targets
        .values()
        .filter(|target| target.deregistered.is_none())
        .count()
}

/// The targets of a call, each with its port: the group's where the target names none.
fn read(
    params: &Node<'_>,
    group: &TargetGroup,
    at_most: usize,
) -> Result<Vec<(TargetKey, Option<String>)>, AwsError> {
    let targets = params.list("Targets");
    if targets.is_empty() {
        return Err(AwsError::missing("Targets"));
    }
    if targets.len() > at_most {
        let message = format!(
            "{} targets in one call are more than the {at_most} that are taken",
            targets.len()
        );
        return Err(AwsError::validation(message));
    }
    targets
        .into_iter()
        .map(|target| {
            let id = target.required("Id")?.to_owned();
            let port = checks::port(target, "Port")?.unwrap_or(group.spec.port);
            Ok((
                TargetKey { id, port },
                target.text("AvailabilityZone").map(str::to_owned),
            ))
        })
        .collect()
}

fn invalid(message: String) -> AwsError {
    AwsError::new("InvalidTarget", message)
}

/// Checks one target and answers the zone that it is in.
fn check(
    region: &Region,
    group: &TargetGroup,
    key: &TargetKey,
    zone: Option<&str>,
) -> Result<Option<String>, AwsError> {
    match group.spec.target_type {
        TargetType::Ip => check_address(region, group, &key.id, zone),
        TargetType::Instance => check_instance(region, group, &key.id).map(|()| None),
        TargetType::Alb => check_load_balancer(region, group, key).map(|()| None),
    }
}

fn check_address(
    region: &Region,
    group: &TargetGroup,
    id: &str,
    zone: Option<&str>,
) -> Result<Option<String>, AwsError> {
    let family = if group.spec.ip_address_type == "ipv6" {
        "IPv6"
    } else {
        "IPv4"
    };
    let address: IpAddr = id
        .parse()
        .ok()
        .filter(|address: &IpAddr| address.is_ipv6() == (family == "IPv6"))
        .ok_or_else(|| {
            AwsError::validation(format!("The IP address '{id}' is not a valid {family} address"))
        })?;
    let vpc = region.vpcs.get(&group.spec.vpc);
    let inside = vpc.is_some_and(|vpc: &std::sync::Arc<Vpc>| vpc.contains(address));
    if let Some(zone) = zone
        && zone != "all"
        && !region.place.zones().iter().any(|known| known == zone)
    {
        return Err(invalid(format!(
            "'{zone}' of target '{id}' is not an Availability Zone of this region"
        )));
    }
    let subnet = region
        .subnets
        .values()
        .find(|subnet| subnet.vpc == group.spec.vpc && subnet.cidr.contains(&address));
    // AWS's own words in what follows: clients find the address in them.
    if let Some(subnet) = subnet {
        if let Some(zone) = zone
            && zone != subnet.zone
        {
            return Err(AwsError::validation(format!(
                "The IP address '{id}' is within the VPC, and cannot have its Availability Zone overridden to \
                 '{zone}' from '{}'",
                subnet.zone
            )));
        }
        return Ok(Some(subnet.zone.clone()));
    }
    // No subnet here has IPv6 blocks.
    if inside && address.is_ipv6() {
        return Ok(zone.map(str::to_owned));
    }
    if inside {
        return zone.map(|zone| Some(zone.to_owned())).ok_or_else(|| {
            AwsError::validation(format!(
                "The Availability Zone is required for IP address '{id}' because it is not in the VPC"
            ))
        });
    }
    if !is_private(address) {
        return Err(invalid(format!(
            "The IP address '{id}' is publicly routable and outside of VPC '{}'; it cannot be a target",
            group.spec.vpc
        )));
    }
    zone.map(|zone| Some(zone.to_owned())).ok_or_else(|| {
        AwsError::validation(format!(
            "You must specify a valid Availability Zone or select 'all' for all enabled Availability zones, since \
             the IP address '{id}' is outside the VPC"
        ))
    })
}

/// RFC 1918, RFC 6598 and IPv6 unique local addresses: what may be a target from outside of the VPC.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn check_instance(region: &Region, group: &TargetGroup, id: &str) -> Result<(), AwsError> {
    let instance = region
        .instances
        .get(id)
        .ok_or_else(|| invalid(format!("Instance ID '{id}' is not valid")))?;
    if instance.state != InstanceState::Running {
        let message =
            format!("The following targets are not in a running state and cannot be registered: '{id}'");
        return Err(invalid(message));
    }
    if instance.vpc != group.spec.vpc {
        let message = format!(
            "The following targets are not in the target group VPC '{}': '{id}'",
            group.spec.vpc
        );
        return Err(invalid(message));
    }
    Ok(())
}

fn check_load_balancer(region: &Region, group: &TargetGroup, key: &TargetKey) -> Result<(), AwsError> {
    if group.targets.keys().any(|other| other != key) {
        let message = "A target group with target type 'alb' takes one target".to_owned();
        return Err(AwsError::new("TooManyTargets", message));
    }
    let listens = region
        .listeners
        .values()
        .any(|listener| listener.spec.load_balancer == key.id && listener.spec.port == key.port);
    if listens {
        Ok(())
    } else {
        Err(invalid(format!(
            "'{}' has no listener on port {}",
            key.id, key.port
        )))
    }
}

/// The quota per id counts every port and every group of the load balancer.
fn registrations_of_each_id(
    change: &Change<'_>,
    group: &TargetGroup,
    added: &BTreeSet<&TargetKey>,
) -> Result<(), AwsError> {
    let limit = change.settings.quotas.registrations_per_target_id;
    let region = &change.region;
    let siblings: BTreeSet<&str> = group
        .load_balancers
        .iter()
        .filter_map(|arn| region.load_balancers.get(arn))
        .flat_map(|load_balancer| &load_balancer.target_groups)
        .map(String::as_str)
        .filter(|arn| *arn != group.arn)
        .collect();
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for key in added {
        *asked.entry(&key.id).or_default() += 1;
    }
    for (id, asked) in asked {
        let siblings = siblings
            .iter()
            .filter_map(|arn| region.target_groups.get(*arn))
            .map(AsRef::as_ref);
        let registered: usize = siblings
            .chain([group])
            .map(|group| registrations(group, id))
            .sum();
        if registered + asked > limit {
            return Err(AwsError::new(
                "TooManyRegistrationsForTargetId",
                format!("You've reached the limit on the number of times target '{id}' can be registered"),
            ));
        }
    }
    Ok(())
}

fn registrations(group: &TargetGroup, id: &str) -> usize {
    let [from, to] = [0, u16::MAX].map(|port| TargetKey {
        id: id.to_owned(),
        port,
    });
    group
        .targets
        .range(from..=to)
        .filter(|(_, target)| target.deregistered.is_none())
        .count()
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;

    #[test]
    fn one_bad_target_is_named_and_none_of_the_call_is_registered() {
        let mut bench = Bench::new();
        let (status, body) = bench.targets("RegisterTargets", &[("10.0.0.9", "80"), ("192.168.0.9", "80")]);
        assert_eq!(status, 400);
        assert!(
            body.contains("<Code>ValidationError</Code>") && body.contains("192.168.0.9"),
            "{body}"
        );
        assert!(bench.health().is_empty());
    }

    #[test]
    fn the_quota_counts_new_targets_and_not_present_ones() {
        let mut bench = Bench::new();
        bench.core.settings.quotas.targets_per_target_group = 2;
        bench.register(&[("10.0.0.1", "80"), ("10.0.0.2", "80")]);
        bench.register(&[("10.0.0.1", "80"), ("10.0.0.2", "80")]);
        let (_, body) = bench.targets("RegisterTargets", &[("10.0.0.3", "80")]);
        assert!(body.contains("<Code>TooManyTargets</Code>"), "{body}");
        bench.targets("DeregisterTargets", &[("10.0.0.1", "80")]);
        bench.register(&[("10.0.0.3", "80")]);
    }

    #[test]
    fn an_id_is_registered_on_as_many_ports_as_the_quota_allows() {
        let mut bench = Bench::new();
        bench.core.settings.quotas.registrations_per_target_id = 2;
        bench.register(&[("10.0.0.1", "80"), ("10.0.0.1", "81")]);
        let (_, body) = bench.targets("RegisterTargets", &[("10.0.0.1", "82")]);
        assert!(
            body.contains("<Code>TooManyRegistrationsForTargetId</Code>"),
            "{body}"
        );
    }

    #[test]
    fn a_call_takes_as_many_targets_as_the_setting_says() {
        let mut bench = Bench::new();
        bench.core.settings.quotas.targets_per_call = 1;
        let two = [("10.0.0.1", "80"), ("10.0.0.2", "80")];
        for action in ["RegisterTargets", "DeregisterTargets"] {
            let (_, body) = bench.targets(action, &two);
            assert!(body.contains("<Code>ValidationError</Code>"), "{body}");
        }
    }
}
