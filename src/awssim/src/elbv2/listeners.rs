//! Listeners, and what they make of the target groups that they forward to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    checks,
    model::{Action, Kind, Listener, ListenerSpec, Protocol, WeightedGroup},
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
    let arn = params.required("LoadBalancerArn")?;
    let load_balancer = checks::load_balancer(change.region, arn)?;
    let kind = load_balancer.spec.kind;
    let protocol = params.required("Protocol")?;
    let protocol = protocol_of(kind, protocol)?;
    let spec = ListenerSpec {
        load_balancer: arn.to_owned(),
        port: checks::port(params, "Port")?.ok_or_else(|| AwsError::missing("Port"))?,
        protocol,
        certificate: certificate(params, protocol)?,
        ssl_policy: ssl_policy(params, protocol),
        alpn_policy: params
            .texts("AlpnPolicy")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        actions: actions(params)?.ok_or_else(|| AwsError::missing("DefaultActions"))?,
    };
    let tags = tags::read(params, change.settings)?;
    check_groups(&change.view(), &spec, kind)?;
    let on_load_balancer = || {
        change
            .region
            .listeners
            .values()
            .filter(|other| other.spec.load_balancer == arn)
    };
    if let Some(present) = on_load_balancer().find(|other| other.spec.port == spec.port) {
        return if present.spec == spec {
            Ok(document([present.as_ref()], None))
        } else {
            let message = format!("A listener already exists on port {} for '{arn}'", spec.port);
            Err(AwsError::new("DuplicateListener", message))
        };
    }
    if on_load_balancer().count() >= change.settings.quotas.listeners_per_load_balancer {
        return Err(AwsError::new(
            "TooManyListeners",
            format!("You've reached the limit on the number of listeners for '{arn}'"),
        ));
    }
    let listener = Arc::new(Listener {
        arn: listener_arn(arn, &change.ids.elb()),
        spec,
        tags,
    });
    let result = document([listener.as_ref()], None);
    change.region.listeners.insert(listener.arn.clone(), listener);
    refresh_use(change.region, change.now);
    Ok(result)
}

pub(crate) fn listener_arn(load_balancer: &str, id: &str) -> String {
    format!(
        "{}/{id}",
        load_balancer.replacen(":loadbalancer/", ":listener/", 1)
    )
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let region = view.region;
    let arns = params.texts("ListenerArns");
    let mut found: Vec<&Arc<Listener>> = if !arns.is_empty() {
        arns.into_iter()
            .map(|arn| checks::listener(region, arn))
            .collect::<Result<_, _>>()?
    } else if let Some(arn) = params.text("LoadBalancerArn") {
        checks::load_balancer(region, arn)?;
        region
            .listeners
            .values()
            .filter(|listener| listener.spec.load_balancer == arn)
            .collect()
    } else {
        return Err(AwsError::validation(
            "Either listener ARNs or a load balancer ARN must be specified",
        ));
    };
    found.sort_by(|a, b| a.arn.cmp(&b.arn));
    let items = found
        .into_iter()
        .map(|listener| (listener.arn.as_str(), listener));
    let (listeners, next) = page(view, params, "Listeners", items)?;
    Ok(document(listeners.into_iter().map(Arc::as_ref), next))
}

pub(super) fn modify(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("ListenerArn")?;
    let present = checks::listener(change.region, arn)?;
    let kind = checks::load_balancer(change.region, &present.spec.load_balancer)?
        .spec
        .kind;
    let mut spec = present.spec.clone();
    if let Some(port) = checks::port(params, "Port")? {
        let taken = change.region.listeners.values().any(|other| {
            other.arn != arn && other.spec.load_balancer == spec.load_balancer && other.spec.port == port
        });
        if taken {
            let message = format!(
                "A listener already exists on port {port} for '{}'",
                spec.load_balancer
            );
            return Err(AwsError::new("DuplicateListener", message));
        }
        spec.port = port;
    }
    if let Some(protocol) = params.text("Protocol") {
        spec.protocol = protocol_of(kind, protocol)?;
    }
    if !spec.protocol.is_encrypted() {
        (spec.certificate, spec.ssl_policy) = (None, None);
    } else if params.has("Certificates") || spec.certificate.is_none() {
        spec.certificate = certificate(params, spec.protocol)?;
        spec.ssl_policy = ssl_policy(params, spec.protocol);
    }
    if let Some(actions) = actions(params)? {
        spec.actions = actions;
    }
    check_groups(&change.view(), &spec, kind)?;
    let listener = change
        .region
        .listeners
        .get_mut(arn)
        .expect("found above, under the same lock");
    Arc::make_mut(listener).spec = spec;
    let result = document([listener.as_ref()], None);
    refresh_use(change.region, change.now);
    Ok(result)
}

pub(super) fn delete(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let arn = params.required("ListenerArn")?;
    checks::listener(change.region, arn)?;
    change.region.listeners.remove(arn);
    refresh_use(change.region, change.now);
    Ok(Xml::new())
}

/// Brings both sides of "listener forwards to group" up to date. A group that comes into use starts its targets'
/// health from the beginning.
pub(crate) fn refresh_use(region: &mut Region, now: Timestamp) {
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for listener in region.listeners.values() {
        for group in listener.target_groups() {
            users
                .entry(group)
                .or_default()
                .insert(listener.spec.load_balancer.clone());
            groups
                .entry(&listener.spec.load_balancer)
                .or_default()
                .insert(group.to_owned());
        }
    }
    for (arn, load_balancer) in &mut region.load_balancers {
        let target_groups = groups.remove(arn.as_str()).unwrap_or_default();
        if load_balancer.target_groups != target_groups {
            Arc::make_mut(load_balancer).target_groups = target_groups;
        }
    }
    for (arn, group) in &mut region.target_groups {
        let load_balancers = users.remove(arn.as_str()).unwrap_or_default();
        if group.load_balancers == load_balancers {
            continue;
        }
        let group = Arc::make_mut(group);
        group.in_use_since = if load_balancers.is_empty() {
            None
        } else {
            group.in_use_since.or(Some(now))
        };
        group.load_balancers = load_balancers;
    }
}

fn protocol_of(kind: Kind, text: &str) -> Result<Protocol, AwsError> {
    let protocol = text
        .parse()
        .ok()
        .filter(|protocol: &Protocol| protocol.kind() == kind);
    protocol.ok_or_else(|| {
        let message = format!(
            "Protocol '{text}' is not supported by a load balancer of type '{}'",
            kind.as_str()
        );
        AwsError::new("UnsupportedProtocol", message)
    })
}

fn certificate(params: &Node<'_>, protocol: Protocol) -> Result<Option<String>, AwsError> {
    let given = params
        .list("Certificates")
        .first()
        .and_then(|each| each.text("CertificateArn"));
    match (given, protocol.is_encrypted()) {
        (None, true) => Err(AwsError::validation(format!(
            "A certificate must be specified for {} listeners",
            protocol.as_str()
        ))),
        (Some(_), false) => Err(AwsError::validation(format!(
            "Certificates cannot be specified for {} listeners",
            protocol.as_str()
        ))),
        (Some(arn), true) if !arn.starts_with("arn:") => Err(AwsError::new(
            "CertificateNotFound",
            format!("Certificate '{arn}' not found"),
        )),
        (given, _) => Ok(given.map(str::to_owned)),
    }
}

fn ssl_policy(params: &Node<'_>, protocol: Protocol) -> Option<String> {
    let default = "ELBSecurityPolicy-TLS13-1-2-2021-06";
    protocol
        .is_encrypted()
        .then(|| params.text("SslPolicy").unwrap_or(default).to_owned())
}

fn actions(params: &Node<'_>) -> Result<Option<Vec<Action>>, AwsError> {
    let actions = params.list("DefaultActions");
    if actions.is_empty() {
        return Ok(None);
    }
    actions
        .into_iter()
        .map(action)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn action(params: &Node<'_>) -> Result<Action, AwsError> {
    match params.required("Type")? {
        "forward" => forward(params),
        "fixed-response" => {
            let config = params
                .child("FixedResponseConfig")
                .ok_or_else(|| AwsError::missing("FixedResponseConfig"))?;
            Ok(Action::FixedResponse {
                status: config.required("StatusCode")?.to_owned(),
                content_type: config.text("ContentType").map(str::to_owned),
                body: config.text("MessageBody").map(str::to_owned),
            })
        }
        "redirect" => {
            let config = params
                .child("RedirectConfig")
                .ok_or_else(|| AwsError::missing("RedirectConfig"))?;
            config.required("StatusCode")?;
            let defaults = [
                ("Protocol", "#{protocol}"),
                ("Port", "#{port}"),
                ("Host", "#{host}"),
                ("Path", "/#{path}"),
                ("Query", "#{query}"),
            ];
            let mut fields: BTreeMap<String, String> = defaults
                .iter()
                .map(|(name, default)| {
                    (
                        (*name).to_owned(),
                        config.text(name).unwrap_or(default).to_owned(),
                    )
                })
                .collect();
            fields.insert("StatusCode".to_owned(), config.required("StatusCode")?.to_owned());
            Ok(Action::Redirect(fields))
        }
        other => Err(AwsError::new(
            "InvalidLoadBalancerAction",
            format!("Actions of type '{other}' are not simulated"),
        )),
    }
}

fn forward(params: &Node<'_>) -> Result<Action, AwsError> {
    let config = params.child("ForwardConfig");
    let mut target_groups = Vec::new();
    for group in config
        .map(|config| config.list("TargetGroups"))
        .unwrap_or_default()
    {
        let weight = checks::up_to(group, "Weight", 999)?.unwrap_or(1);
        target_groups.push(WeightedGroup {
            arn: group.required("TargetGroupArn")?.to_owned(),
            weight,
        });
    }
    match params.text("TargetGroupArn") {
        Some(arn) if target_groups.is_empty() => {
            target_groups.push(WeightedGroup {
                arn: arn.to_owned(),
                weight: 1,
            });
        }
        Some(arn) if target_groups.iter().any(|group| group.arn != arn) => {
            return Err(AwsError::validation(
                "TargetGroupArn and ForwardConfig must name the same target group",
            ));
        }
        _ => {}
    }
    if target_groups.is_empty() {
        return Err(AwsError::validation("A forward action must name a target group"));
    }
    let stickiness = config.and_then(|config| config.child("TargetGroupStickinessConfig"));
    let stickiness = match stickiness {
        Some(config) if config.boolean("Enabled")? == Some(true) => {
            Some(config.parsed::<u32>("DurationSeconds")?.unwrap_or(3600))
        }
        _ => None,
    };
    Ok(Action::Forward {
        target_groups,
        stickiness,
    })
}

fn check_groups(view: &View<'_>, spec: &ListenerSpec, kind: Kind) -> Result<(), AwsError> {
    if spec.actions.len() > 1 {
        return Err(AwsError::new(
            "TooManyActions",
            "A listener takes one final action",
        ));
    }
    let quotas = &view.settings.quotas;
    let load_balancer = checks::load_balancer(view.region, &spec.load_balancer)?;
    for action in &spec.actions {
        if !matches!(action, Action::Forward { .. }) && kind != Kind::Application {
            return Err(AwsError::new(
                "InvalidLoadBalancerAction",
                format!("A load balancer of type '{}' can only forward", kind.as_str()),
            ));
        }
        if action.target_groups().count() > quotas.target_groups_per_action {
            return Err(AwsError::new(
                "TooManyTargetGroups",
                "You've reached the limit on the number of target groups in an action",
            ));
        }
        for arn in action.target_groups() {
            let group = checks::target_group(view.region, arn)?;
            if group.spec.protocol.kind() != kind {
                return Err(AwsError::new(
                    "IncompatibleProtocols",
                    format!(
                        "The protocols of '{arn}' and of the load balancer's listener are not compatible"
                    ),
                ));
            }
            if group.spec.vpc != load_balancer.vpc {
                return Err(AwsError::new(
                    "InvalidConfigurationRequest",
                    format!("'{arn}' is in another VPC than the load balancer"),
                ));
            }
            let others = group
                .load_balancers
                .iter()
                .filter(|other| **other != spec.load_balancer)
                .count();
            if others >= quotas.load_balancers_per_target_group {
                return Err(AwsError::new(
                    "TargetGroupAssociationLimit",
                    format!(
                        "Target group '{arn}' cannot be associated with more than {others} load balancer(s)"
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn document<'a>(listeners: impl IntoIterator<Item = &'a Listener>, next: Option<String>) -> Xml {
    let mut xml = Xml::new();
    xml.list("Listeners", "member", listeners, write);
    xml.maybe("NextMarker", next);
    xml
}

fn write(xml: &mut Xml, listener: &Listener) {
    let spec = &listener.spec;
    xml.text("ListenerArn", &listener.arn);
    xml.text("LoadBalancerArn", &spec.load_balancer);
    xml.text("Port", spec.port);
    xml.text("Protocol", spec.protocol.as_str());
    xml.list("Certificates", "member", &spec.certificate, |xml, arn| {
        xml.text("CertificateArn", arn);
    });
    xml.maybe("SslPolicy", spec.ssl_policy.as_ref());
    let ordered = spec.actions.iter().zip(1..);
    xml.list("DefaultActions", "member", ordered, |xml, (action, order)| {
        write_action(xml, action);
        if spec.actions.len() > 1 {
            xml.text("Order", order);
        }
    });
    if !spec.alpn_policy.is_empty() {
        xml.texts("AlpnPolicy", "member", &spec.alpn_policy);
    }
}

fn write_action(xml: &mut Xml, action: &Action) {
    match action {
        Action::Forward {
            target_groups,
            stickiness,
        } => {
            xml.text("Type", "forward");
            if let [only] = target_groups.as_slice() {
                xml.text("TargetGroupArn", &only.arn);
            }
            xml.within("ForwardConfig", |xml| {
                xml.list("TargetGroups", "member", target_groups, |xml, group| {
                    xml.text("TargetGroupArn", &group.arn);
                    xml.text("Weight", group.weight);
                });
                xml.within("TargetGroupStickinessConfig", |xml| {
                    xml.text("Enabled", stickiness.is_some());
                    xml.maybe("DurationSeconds", *stickiness);
                });
            });
        }
        Action::FixedResponse {
            status,
            content_type,
            body,
        } => {
            xml.text("Type", "fixed-response");
            xml.within("FixedResponseConfig", |xml| {
                xml.maybe("MessageBody", body.as_ref());
                xml.text("StatusCode", status);
                xml.maybe("ContentType", content_type.as_ref());
            });
        }
        Action::Redirect(fields) => {
            xml.text("Type", "redirect");
            xml.within("RedirectConfig", |xml| {
                for (name, value) in fields {
                    xml.text(name, value);
                }
            });
        }
    }
}
