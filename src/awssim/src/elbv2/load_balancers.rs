//! Load balancers: create, describe, delete.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    attributes, checks,
    checks::Resource,
    listeners,
    model::{Kind, LoadBalancer, LoadBalancerSpec, Tags},
    page, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Ids, Region, View},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let spec = spec(change.region, params)?;
    let tags = tags::read(params, change.settings)?;
    if let Some(present) = by_name(change.region, &spec.name) {
        return if present.spec == spec {
            Ok(document(&change.view(), [present.as_ref()], None))
        } else {
            let message = format!(
                "A load balancer with the same name '{}' exists, but with different settings",
                spec.name
            );
            Err(AwsError::new("DuplicateLoadBalancerName", message))
        };
    }
    let same_kind = |present: &&Arc<LoadBalancer>| present.spec.kind == spec.kind;
    let present = change.region.load_balancers.values().filter(same_kind).count();
    if present >= change.settings.quotas.load_balancers {
        return Err(AwsError::new(
            "TooManyLoadBalancers",
            "You've reached the limit on your number of load balancers",
        ));
    }
    let id = change.ids.elb();
    let load_balancer = Arc::new(new(change.region, change.ids, &id, spec, tags, change.now));
    change
        .region
        .load_balancers
        .insert(load_balancer.arn.clone(), Arc::clone(&load_balancer));
    Ok(document(&change.view(), [load_balancer.as_ref()], None))
}

fn new(
    region: &Region,
    ids: &mut Ids,
    id: &str,
    spec: LoadBalancerSpec,
    tags: Tags,
    created: jiff::Timestamp,
) -> LoadBalancer {
    let place = &region.place;
    let vpc = spec
        .subnets
        .iter()
        .find_map(|subnet| region.subnets.get(subnet))
        .map(|subnet| subnet.vpc.clone());
    let (name, suffix) = (&spec.name, place.dns_suffix());
    let dns_name = match spec.kind {
        Kind::Application => {
            let prefix = if spec.internal { "internal-" } else { "" };
            format!("{prefix}{name}-{}.{}.elb.{suffix}", ids.digits(), place.region)
        }
        Kind::Network | Kind::Gateway => format!("{name}-{id}.elb.{}.{suffix}", place.region),
    };
    LoadBalancer {
        arn: place.elb_arn(format_args!("loadbalancer/{}/{name}/{id}", spec.kind.in_arn())),
        vpc: vpc.unwrap_or_default(),
        dns_name,
        created,
        target_groups: BTreeSet::new(),
        attributes: attributes::load_balancer_defaults(spec.kind),
        tags,
        spec,
    }
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let region = view.region;
    let (arns, names) = (params.texts("LoadBalancerArns"), params.texts("Names"));
    let mut found: Vec<&Arc<LoadBalancer>> = if !arns.is_empty() {
        if arns.len() > 20 {
            return Err(AwsError::validation(
                "At most 20 load balancers can be described at a time",
            ));
        }
        arns.into_iter()
            .map(|arn| checks::load_balancer(region, arn))
            .collect::<Result<_, _>>()?
    } else if names.is_empty() {
        region.load_balancers.values().collect()
    } else {
        let not_found = |name: &str| {
            AwsError::new(
                "LoadBalancerNotFound",
                format!("Load balancers '[{name}]' not found"),
            )
        };
        names
            .into_iter()
            .map(|name| by_name(region, name).ok_or_else(|| not_found(name)))
            .collect::<Result<_, _>>()?
    };
    found.sort_by(|a, b| a.arn.cmp(&b.arn));
    let items = found.into_iter().map(|found| (found.arn.as_str(), found));
    let (found, next) = page(view, params, "LoadBalancers", items)?;
    Ok(document(view, found.into_iter().map(Arc::as_ref), next))
}

pub(super) fn delete(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("LoadBalancerArn")?;
    if checks::arn(&change.region.place, arn)? != Resource::LoadBalancer {
        return Err(AwsError::validation(format!(
            "'{arn}' is not a valid load balancer ARN"
        )));
    }
    let Some(load_balancer) = change.region.load_balancers.get(arn) else {
        return Ok(Xml::new());
    };
    let protection = load_balancer.attributes.get("deletion_protection.enabled");
    if protection.is_some_and(|value| value == "true") {
        let message =
            format!("Load balancer '{arn}' cannot be deleted because deletion protection is enabled");
        return Err(AwsError::new("OperationNotPermitted", message));
    }
    change.region.load_balancers.remove(arn);
    change
        .region
        .listeners
        .retain(|_, listener| listener.spec.load_balancer != arn);
    listeners::refresh_use(change.region, change.now);
    Ok(Xml::new())
}

pub(super) fn set_security_groups(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("LoadBalancerArn")?;
    let load_balancer = checks::load_balancer(change.region, arn)?;
    let security_groups = security_groups(change.region, params)?;
    if load_balancer.spec.kind != Kind::Application && load_balancer.spec.security_groups.is_empty() {
        return Err(AwsError::new(
            "InvalidConfigurationRequest",
            "You cannot set security groups on a network load balancer that was created without any",
        ));
    }
    if security_groups.is_empty() {
        return Err(AwsError::validation(
            "At least one security group must be specified",
        ));
    }
    let mut xml = Xml::new();
    xml.texts("SecurityGroupIds", "member", &security_groups);
    checks::load_balancer_mut(change.region, arn)?
        .spec
        .security_groups = security_groups;
    Ok(xml)
}

fn by_name<'a>(region: &'a Region, name: &str) -> Option<&'a Arc<LoadBalancer>> {
    region
        .load_balancers
        .values()
        .find(|present| present.spec.name == name)
}

fn spec(region: &Region, params: &Node<'_>) -> Result<LoadBalancerSpec, AwsError> {
    let name = params.required("Name")?;
    checks::name("load balancer", name)?;
    if name.starts_with("internal-") {
        return Err(AwsError::validation(format!(
            "The load balancer name '{name}' cannot begin with 'internal-'"
        )));
    }
    let kind = match params.text("Type") {
        None => Kind::Application,
        Some(text) => text.parse().map_err(|()| AwsError::malformed("Type", text))?,
    };
    let internal = match params.text("Scheme") {
        None | Some("internet-facing") => false,
        Some("internal") => true,
        Some(other) => {
            return Err(AwsError::new(
                "InvalidScheme",
                format!("'{other}' is not a scheme"),
            ));
        }
    };
    let ip_address_type = match params.text("IpAddressType") {
        None => "ipv4",
        Some(text @ ("ipv4" | "dualstack" | "dualstack-without-public-ipv4")) => text,
        Some(other) => return Err(AwsError::malformed("IpAddressType", other)),
    };
    let security_groups = security_groups(region, params)?;
    if kind == Kind::Gateway && !security_groups.is_empty() {
        return Err(AwsError::new(
            "InvalidConfigurationRequest",
            "Security groups are not supported for gateway load balancers",
        ));
    }
    Ok(LoadBalancerSpec {
        name: name.to_owned(),
        subnets: subnets(region, params, kind)?,
        kind,
        internal,
        security_groups,
        ip_address_type: ip_address_type.to_owned(),
    })
}

/// The subnets, all of one VPC and each in another zone; an application load balancer needs two.
fn subnets(region: &Region, params: &Node<'_>, kind: Kind) -> Result<BTreeSet<String>, AwsError> {
    let mut ids = params.texts("Subnets");
    ids.extend(
        params
            .list("SubnetMappings")
            .into_iter()
            .filter_map(|mapping| mapping.text("SubnetId")),
    );
    if ids.is_empty() {
        return Err(AwsError::validation("At least one subnet must be specified"));
    }
    let mut zones = BTreeMap::new();
    let mut vpcs = BTreeSet::new();
    for id in &ids {
        let subnet = region
            .subnets
            .get(*id)
            .ok_or_else(|| AwsError::new("SubnetNotFound", format!("The subnet ID '{id}' does not exist")))?;
        vpcs.insert(&subnet.vpc);
        if let Some(other) = zones.insert(&subnet.zone, *id)
            && other != *id
        {
            let message = format!(
                "'{other}' and '{id}' are in the same Availability Zone, {}",
                subnet.zone
            );
            return Err(AwsError::new("InvalidConfigurationRequest", message));
        }
    }
    if vpcs.len() > 1 {
        let message = "All subnets must belong to the same VPC";
        return Err(AwsError::new("InvalidConfigurationRequest", message));
    }
    if kind == Kind::Application && zones.len() < 2 {
        return Err(AwsError::validation(
            "At least two subnets in two different Availability Zones must be specified",
        ));
    }
    Ok(ids.into_iter().map(str::to_owned).collect())
}

fn security_groups(region: &Region, params: &Node<'_>) -> Result<BTreeSet<String>, AwsError> {
    let ids = params.texts("SecurityGroups");
    if let Some(id) = ids.iter().find(|id| !region.security_groups.contains_key(**id)) {
        let message = format!("The security group '{id}' does not exist");
        return Err(AwsError::new("InvalidSecurityGroup", message));
    }
    Ok(ids.into_iter().map(str::to_owned).collect())
}

fn document<'a>(
    view: &View<'_>,
    load_balancers: impl IntoIterator<Item = &'a LoadBalancer>,
    next: Option<String>,
) -> Xml {
    let mut xml = Xml::new();
    xml.list("LoadBalancers", "member", load_balancers, |xml, each| {
        write(xml, view, each);
    });
    xml.maybe("NextMarker", next);
    xml
}

fn write(xml: &mut Xml, view: &View<'_>, load_balancer: &LoadBalancer) {
    let spec = &load_balancer.spec;
    xml.text("LoadBalancerArn", &load_balancer.arn);
    xml.text("DNSName", &load_balancer.dns_name);
    xml.text(
        "CanonicalHostedZoneId",
        hosted_zone(spec.kind, &view.region.place.region),
    );
    xml.text("CreatedTime", format_args!("{:.3}", load_balancer.created));
    xml.text("LoadBalancerName", &spec.name);
    if spec.kind != Kind::Gateway {
        xml.text(
            "Scheme",
            if spec.internal {
                "internal"
            } else {
                "internet-facing"
            },
        );
    }
    xml.text("VpcId", &load_balancer.vpc);
    xml.within("State", |xml| {
        let ready = load_balancer.created + view.settings.load_balancers.provisioning;
        xml.text(
            "Code",
            if view.now < ready {
                "provisioning"
            } else {
                "active"
            },
        );
    });
    xml.text("Type", spec.kind.as_str());
    let subnets = spec.subnets.iter().filter_map(|id| view.region.subnets.get(id));
    xml.list("AvailabilityZones", "member", subnets, |xml, subnet| {
        xml.text("ZoneName", &subnet.zone);
        xml.text("SubnetId", &subnet.id);
        xml.within("LoadBalancerAddresses", |_| ());
    });
    if !spec.security_groups.is_empty() {
        xml.texts("SecurityGroups", "member", &spec.security_groups);
    }
    xml.text("IpAddressType", &spec.ip_address_type);
}

/// A hosted zone id that is the same for all load balancers of a kind and region, as AWS's are.
/// The letters are made up.
fn hosted_zone(kind: Kind, region: &str) -> String {
    let letters = region
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_uppercase() as char);
    format!("Z{}{}", kind.in_arn().to_uppercase(), letters.collect::<String>())
}
