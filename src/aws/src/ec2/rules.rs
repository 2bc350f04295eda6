//! The ingress rules of a security group: DescribeSecurityGroupRules, AuthorizeSecurityGroupIngress, and
//! RevokeSecurityGroupIngress by rule id alone, which can hit nothing else.

use std::{collections::BTreeMap, collections::VecDeque};

use aws_sdk_ec2::{
    Client,
    types::{
        IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroupRule, Tag, TagSpecification,
        UserIdGroupPair,
    },
};
use aws_types::request_id::RequestId;
use ipnet::IpNet;
use model::{
    Observed, SecurityGroupId,
    binding::Peer,
    fact::Protocol,
    network::{INSTALLATION_TAG, ObservedRule, Permission, PortRange, SecurityGroupRuleId},
};
use tokio::time::Instant;

use super::filter;
use crate::{
    Certainty, Deadline, Error, ErrorClass, Failure, Receipt, RuleOutcome,
    budget::{Category, Permit},
    call::Caller,
    metrics::Action,
};

/// What is to be done to rules, each with what the call needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write<'a> {
    /// Make them, each with its description, all with these tags.
    Authorize(&'a BTreeMap<String, String>),
    Revoke,
}

/// A rule of a write: with the description of one to make, or the id of one to end.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) permission: Permission,
    /// The description, or the id.
    pub(crate) text: String,
}

impl Write<'_> {
    fn action(self) -> Action {
        match self {
            Self::Authorize(_) => Action::AuthorizeSecurityGroupIngress,
            Self::Revoke => Action::RevokeSecurityGroupIngress,
        }
    }
}

/// The group's ingress rules. A group that does not exist has none: AWS does not tell the two apart here.
pub(crate) async fn describe(
    caller: &Caller,
    client: &Client,
    group: &SecurityGroupId,
) -> Result<Observed<Vec<ObservedRule>>, Error> {
    const ACTION: Action = Action::DescribeSecurityGroupRules;
    let mut first_asked = None;
    let mut value = Vec::new();
    let mut next = None;
    loop {
        let request = client
            .describe_security_group_rules()
            .filters(filter("group-id", [group.to_string()]))
            .max_results(1000)
            .set_next_token(next);
        let (asked, answer) = caller
            .read(ACTION, Category::Ec2Describe, group.as_str(), || {
                request.clone().send()
            })
            .await?;
        let at = *first_asked.get_or_insert(asked);
        // The SDK's accessor gives an empty list where AWS gave none.
        let rules = answer
            .security_group_rules
            .ok_or_else(|| Error::answer(ACTION, "it has no list"))?;
        for rule in rules.iter().filter(|rule| rule.is_egress() != Some(true)) {
            value.push(observed(rule)?);
        }
        next = answer.next_token;
        if next.is_none() {
            return Ok(Observed::Present { at, value });
        }
    }
}

fn observed(rule: &SecurityGroupRule) -> Result<ObservedRule, Error> {
    let id = rule.security_group_rule_id().and_then(|id| id.parse().ok());
    let id =
        id.ok_or_else(|| Error::answer(Action::DescribeSecurityGroupRules, "a rule has no usable id"))?;
    let installation = rule.tags().iter().find(|tag| tag.key() == Some(INSTALLATION_TAG));
    Ok(ObservedRule {
        id,
        permission: permission(rule),
        installation: installation
            .and_then(Tag::value)
            .and_then(|value| value.parse().ok()),
    })
}

/// What the rule lets in, if it is of a kind that we make.
fn permission(rule: &SecurityGroupRule) -> Option<Permission> {
    let protocol = match rule.ip_protocol()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
    let ports = PortRange::new(port(rule.from_port())?, port(rule.to_port())?)?;
    let group = rule.referenced_group_info().and_then(|group| group.group_id());
    let peer = match (group, rule.cidr_ipv4().or(rule.cidr_ipv6())) {
        (Some(group), None) => Peer::SecurityGroup(group.parse().ok()?),
        (None, Some(block)) => Peer::Cidr(block.parse().ok()?),
        _ => return None,
    };
    Some(Permission {
        protocol,
        peer,
        ports,
    })
}

/// One write of any number of rules of a group.
pub(crate) struct Writer<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) client: &'a Client,
    pub(crate) group: &'a SecurityGroupId,
    pub(crate) write: Write<'a>,
    pub(crate) deadline: Deadline,
}

impl Writer<'_> {
    /// Writes all rules that AWS takes. A call that AWS refuses for one of its rules is halved until that one is alone.
    pub(crate) async fn all(&self, permit: Permit, lines: Vec<Line>) -> Vec<RuleOutcome> {
        let lane = permit.lane();
        let mut permit = Some(permit);
        let mut batches = VecDeque::from([lines]);
        let mut outcomes = Vec::new();
        while let Some(mut batch) = batches.pop_front() {
            if batch.is_empty() {
                continue;
            }
            let leave = if let Some(permit) = permit.take() {
                Ok(permit)
            } else {
                let (action, turn) = (self.write.action(), self.group.as_str());
                self.caller
                    .permit_before(self.deadline, action, Category::Ec2Mutating, lane, turn)
                    .await
            };
            let result = match leave {
                Ok(permit) => self.one(permit, &batch).await,
                Err(failure) => Err(failure),
            };
            match result {
                Ok(done) => outcomes.extend(done),
                // It has gone already.
                Err(failure) if self.is_gone(&failure) && batch.len() == 1 => {
                    outcomes.extend(revoked(&batch, failure.request_id.as_deref()));
                }
                Err(failure) if failure.class.is_about_rules() && batch.len() > 1 => {
                    let right = batch.split_off(batch.len() / 2);
                    batches.push_front(right);
                    batches.push_front(batch);
                }
                Err(failure) => {
                    if !failure.class.is_about_rules() {
                        // The next call would fail alike.
                        let untried = failure.untried();
                        outcomes.extend(refused(batches.drain(..).flatten(), &untried));
                    }
                    outcomes.extend(refused(batch, &failure));
                }
            }
        }
        outcomes
    }

    fn is_gone(&self, failure: &Failure) -> bool {
        matches!(self.write, Write::Revoke) && failure.class == ErrorClass::PartlyDone
    }

    async fn one(&self, permit: Permit, batch: &[Line]) -> Result<Vec<RuleOutcome>, Failure> {
        let action = self.write.action();
        let latest = self.deadline.latest_start(self.caller.attempt_timeout);
        if latest.is_none_or(|latest| Instant::now() > latest) {
            return Err(Failure::lease_expiring(action));
        }
        let result = match self.write {
            Write::Authorize(tags) => self.authorize(permit, batch, tags).await,
            Write::Revoke => self.revoke(permit, batch).await,
        };
        if let Err(failure) = &result
            && failure.certainty == Certainty::Ambiguous
        {
            tracing::warn!(security_group = %self.group, %action, rules = batch.len(), %failure, "a write has no known outcome");
        }
        result
    }

    async fn authorize(
        &self,
        permit: Permit,
        batch: &[Line],
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<RuleOutcome>, Failure> {
        let action = self.write.action();
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = self
            .client
            .authorize_security_group_ingress()
            .group_id(self.group.as_str())
            .set_ip_permissions(Some(batch.iter().map(ip_permission).collect()))
            .tag_specifications(
                TagSpecification::builder()
                    .resource_type(ResourceType::SecurityGroupRule)
                    .set_tags(Some(tags.collect()))
                    .build(),
            );
        let answer = self.caller.attempt(action, permit, 0, request.send()).await?;
        let request_id = answer.request_id().map(str::to_owned);
        let made: BTreeMap<_, SecurityGroupRuleId> = answer
            .security_group_rules()
            .iter()
            .filter_map(|rule| Some((permission(rule)?, rule.security_group_rule_id()?.parse().ok()?)))
            .collect();
        let outcome = |line: &Line| RuleOutcome {
            permission: line.permission.clone(),
            result: match made.get(&line.permission) {
                Some(id) => Ok((id.clone(), receipt(request_id.clone()))),
                None => Err(Failure::incomplete(action, request_id.clone())),
            },
        };
        Ok(batch.iter().map(outcome).collect())
    }

    async fn revoke(&self, permit: Permit, batch: &[Line]) -> Result<Vec<RuleOutcome>, Failure> {
        let request = self
            .client
            .revoke_security_group_ingress()
            .group_id(self.group.as_str())
            .set_security_group_rule_ids(Some(batch.iter().map(|line| line.text.clone()).collect()));
        let answer = self
            .caller
            .attempt(self.write.action(), permit, 0, request.send())
            .await?;
        Ok(revoked(batch, answer.request_id()))
    }
}

fn revoked(batch: &[Line], request_id: Option<&str>) -> Vec<RuleOutcome> {
    let outcome = |line: &Line| {
        let id = line.text.parse().expect("the line was made from a rule's id");
        RuleOutcome {
            permission: line.permission.clone(),
            result: Ok((id, receipt(request_id.map(str::to_owned)))),
        }
    };
    batch.iter().map(outcome).collect()
}

fn refused(lines: impl IntoIterator<Item = Line>, failure: &Failure) -> Vec<RuleOutcome> {
    lines
        .into_iter()
        .map(|line| RuleOutcome {
            permission: line.permission,
            result: Err(failure.clone()),
        })
        .collect()
}

fn receipt(request_id: Option<String>) -> Receipt {
    Receipt { request_id }
}

fn ip_permission(line: &Line) -> IpPermission {
    let Permission {
        protocol,
        peer,
        ports,
    } = &line.permission;
    let permission = IpPermission::builder()
        .ip_protocol(protocol.to_string().to_ascii_lowercase())
        .from_port(i32::from(ports.from()))
        .to_port(i32::from(ports.to()));
    let description = &line.text;
    match peer {
        Peer::Cidr(IpNet::V4(block)) => permission.ip_ranges(
            IpRange::builder()
                .cidr_ip(block.to_string())
                .description(description)
                .build(),
        ),
        Peer::Cidr(IpNet::V6(block)) => permission.ipv6_ranges(
            Ipv6Range::builder()
                .cidr_ipv6(block.to_string())
                .description(description)
                .build(),
        ),
        Peer::SecurityGroup(group) => permission.user_id_group_pairs(
            UserIdGroupPair::builder()
                .group_id(group.as_str())
                .description(description)
                .build(),
        ),
    }
    .build()
}
