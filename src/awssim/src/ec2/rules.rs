//! The rules of security groups: authorize, revoke by id or by what they match, describe.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{
    filters::Filters,
    model::{Peer, Rule, RuleMatch, SecurityGroup, Tags, parse},
    page, security_groups, tags,
};
use crate::{
    action::Reply,
    error::AwsError,
    query::Node,
    world::{Change, Ids, Region, View},
    xml::Xml,
};

pub(super) fn authorize_ingress(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let group = security_groups::find(change.region, params.required("GroupId")?)?;
    let asked = permissions(change.region, params)?;
    for (index, (rule, _)) in asked.iter().enumerate() {
        let twice = asked[..index].iter().any(|(other, _)| other == rule);
        if twice || ingress(group).any(|present| present.matches == *rule) {
            let message = format!("the specified rule \"{}\" already exists", words(rule));
            return Err(AwsError::new("InvalidPermission.Duplicate", message));
        }
        if let Peer::Group { id, .. } = &rule.peer {
            security_groups::find(change.region, id)?;
        }
    }
    if ingress(group).count() + asked.len() > change.settings.quotas.rules_per_security_group {
        return Err(AwsError::new(
            "RulesPerSecurityGroupLimitExceeded",
            "The maximum number of rules per security group has been reached.",
        ));
    }
    let tags = tags::specified(params, "security-group-rule");
    let id = group.id.clone();
    let added: Vec<Rule> = asked
        .into_iter()
        .map(|(matches, description)| Rule {
            id: change.ids.ec2("sgr"),
            egress: false,
            matches,
            description,
            tags: tags.clone(),
        })
        .collect();
    let mut xml = Xml::new();
    xml.text("return", true);
    xml.list("securityGroupRuleSet", "item", &added, |xml, rule| {
        write(xml, change.region, &id, rule);
    });
    group_mut(change.region, &id)
        .rules
        .extend(added.into_iter().map(|rule| (rule.id.clone(), rule)));
    Ok(xml)
}

pub(super) fn revoke_ingress(change: &mut Change<'_>, params: &Node<'_>) -> Reply {
    let group = security_groups::find(change.region, params.required("GroupId")?)?;
    let ids = params.texts("SecurityGroupRuleId");
    let mut found: Vec<Rule> = Vec::new();
    let mut unknown = Vec::new();
    for id in &ids {
        let rule = group.rules.get(*id).filter(|rule| !rule.egress).ok_or_else(|| {
            let message = format!("The security group rule ID '{id}' does not exist");
            AwsError::new("InvalidSecurityGroupRuleId.NotFound", message)
        })?;
        found.push(rule.clone());
    }
    if ids.is_empty() {
        for (wanted, _) in permissions(change.region, params)? {
            match ingress(group).find(|rule| rule.matches == wanted) {
                Some(rule) => found.push(rule.clone()),
                None => unknown.push(wanted),
            }
        }
    }
    let in_default_vpc = change
        .region
        .vpcs
        .get(&group.vpc)
        .is_some_and(|vpc| vpc.is_default);
    if !unknown.is_empty() && !in_default_vpc {
        let message = "The specified rule does not exist in this security group.";
        return Err(AwsError::new("InvalidPermission.NotFound", message));
    }
    let mut xml = Xml::new();
    xml.text("return", true);
    if !unknown.is_empty() {
        xml.list("unknownIpPermissionSet", "item", &unknown, |xml, rule| {
            write_ports(xml, rule);
            write_peers(xml, [(&rule.peer, None)].into_iter());
        });
    }
    xml.list("revokedSecurityGroupRuleSet", "item", &found, |xml, rule| {
        write_revoked(xml, &group.id, rule);
    });
    let id = group.id.clone();
    let group = group_mut(change.region, &id);
    for rule in found {
        group.rules.remove(&rule.id);
    }
    Ok(xml)
}

pub(super) fn describe(view: &View<'_>, params: &Node<'_>) -> Reply {
    let ids = params.texts("SecurityGroupRuleId");
    let filters = Filters::read(params, &["group-id", "security-group-rule-id"])?;
    let mut found = BTreeMap::new();
    for (group, rule) in view
        .region
        .security_groups
        .values()
        .flat_map(|group| group.rules.values().map(move |rule| (&group.id, rule)))
    {
        let wanted = (ids.is_empty() || ids.contains(&rule.id.as_str()))
            && filters.matches(&rule.tags, |field| {
                vec![if field == "group-id" {
                    group.clone()
                } else {
                    rule.id.clone()
                }]
            });
        if wanted {
            found.insert(rule.id.as_str(), (group, rule));
        }
    }
    if let Some(id) = ids.iter().find(|id| {
        !view
            .region
            .security_groups
            .values()
            .any(|g| g.rules.contains_key(**id))
    }) {
        let message = format!("The security group rule ID '{id}' does not exist");
        return Err(AwsError::new("InvalidSecurityGroupRuleId.NotFound", message));
    }
    let (rules, next) = page(view, params, "SecurityGroupRules", found)?;
    let mut xml = Xml::new();
    xml.list("securityGroupRuleSet", "item", rules, |xml, (group, rule)| {
        write(xml, view.region, group, rule);
    });
    xml.maybe("nextToken", next);
    Ok(xml)
}

/// A new group lets everything out.
pub(crate) fn default_egress(ids: &mut Ids) -> BTreeMap<String, Rule> {
    let matches = RuleMatch {
        protocol: "-1".to_owned(),
        ports: None,
        peer: Peer::V4("0.0.0.0/0".to_owned()),
    };
    let rule = Rule {
        id: ids.ec2("sgr"),
        egress: true,
        matches,
        description: None,
        tags: Tags::new(),
    };
    BTreeMap::from([(rule.id.clone(), rule)])
}

fn ingress(group: &SecurityGroup) -> impl Iterator<Item = &Rule> {
    group.rules.values().filter(|rule| !rule.egress)
}

fn group_mut<'a>(region: &'a mut Region, id: &str) -> &'a mut SecurityGroup {
    let group = region
        .security_groups
        .get_mut(id)
        .expect("found above, under the same lock");
    Arc::make_mut(group)
}

/// One rule per source, from `IpPermissions` or from the flat parameters.
fn permissions(region: &Region, params: &Node<'_>) -> Result<Vec<(RuleMatch, Option<String>)>, AwsError> {
    let listed = params.list("IpPermissions");
    let mut rules = Vec::new();
    if listed.is_empty() {
        let (protocol, ports) = protocol_and_ports(params)?;
        let cidr = params.required("CidrIp")?;
        rules.push((
            RuleMatch {
                protocol,
                ports,
                peer: v4(cidr)?,
            },
            None,
        ));
    }
    for permission in listed {
        let (protocol, ports) = protocol_and_ports(permission)?;
        let mut peers = Vec::new();
        for range in permission.list("IpRanges") {
            peers.push((v4(range.required("CidrIp")?)?, range));
        }
        for range in permission.list("Ipv6Ranges") {
            let text = range.required("CidrIpv6")?;
            let net: Ipv6Net = parse("CidrIpv6", text)?;
            peers.push((Peer::V6(net.trunc().to_string()), range));
        }
        for list in permission.list("PrefixListIds") {
            peers.push((Peer::PrefixList(list.required("PrefixListId")?.to_owned()), list));
        }
        for pair in permission
            .list("Groups")
            .into_iter()
            .chain(permission.list("UserIdGroupPairs"))
        {
            let owner = pair.text("UserId").unwrap_or(&region.place.account).to_owned();
            peers.push((
                Peer::Group {
                    id: pair.required("GroupId")?.to_owned(),
                    owner,
                },
                pair,
            ));
        }
        if peers.is_empty() {
            return Err(AwsError::missing("IpPermissions.N.IpRanges"));
        }
        for (peer, node) in peers {
            let description = node.text("Description").map(str::to_owned);
            rules.push((
                RuleMatch {
                    protocol: protocol.clone(),
                    ports,
                    peer,
                },
                description,
            ));
        }
    }
    Ok(rules)
}

fn v4(text: &str) -> Result<Peer, AwsError> {
    let invalid = || AwsError::malformed("CidrIp", text);
    let net: Ipv4Net = text.parse().map_err(|_| invalid())?;
    if net.trunc() == net {
        Ok(Peer::V4(net.to_string()))
    } else {
        Err(invalid())
    }
}

fn protocol_and_ports(node: &Node<'_>) -> Result<(String, Option<(i32, i32)>), AwsError> {
    let protocol = match node.required("IpProtocol")?.to_ascii_lowercase().as_str() {
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "1" => "icmp".to_owned(),
        "58" => "icmpv6".to_owned(),
        "all" => "-1".to_owned(),
        other => other.to_owned(),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "icmp" | "icmpv6") {
        return Ok((protocol, None));
    }
    let from = node
        .parsed::<i32>("FromPort")?
        .ok_or_else(|| AwsError::missing("FromPort"))?;
    let to = node
        .parsed::<i32>("ToPort")?
        .ok_or_else(|| AwsError::missing("ToPort"))?;
    if protocol.starts_with("icmp") || (0..=65535).contains(&from) && (from..=65535).contains(&to) {
        return Ok((protocol, Some((from, to))));
    }
    let message = format!("Invalid TCP/UDP port range ({from}:{to})");
    Err(AwsError::new("InvalidParameterValue", message))
}

fn words(rule: &RuleMatch) -> String {
    let peer = match &rule.peer {
        Peer::V4(text) | Peer::V6(text) | Peer::PrefixList(text) | Peer::Group { id: text, .. } => text,
    };
    let ports = rule.ports.map_or_else(
        || "ALL".to_owned(),
        |(from, to)| format!("from port: {from}, to port: {to}"),
    );
    format!("peer: {peer}, {}, {ports}, ALLOW", rule.protocol.to_uppercase())
}

fn write_ports(xml: &mut Xml, rule: &RuleMatch) {
    xml.text("ipProtocol", &rule.protocol);
    xml.maybe("fromPort", rule.ports.map(|(from, _)| from));
    xml.maybe("toPort", rule.ports.map(|(_, to)| to));
}

/// The sources of one permission, by kind, as DescribeSecurityGroups has them.
pub(super) fn write_peers<'a>(
    xml: &mut Xml,
    peers: impl Iterator<Item = (&'a Peer, Option<&'a str>)> + Clone,
) {
    let mut kind = |list: &str, name: &str, of: fn(&Peer) -> Option<&str>| {
        let texts = peers
            .clone()
            .filter_map(|(peer, description)| Some((of(peer)?, description)));
        xml.list(list, "item", texts, |xml, (text, description)| {
            xml.text(name, text);
            xml.maybe("description", description);
        });
    };
    kind("ipRanges", "cidrIp", |peer| {
        if let Peer::V4(cidr) = peer {
            Some(cidr)
        } else {
            None
        }
    });
    kind("ipv6Ranges", "cidrIpv6", |peer| {
        if let Peer::V6(cidr) = peer {
            Some(cidr)
        } else {
            None
        }
    });
    kind("prefixListIds", "prefixListId", |peer| {
        if let Peer::PrefixList(id) = peer {
            Some(id)
        } else {
            None
        }
    });
    let groups = peers.filter_map(|(peer, description)| match peer {
        Peer::Group { id, owner } => Some((id, owner, description)),
        Peer::V4(_) | Peer::V6(_) | Peer::PrefixList(_) => None,
    });
    xml.list("groups", "item", groups, |xml, (id, owner, description)| {
        xml.text("groupId", id);
        xml.text("userId", owner);
        xml.maybe("description", description);
    });
}

fn write(xml: &mut Xml, region: &Region, group: &str, rule: &Rule) {
    let place = &region.place;
    xml.text("securityGroupRuleId", &rule.id);
    xml.text(
        "securityGroupRuleArn",
        place.arn("ec2", format_args!("security-group-rule/{}", rule.id)),
    );
    xml.text("groupId", group);
    xml.text("groupOwnerId", &place.account);
    xml.text("isEgress", rule.egress);
    write_rule_ports(xml, rule);
    if let Peer::Group { id, owner } = &rule.matches.peer {
        xml.within("referencedGroupInfo", |xml| {
            xml.text("groupId", id);
            xml.text("userId", owner);
        });
    }
    write_address(xml, rule);
    tags::write(xml, &rule.tags);
}

fn write_revoked(xml: &mut Xml, group: &str, rule: &Rule) {
    xml.text("securityGroupRuleId", &rule.id);
    xml.text("groupId", group);
    xml.text("isEgress", rule.egress);
    write_rule_ports(xml, rule);
    if let Peer::Group { id, .. } = &rule.matches.peer {
        xml.text("referencedGroupId", id);
    }
    write_address(xml, rule);
}

/// Unlike permissions, a rule shows -1 for the ports of all protocols.
fn write_rule_ports(xml: &mut Xml, rule: &Rule) {
    let (from, to) = rule.matches.ports.unwrap_or((-1, -1));
    xml.text("ipProtocol", &rule.matches.protocol);
    xml.text("fromPort", from);
    xml.text("toPort", to);
}

fn write_address(xml: &mut Xml, rule: &Rule) {
    match &rule.matches.peer {
        Peer::V4(cidr) => xml.text("cidrIpv4", cidr),
        Peer::V6(cidr) => xml.text("cidrIpv6", cidr),
        Peer::PrefixList(id) => xml.text("prefixListId", id),
        Peer::Group { .. } => {}
    }
    xml.maybe("description", rule.description.as_ref());
}
