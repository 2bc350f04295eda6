//! Target groups: create, describe, modify, delete.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    attributes, checks,
    checks::Resource,
    model::{HealthCheck, Kind, Matcher, Protocol, TargetGroup, TargetGroupSpec, TargetType},
    page, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let spec = spec(change.region, params)?;
    let tags = tags::read(params, change.settings)?;
    if let Some(group) = by_name(change.region, &spec.name) {
        return if group.spec == spec {
            Ok(document([group.as_ref()], None))
        } else {
            let message = format!(
                "A target group with the same name '{}' exists, but with different settings",
                spec.name
            );
            Err(AwsError::new("DuplicateTargetGroupName", message))
        };
    }
    if change.region.target_groups.len() >= change.settings.quotas.target_groups {
        return Err(AwsError::new(
            "TooManyTargetGroups",
            "You've reached the limit on your number of target groups",
        ));
    }
    let arn = change
        .region
        .place
        .elb_arn(format_args!("targetgroup/{}/{}", spec.name, change.ids.elb()));
    let group = new(arn, spec, tags);
    let result = document([&group], None);
    change
        .region
        .target_groups
        .insert(group.arn.clone(), Arc::new(group));
    Ok(result)
}

pub(crate) fn new(arn: String, spec: TargetGroupSpec, tags: super::model::Tags) -> TargetGroup {
    TargetGroup {
        attributes: attributes::target_group_defaults(&spec),
        arn,
        spec,
        tags,
        targets: std::collections::BTreeMap::new(),
        load_balancers: BTreeSet::new(),
        in_use_since: None,
    }
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let region = view.region;
    let (arns, names) = (params.texts("TargetGroupArns"), params.texts("Names"));
    let load_balancer = params.text("LoadBalancerArn");
    let mut found: Vec<&Arc<TargetGroup>> = if !arns.is_empty() {
        if arns.len() > 20 {
            return Err(AwsError::validation(
                "At most 20 target group ARNs can be described at a time",
            ));
        }
        arns.into_iter()
            .map(|arn| checks::target_group(region, arn))
            .collect::<Result<_, _>>()?
    } else if !names.is_empty() {
        names
            .into_iter()
            .map(|name| by_name(region, name).ok_or_else(|| Resource::TargetGroup.not_found()))
            .collect::<Result<_, _>>()?
    } else if let Some(arn) = load_balancer {
        checks::load_balancer(region, arn)?;
        region
            .target_groups
            .values()
            .filter(|group| group.load_balancers.contains(arn))
            .collect()
    } else {
        region.target_groups.values().collect()
    };
    found.sort_by(|a, b| a.arn.cmp(&b.arn));
    let items = found.into_iter().map(|group| (group.arn.as_str(), group));
    let (groups, next) = page(view, params, "TargetGroups", items)?;
    Ok(document(groups.into_iter().map(Arc::as_ref), next))
}

pub(super) fn modify(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("TargetGroupArn")?;
    let group = checks::target_group_mut(change.region, arn)?;
    let defaults = group.spec.health_check.clone();
    let check = health_check(params, defaults, group.spec.protocol_version.as_deref())?;
    group.spec.health_check = check;
    Ok(document([&*group], None))
}

pub(super) fn delete(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("TargetGroupArn")?;
    if !change.region.target_groups.contains_key(arn) {
        // Real ELB checks the ARN and then succeeds, so that a repeated delete is harmless.
        return match checks::arn(&change.region.place, arn)? {
            Resource::TargetGroup => Ok(Xml::new()),
            Resource::LoadBalancer | Resource::Listener => Err(AwsError::validation(format!(
                "'{arn}' is not a valid target group ARN"
            ))),
        };
    }
    if !checks::target_group(change.region, arn)?
        .load_balancers
        .is_empty()
    {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(AwsError::new("ResourceInUse", message));
    }
    change.region.target_groups.remove(arn);
    Ok(Xml::new())
}

fn by_name<'a>(region: &'a Region, name: &str) -> Option<&'a Arc<TargetGroup>> {
    region
        .target_groups
        .values()
        .find(|group| group.spec.name == name)
}

fn spec(region: &Region, params: &Node<'_>) -> Result<TargetGroupSpec, AwsError> {
    let name = params.required("Name")?;
    checks::name("target group", name)?;
    let target_type = match params.text("TargetType") {
        Some("lambda") => return Err(AwsError::validation("Lambda target groups are not simulated")),
        Some(text) => text
            .parse()
            .map_err(|()| AwsError::malformed("TargetType", text))?,
        None => TargetType::Instance,
    };
    let protocol = params.required("Protocol")?;
    let protocol: Protocol = protocol
        .parse()
        .map_err(|()| AwsError::validation(format!("'{protocol}' is not a protocol of target groups")))?;
    if target_type == TargetType::Alb && !matches!(protocol, Protocol::Tcp | Protocol::Tls) {
        return Err(AwsError::validation(format!(
            "Protocol '{}' is not supported with target type 'alb'",
            protocol.as_str()
        )));
    }
    let port = checks::port(params, "Port")?.ok_or_else(|| AwsError::missing("Port"))?;
    let vpc = params.required("VpcId")?;
    if !region.vpcs.contains_key(vpc) {
        return Err(AwsError::validation(format!("The VPC ID '{vpc}' is not found")));
    }
    let protocol_version = match (protocol.is_http(), params.text("ProtocolVersion")) {
        (true, None) => Some("HTTP1".to_owned()),
        (true, Some(version @ ("HTTP1" | "HTTP2" | "GRPC"))) => Some(version.to_owned()),
        (false, None) => None,
        (_, Some(version)) => {
            let message = format!(
                "Protocol version '{version}' is not supported with '{}'",
                protocol.as_str()
            );
            return Err(AwsError::validation(message));
        }
    };
    let ip_address_type = match params.text("IpAddressType") {
        None => "ipv4",
        Some(text @ ("ipv4" | "ipv6")) => text,
        Some(other) => return Err(AwsError::malformed("IpAddressType", other)),
    };
    let defaults = default_health_check(protocol, protocol_version.as_deref(), params);
    Ok(TargetGroupSpec {
        name: name.to_owned(),
        health_check: health_check(params, defaults, protocol_version.as_deref())?,
        protocol,
        protocol_version,
        port,
        vpc: vpc.to_owned(),
        target_type,
        ip_address_type: ip_address_type.to_owned(),
    })
}

fn default_health_check(protocol: Protocol, version: Option<&str>, params: &Node<'_>) -> HealthCheck {
    let check_protocol = match protocol.kind() {
        Kind::Application => protocol,
        Kind::Network | Kind::Gateway => Protocol::Tcp,
    };
    let check_protocol = params
        .text("HealthCheckProtocol")
        .and_then(|text| text.parse().ok())
        .unwrap_or(check_protocol);
    let grpc = version == Some("GRPC");
    HealthCheck {
        protocol: check_protocol,
        port: if protocol == Protocol::Geneve {
            "80"
        } else {
            "traffic-port"
        }
        .to_owned(),
        path: check_protocol
            .is_http()
            .then(|| if grpc { "/AWS.ALB/healthcheck" } else { "/" }.to_owned()),
        matcher: check_protocol.is_http().then(|| match (grpc, protocol.kind()) {
            (true, _) => Matcher::Grpc("12".to_owned()),
            (false, Kind::Application) => Matcher::Http("200".to_owned()),
            (false, Kind::Network | Kind::Gateway) => Matcher::Http("200-399".to_owned()),
        }),
        interval: if protocol == Protocol::Geneve { 10 } else { 30 },
        timeout: match (protocol.kind(), check_protocol) {
            (Kind::Network, Protocol::Http) => 6,
            (Kind::Network, _) => 10,
            _ => 5,
        },
        healthy_threshold: 5,
        unhealthy_threshold: 2,
    }
}

/// The health check that the parameters ask for, with `base` where they say nothing.
fn health_check(
    params: &Node<'_>,
    base: HealthCheck,
    version: Option<&str>,
) -> Result<HealthCheck, AwsError> {
    if params.boolean("HealthCheckEnabled")? == Some(false) {
        return Err(AwsError::validation(
            "Health checks cannot be disabled for target groups with target type 'instance', 'ip' or 'alb'",
        ));
    }
    let protocol = match params.text("HealthCheckProtocol") {
        None => base.protocol,
        Some(text) => text
            .parse()
            .ok()
            .filter(|protocol| matches!(protocol, Protocol::Http | Protocol::Https | Protocol::Tcp))
            .ok_or_else(|| AwsError::malformed("HealthCheckProtocol", text))?,
    };
    let port = match params.text("HealthCheckPort") {
        None => base.port,
        Some(port) if port == "traffic-port" || port.parse::<u16>().is_ok_and(|number| number > 0) => {
            port.to_owned()
        }
        Some(other) => return Err(AwsError::malformed("HealthCheckPort", other)),
    };
    let path = match params.text("HealthCheckPath") {
        None => base.path,
        Some(path) if path.starts_with('/') && path.len() <= 1024 => Some(path.to_owned()),
        Some(other) => return Err(AwsError::malformed("HealthCheckPath", other)),
    };
    let matcher = params.child("Matcher");
    let matcher = match (
        matcher.and_then(|m| m.text("HttpCode")),
        matcher.and_then(|m| m.text("GrpcCode")),
    ) {
        (Some(_), _) if version == Some("GRPC") => {
            return Err(AwsError::validation("A gRPC target group takes Matcher.GrpcCode"));
        }
        (Some(code), None) => Some(Matcher::Http(code.to_owned())),
        (None, Some(code)) if version == Some("GRPC") => Some(Matcher::Grpc(code.to_owned())),
        (None, None) => base.matcher,
        (_, Some(_)) => {
            return Err(AwsError::validation(
                "Matcher.GrpcCode is for target groups of version GRPC alone",
            ));
        }
    };
    let interval = checks::within(params, "HealthCheckIntervalSeconds", 5..=300)?.unwrap_or(base.interval);
    let timeout = checks::within(params, "HealthCheckTimeoutSeconds", 2..=120)?;
    if timeout.is_some_and(|timeout| timeout >= interval) {
        return Err(AwsError::validation(
            "Health check timeout must be smaller than the health check interval",
        ));
    }
    Ok(HealthCheck {
        protocol,
        port,
        path,
        matcher,
        interval,
        timeout: timeout.unwrap_or_else(|| base.timeout.min(interval - 1)),
        healthy_threshold: checks::within(params, "HealthyThresholdCount", 2..=10)?
            .unwrap_or(base.healthy_threshold),
        unhealthy_threshold: checks::within(params, "UnhealthyThresholdCount", 2..=10)?
            .unwrap_or(base.unhealthy_threshold),
    })
}

fn document<'a>(groups: impl IntoIterator<Item = &'a TargetGroup>, next: Option<String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("TargetGroups", "member", groups, write);
    xml.maybe("NextMarker", next);
    xml
}

fn write(xml: &mut Xml, group: &TargetGroup) {
    let (spec, check) = (&group.spec, &group.spec.health_check);
    xml.text("TargetGroupArn", &group.arn);
    xml.text("TargetGroupName", &spec.name);
    xml.text("Protocol", spec.protocol.as_str());
    xml.text("Port", spec.port);
    xml.text("VpcId", &spec.vpc);
    xml.text("HealthCheckProtocol", check.protocol.as_str());
    xml.text("HealthCheckPort", &check.port);
    xml.text("HealthCheckEnabled", true);
    xml.text("HealthCheckIntervalSeconds", check.interval);
    xml.text("HealthCheckTimeoutSeconds", check.timeout);
    xml.text("HealthyThresholdCount", check.healthy_threshold);
    xml.text("UnhealthyThresholdCount", check.unhealthy_threshold);
    xml.maybe("HealthCheckPath", check.path.as_ref());
    if let Some(matcher) = &check.matcher {
        xml.within("Matcher", |xml| match matcher {
            Matcher::Http(codes) => xml.text("HttpCode", codes),
            Matcher::Grpc(codes) => xml.text("GrpcCode", codes),
        });
    }
    xml.texts("LoadBalancerArns", "member", &group.load_balancers);
    xml.text("TargetType", spec.target_type.as_str());
    xml.maybe("ProtocolVersion", spec.protocol_version.as_ref());
    xml.text("IpAddressType", &spec.ip_address_type);
}
