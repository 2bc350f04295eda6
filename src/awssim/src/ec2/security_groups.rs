//! Security groups; their rules are in `rules`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    filters::Filters,
    model::{Peer, Rule, SecurityGroup},
    page, rules, tags, vpcs,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Region, View},
    xml::Xml,
};

pub(super) fn create(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let (name, description) = (
        params.required("GroupName")?,
        params.required("GroupDescription")?,
    );
    let region = &change.region;
    let vpc = match params.text("VpcId") {
        Some(id) => region.vpcs.get(id).ok_or_else(|| vpcs::not_found(id))?,
        None => region
            .vpcs
            .values()
            .find(|vpc| vpc.is_default)
            .ok_or_else(|| AwsError::new("VPCIdNotSpecified", "No default VPC for this user"))?,
    };
    if name.starts_with("sg-") {
        return Err(AwsError::malformed("groupName", name));
    }
    if region
        .security_groups
        .values()
        .any(|group| group.vpc == vpc.id && group.name == name)
    {
        let message = format!("The security group '{name}' already exists for VPC '{}'", vpc.id);
        return Err(AwsError::new("InvalidGroup.Duplicate", message));
    }
    let vpc = vpc.id.clone();
    let group = SecurityGroup {
        id: change.ids.ec2("sg"),
        name: name.to_owned(),
        description: description.to_owned(),
        vpc,
        rules: rules::default_egress(change.ids),
        tags: tags::specified(params, "security-group"),
    };
    let mut xml = Xml::new();
    xml.text("groupId", &group.id);
    xml.text("securityGroupArn", arn(change.region, &group));
    tags::write(&mut xml, &group.tags);
    change
        .region
        .security_groups
        .insert(group.id.clone(), Arc::new(group));
    Ok(xml)
}

pub(super) fn delete(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let id = params.required("GroupId")?;
    find(change.region, id)?;
    let region = &change.region;
    let named_by_rule = region
        .security_groups
        .values()
        .filter(|group| group.id != id)
        .any(|group| {
            group
                .rules
                .values()
                .any(|rule| matches!(&rule.matches.peer, Peer::Group { id: peer, .. } if peer == id))
        });
    let is_id = |each: &String| each == id;
    let in_use = named_by_rule
        || region
            .load_balancers
            .values()
            .any(|each| each.spec.security_groups.contains(id))
        || region
            .interfaces
            .values()
            .any(|each| each.security_groups.iter().any(is_id));
    if in_use {
        let message = format!("resource {id} has a dependent object");
        return Err(AwsError::new("DependencyViolation", message));
    }
    change.region.security_groups.remove(id);
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.text("groupId", id);
    Ok(xml)
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let (ids, names) = (params.texts("GroupId"), params.texts("GroupName"));
    for id in &ids {
        find(view.region, id)?;
    }
    let filters = Filters::read(
        params,
        &["group-id", "group-name", "vpc-id", "description", "owner-id"],
    )?;
    let wanted = view.region.security_groups.values().filter(|group| {
        (ids.is_empty() || ids.contains(&group.id.as_str()))
            && (names.is_empty() || names.contains(&group.name.as_str()))
            && filters.matches(&group.tags, |field| {
                vec![match field {
                    "group-id" => group.id.clone(),
                    "group-name" => group.name.clone(),
                    "vpc-id" => group.vpc.clone(),
                    "description" => group.description.clone(),
                    _ => view.region.place.account.clone(),
                }]
            })
    });
    let (groups, next) = page(
        view,
        params,
        "SecurityGroups",
        wanted.map(|group| (group.id.as_str(), group)),
    )?;
    let mut xml = Xml::new();
    xml.list("securityGroupInfo", "item", groups, |xml, group| {
        write(xml, view.region, group);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

pub(super) fn find<'a>(region: &'a Region, id: &str) -> Result<&'a Arc<SecurityGroup>, AwsError> {
    let digits = id.strip_prefix("sg-").unwrap_or_default();
    if digits.is_empty()
        || !digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(AwsError::new(
            "InvalidGroupId.Malformed",
            format!("Invalid id: \"{id}\""),
        ));
    }
    let not_found = || {
        AwsError::new(
            "InvalidGroup.NotFound",
            format!("The security group '{id}' does not exist"),
        )
    };
    region.security_groups.get(id).ok_or_else(not_found)
}

fn arn(region: &Region, group: &SecurityGroup) -> String {
    region
        .place
        .arn("ec2", format_args!("security-group/{}", group.id))
}

fn write(xml: &mut Xml, region: &Region, group: &SecurityGroup) {
    xml.text("ownerId", &region.place.account);
    xml.text("groupId", &group.id);
    xml.text("securityGroupArn", arn(region, group));
    xml.text("groupName", &group.name);
    xml.text("groupDescription", &group.description);
    xml.text("vpcId", &group.vpc);
    write_permissions(
        xml,
        "ipPermissions",
        group.rules.values().filter(|rule| !rule.egress),
    );
    write_permissions(
        xml,
        "ipPermissionsEgress",
        group.rules.values().filter(|rule| rule.egress),
    );
    tags::write(xml, &group.tags);
}

/// Rules of one protocol and port range are one permission.
fn write_permissions<'a>(xml: &mut Xml, name: &str, rules: impl Iterator<Item = &'a Rule>) {
    let mut permissions: BTreeMap<_, Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        permissions
            .entry((&rule.matches.protocol, rule.matches.ports))
            .or_default()
            .push(rule);
    }
    xml.list(name, "item", permissions, |xml, ((protocol, ports), rules)| {
        xml.text("ipProtocol", protocol);
        xml.maybe("fromPort", ports.map(|(from, _)| from));
        xml.maybe("toPort", ports.map(|(_, to)| to));
        rules::write_peers(
            xml,
            rules
                .iter()
                .map(|rule| (&rule.matches.peer, rule.description.as_deref())),
        );
    });
}
