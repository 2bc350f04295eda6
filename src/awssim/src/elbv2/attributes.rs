//! Attributes of target groups and load balancers: string to string, with a known set of keys per protocol or kind.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    checks,
    model::{Kind, Protocol, TargetGroupSpec, TargetType},
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, View},
    xml::Xml,
};

pub(crate) fn target_group_defaults(spec: &TargetGroupSpec) -> BTreeMap<String, String> {
    let is_instance = spec.target_type == TargetType::Instance;
    let is_udp = matches!(spec.protocol, Protocol::Udp | Protocol::TcpUdp);
    let preserve = if is_instance || is_udp { "true" } else { "false" };
    let common = [
        ("deregistration_delay.timeout_seconds", "300"),
        ("stickiness.enabled", "false"),
        (
            "load_balancing.cross_zone.enabled",
            "use_load_balancer_configuration",
        ),
        (
            "target_group_health.dns_failover.minimum_healthy_targets.count",
            "1",
        ),
        (
            "target_group_health.dns_failover.minimum_healthy_targets.percentage",
            "off",
        ),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
            "1",
        ),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
            "off",
        ),
    ];
    let application = [
        ("stickiness.type", "lb_cookie"),
        ("stickiness.lb_cookie.duration_seconds", "86400"),
        ("stickiness.app_cookie.cookie_name", ""),
        ("stickiness.app_cookie.duration_seconds", "86400"),
        ("slow_start.duration_seconds", "0"),
        ("load_balancing.algorithm.type", "round_robin"),
        ("load_balancing.algorithm.anomaly_mitigation", "off"),
    ];
    let network = [
        ("stickiness.type", "source_ip"),
        ("preserve_client_ip.enabled", preserve),
        ("proxy_protocol_v2.enabled", "false"),
        ("deregistration_delay.connection_termination.enabled", "false"),
        (
            "target_health_state.unhealthy.connection_termination.enabled",
            "true",
        ),
        ("target_health_state.unhealthy.draining_interval_seconds", "0"),
    ];
    let gateway = [
        ("stickiness.type", "source_ip_dest_ip"),
        ("target_failover.on_deregistration", "no_rebalance"),
        ("target_failover.on_unhealthy", "no_rebalance"),
    ];
    let own: &[(&str, &str)] = match spec.protocol.kind() {
        Kind::Application => &application,
        Kind::Network => &network,
        Kind::Gateway => &gateway,
    };
    owned(common.iter().chain(own))
}

pub(super) fn load_balancer_defaults(kind: Kind) -> BTreeMap<String, String> {
    let cross_zone = if kind == Kind::Application {
        "true"
    } else {
        "false"
    };
    let common = [
        ("deletion_protection.enabled", "false"),
        ("load_balancing.cross_zone.enabled", cross_zone),
        ("access_logs.s3.enabled", "false"),
        ("access_logs.s3.bucket", ""),
        ("access_logs.s3.prefix", ""),
    ];
    let application = [
        ("idle_timeout.timeout_seconds", "60"),
        ("client_keep_alive.seconds", "3600"),
        ("routing.http2.enabled", "true"),
        ("routing.http.desync_mitigation_mode", "defensive"),
        ("routing.http.drop_invalid_header_fields.enabled", "false"),
        ("routing.http.preserve_host_header.enabled", "false"),
        (
            "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
            "false",
        ),
        ("routing.http.xff_client_port.enabled", "false"),
        ("routing.http.xff_header_processing.mode", "append"),
        ("waf.fail_open.enabled", "false"),
        ("connection_logs.s3.enabled", "false"),
        ("connection_logs.s3.bucket", ""),
        ("connection_logs.s3.prefix", ""),
        ("zonal_shift.config.enabled", "false"),
    ];
    let network = [
        ("dns_record.client_routing_policy", "any_availability_zone"),
        ("ipv6.deny_all_igw_traffic", "false"),
        ("zonal_shift.config.enabled", "false"),
    ];
    let own: &[(&str, &str)] = match kind {
        Kind::Application => &application,
        Kind::Network => &network,
        Kind::Gateway => &[],
    };
    owned(common.iter().chain(own))
}

fn owned<'a>(pairs: impl Iterator<Item = &'a (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn describe_target_group(view: &View<'_>, params: &Node<'_>) -> Reply {
    let group = checks::target_group(view.region, params.required("TargetGroupArn")?)?;
    Ok(document(&group.attributes))
}

pub(super) fn describe_load_balancer(view: &View<'_>, params: &Node<'_>) -> Reply {
    let load_balancer = checks::load_balancer(view.region, params.required("LoadBalancerArn")?)?;
    Ok(document(&load_balancer.attributes))
}

pub(super) fn modify_target_group(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let group = checks::target_group_mut(change.region, params.required("TargetGroupArn")?)?;
    // What has drained by the old delay must not come back by a longer one.
    group.sweep(change.now);
    modify("Target group", &mut group.attributes, params)
}

pub(super) fn modify_load_balancer(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("LoadBalancerArn")?;
    let load_balancer = checks::load_balancer_mut(change.region, arn)?;
    modify("Load balancer", &mut load_balancer.attributes, params)
}

fn modify(what: &str, attributes: &mut BTreeMap<String, String>, params: &Node<'_>) -> Reply {
    let asked = params.list("Attributes");
    if asked.is_empty() {
        return Err(AwsError::missing("Attributes"));
    }
    let mut checked = Vec::new();
    for attribute in asked {
        let (key, value) = (
            attribute.required("Key")?,
            attribute.text("Value").unwrap_or_default(),
        );
        if !attributes.contains_key(key) {
            return Err(AwsError::validation(format!(
                "{what} attribute key '{key}' is not recognized"
            )));
        }
        if !is_valid(key, value) {
            let message = format!("{what} attribute value '{value}' for key '{key}' is not valid");
            return Err(AwsError::validation(message));
        }
        checked.push((key.to_owned(), value.to_owned()));
    }
    attributes.extend(checked);
    Ok(document(attributes))
}

pub(crate) fn is_valid(key: &str, value: &str) -> bool {
    const NUMBERS: [(&str, RangeInclusive<u32>); 7] = [
        ("deregistration_delay.timeout_seconds", 0..=3600),
        ("slow_start.duration_seconds", 0..=900),
        ("stickiness.lb_cookie.duration_seconds", 1..=604_800),
        ("stickiness.app_cookie.duration_seconds", 1..=604_800),
        (
            "target_health_state.unhealthy.draining_interval_seconds",
            0..=360_000,
        ),
        ("idle_timeout.timeout_seconds", 1..=4000),
        ("client_keep_alive.seconds", 60..=604_800),
    ];
    if let Some((_, range)) = NUMBERS.iter().find(|(name, _)| *name == key) {
        value.parse().is_ok_and(|number| range.contains(&number))
    } else if key == "load_balancing.cross_zone.enabled" {
        matches!(value, "true" | "false" | "use_load_balancer_configuration")
    } else if key.ends_with(".enabled") {
        matches!(value, "true" | "false")
    } else if key.ends_with("healthy_targets.percentage") || key.ends_with("healthy_targets.count") {
        value == "off" || value.parse().is_ok_and(|number: u32| number >= 1)
    } else {
        true
    }
}

fn document(attributes: &BTreeMap<String, String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("Attributes", "member", attributes, |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
    xml
}
