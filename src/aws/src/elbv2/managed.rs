//! Target groups that are ours: what they are like, and the calls that make, change, tag and delete them.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{
        Matcher, ProtocolEnum, Tag, TargetGroup, TargetGroupAttribute, TargetGroupIpAddressTypeEnum,
        TargetTypeEnum,
    },
};
use aws_types::request_id::RequestId;
use model::{
    Observed, TargetGroupArn,
    managed::{Check, GroupStep, Identity, ManagedSpec, ObservedGroup, ProtocolVersion, Setting},
};
use tokio::time::Instant;

use crate::{
    Certainty, Deadline, Error, ErrorClass, Failure, Receipt,
    budget::{Category, Lane, Permit},
    call::Caller,
    elbv2::target_groups::facts,
    metrics::Action,
};

const DESCRIBE: Action = Action::DescribeTargetGroups;

/// Which group is meant.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// The one of this ARN.
    Arn(&'a TargetGroupArn),
    /// Whichever has this name.
    Name(&'a str),
}

/// Everything about a group, by three calls. `Absent` only if AWS says that it does not exist; `at` is when the first
/// question was sent.
pub(crate) async fn describe(
    caller: &Caller,
    client: &Client,
    lookup: Lookup<'_>,
) -> Result<Observed<ObservedGroup>, Error> {
    // Before the question as far as an absence goes, too.
    let asked = (caller.clock)();
    let request = client.describe_target_groups();
    let (request, turn) = match lookup {
        Lookup::Arn(arn) => (request.target_group_arns(arn.to_string()), arn.name()),
        Lookup::Name(name) => (request.names(name), name),
    };
    let answer = caller
        .read(DESCRIBE, Category::Describe, turn, || request.clone().send())
        .await;
    let (at, answer) = match answer {
        Ok(answer) => answer,
        Err(failure) if failure.class == ErrorClass::Vanished => return Ok(Observed::Absent { at: asked }),
        Err(failure) => return Err(failure.into()),
    };
    let group = answer
        .target_groups()
        .first()
        .ok_or_else(|| Error::answer(DESCRIBE, "it lists no group"))?;
    let arn: TargetGroupArn = group
        .target_group_arn()
        .and_then(|arn| arn.parse().ok())
        .ok_or_else(|| Error::answer(DESCRIBE, "a group has no usable ARN"))?;
    let mut settings = health_check(group);
    let described = async {
        settings.extend(attributes(caller, client, &arn).await?);
        settings.extend(tags(caller, client, &arn).await?);
        Ok(())
    };
    match described.await {
        Ok(()) => {}
        // It went between two questions.
        Err(Error::Read(failure)) if failure.class == ErrorClass::Vanished => {
            return Ok(Observed::Absent { at });
        }
        Err(error) => return Err(error),
    }
    Ok(Observed::Present {
        at,
        value: ObservedGroup {
            arn,
            identity: identity(group)?,
            load_balancers: group.load_balancer_arns().to_vec(),
            settings,
        },
    })
}

fn identity(group: &TargetGroup) -> Result<Identity, Error> {
    let facts = facts(group, None)?;
    let missing = |what: &str| Error::answer(DESCRIBE, format!("the group has no {what}"));
    Ok(Identity {
        target_type: facts.target_type,
        protocol: facts.protocol.ok_or_else(|| missing("protocol"))?,
        protocol_version: group.protocol_version().map(str::to_owned),
        port: facts.port.ok_or_else(|| missing("port"))?,
        vpc_id: facts.vpc.ok_or_else(|| missing("VPC"))?,
        ip_address_type: facts.ip_address_type,
    })
}

fn health_check(group: &TargetGroup) -> BTreeMap<Setting, String> {
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let matcher = group.matcher();
    let codes = matcher.and_then(|matcher| matcher.http_code().or(matcher.grpc_code()));
    [
        (
            Check::Protocol,
            group
                .health_check_protocol()
                .map(|protocol| protocol.as_str().to_owned()),
        ),
        (Check::Port, group.health_check_port().map(str::to_owned)),
        (Check::Path, group.health_check_path().map(str::to_owned)),
        (
            Check::IntervalSeconds,
            number(group.health_check_interval_seconds()),
        ),
        (
            Check::TimeoutSeconds,
            number(group.health_check_timeout_seconds()),
        ),
        (Check::HealthyThreshold, number(group.healthy_threshold_count())),
        (
            Check::UnhealthyThreshold,
            number(group.unhealthy_threshold_count()),
        ),
        (Check::Matcher, codes.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(check, value)| Some((Setting::HealthCheck(check), value?)))
    .collect()
}

async fn attributes(
    caller: &Caller,
    client: &Client,
    arn: &TargetGroupArn,
) -> Result<Vec<(Setting, String)>, Error> {
    const ACTION: Action = Action::DescribeTargetGroupAttributes;
    let request = client
        .describe_target_group_attributes()
        .target_group_arn(arn.to_string());
    let (_, answer) = caller
        .read(ACTION, Category::Describe, arn.name(), || request.clone().send())
        .await?;
    // The SDK's accessor gives an empty list where AWS gave none.
    let attributes = answer
        .attributes
        .ok_or_else(|| Error::answer(ACTION, "it has no list"))?;
    Ok(attributes
        .into_iter()
        .filter_map(|attribute| {
            Some((
                Setting::Attribute(attribute.key?),
                attribute.value.unwrap_or_default(),
            ))
        })
        .collect())
}

async fn tags(
    caller: &Caller,
    client: &Client,
    arn: &TargetGroupArn,
) -> Result<Vec<(Setting, String)>, Error> {
    const ACTION: Action = Action::DescribeTags;
    let name = arn.to_string();
    let request = client.describe_tags().resource_arns(&name);
    let (_, answer) = caller
        .read(ACTION, Category::Describe, arn.name(), || request.clone().send())
        .await?;
    let description = answer
        .tag_descriptions
        .into_iter()
        .flatten()
        .find(|description| description.resource_arn() == Some(&name))
        .ok_or_else(|| Error::answer(ACTION, format!("it does not list {name}")))?;
    Ok(description
        .tags
        .unwrap_or_default()
        .into_iter()
        .filter_map(|tag| Some((Setting::Tag(tag.key?), tag.value.unwrap_or_default())))
        .collect())
}

/// The lane of a step that calls AWS.
pub(crate) fn lane(step: &GroupStep) -> Lane {
    match step {
        GroupStep::Delete { .. } => Lane::Delete,
        GroupStep::Create { .. } | GroupStep::Modify { .. } | GroupStep::SetAttributes { .. } => Lane::Rules,
        GroupStep::Adopt { .. }
        | GroupStep::Tag { .. }
        | GroupStep::Untag { .. }
        | GroupStep::Release { .. }
        | GroupStep::Confirm { .. }
        | GroupStep::Note { .. }
        | GroupStep::Forget => Lane::Tags,
    }
}

/// The call of a step; none if it is about the ledger alone.
fn action(step: &GroupStep) -> Option<Action> {
    Some(match step {
        GroupStep::Create { .. } => Action::CreateTargetGroup,
        GroupStep::Modify { .. } => Action::ModifyTargetGroup,
        GroupStep::SetAttributes { .. } => Action::ModifyTargetGroupAttributes,
        GroupStep::Adopt { .. } | GroupStep::Tag { .. } => Action::AddTags,
        GroupStep::Untag { .. } | GroupStep::Release { .. } => Action::RemoveTags,
        GroupStep::Delete { .. } => Action::DeleteTargetGroup,
        GroupStep::Confirm { .. } | GroupStep::Note { .. } | GroupStep::Forget => return None,
    })
}

/// Makes one write, once.
pub(crate) struct Writer<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) client: &'a Client,
    pub(crate) spec: &'a ManagedSpec,
    pub(crate) deadline: Deadline,
}

impl Writer<'_> {
    /// `None`: the step calls nobody.
    pub(crate) async fn write(&self, permit: Permit, step: &GroupStep) -> Option<Result<Receipt, Failure>> {
        let action = action(step)?;
        let latest = self.deadline.latest_start(self.caller.attempt_timeout);
        if latest.is_none_or(|latest| Instant::now() > latest) {
            return Some(Err(Failure::lease_expiring(action)));
        }
        let result = self.send(action, permit, step).await;
        if let Err(failure) = &result
            && failure.certainty == Certainty::Ambiguous
        {
            tracing::warn!(group = self.spec.name, %action, %failure, "a write has no known outcome");
        }
        Some(result)
    }

    async fn send(&self, action: Action, permit: Permit, step: &GroupStep) -> Result<Receipt, Failure> {
        let (caller, client) = (self.caller, self.client);
        match step {
            GroupStep::Create { settings } => {
                let request = self.create(settings);
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::Modify { arn, settings } => {
                let request = self.modify(arn, settings);
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::SetAttributes { arn, settings } => {
                let attributes = settings.iter().filter_map(|(setting, value)| match setting {
                    Setting::Attribute(key) => {
                        Some(TargetGroupAttribute::builder().key(key).value(value).build())
                    }
                    Setting::HealthCheck(_) | Setting::Tag(_) => None,
                });
                let request = client
                    .modify_target_group_attributes()
                    .target_group_arn(arn.to_string())
                    .set_attributes(Some(attributes.collect()));
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::Adopt { arn, settings } | GroupStep::Tag { arn, settings } => {
                let request = client
                    .add_tags()
                    .resource_arns(arn.to_string())
                    .set_tags(Some(sdk_tags(settings)));
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::Untag { arn, keys } | GroupStep::Release { arn, keys } => {
                let keys = keys.iter().filter_map(|setting| match setting {
                    Setting::Tag(key) => Some(key.clone()),
                    Setting::HealthCheck(_) | Setting::Attribute(_) => None,
                });
                let request = client
                    .remove_tags()
                    .resource_arns(arn.to_string())
                    .set_tag_keys(Some(keys.collect()));
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::Delete { arn } => {
                let request = client.delete_target_group().target_group_arn(arn.to_string());
                receipt(caller.attempt(action, permit, 0, request.send()).await)
            }
            GroupStep::Confirm { .. } | GroupStep::Note { .. } | GroupStep::Forget => {
                unreachable!("it has no action")
            }
        }
    }

    fn create(
        &self,
        settings: &BTreeMap<Setting, String>,
    ) -> aws_sdk_elasticloadbalancingv2::operation::create_target_group::builders::CreateTargetGroupFluentBuilder
    {
        let spec = self.spec;
        let check = Checks(settings);
        self.client
            .create_target_group()
            .name(&spec.name)
            .target_type(TargetTypeEnum::from(spec.target_type.to_string().as_str()))
            .protocol(ProtocolEnum::from(spec.protocol.as_str()))
            .set_protocol_version(spec.protocol_version.map(|version| version.as_str().to_owned()))
            .port(i32::from(spec.port))
            .vpc_id(spec.vpc_id.to_string())
            .ip_address_type(TargetGroupIpAddressTypeEnum::from(
                spec.ip_address_type.to_string().as_str(),
            ))
            .set_health_check_protocol(check.text(Check::Protocol).map(|text| text.as_str().into()))
            .set_health_check_port(check.text(Check::Port))
            .set_health_check_path(check.text(Check::Path))
            .set_health_check_interval_seconds(check.number(Check::IntervalSeconds))
            .set_health_check_timeout_seconds(check.number(Check::TimeoutSeconds))
            .set_healthy_threshold_count(check.number(Check::HealthyThreshold))
            .set_unhealthy_threshold_count(check.number(Check::UnhealthyThreshold))
            .set_matcher(self.matcher(&check))
            .set_tags(Some(sdk_tags(settings)))
    }

    fn modify(
        &self,
        arn: &TargetGroupArn,
        settings: &BTreeMap<Setting, String>,
    ) -> aws_sdk_elasticloadbalancingv2::operation::modify_target_group::builders::ModifyTargetGroupFluentBuilder
    {
        let check = Checks(settings);
        self.client
            .modify_target_group()
            .target_group_arn(arn.to_string())
            .set_health_check_protocol(check.text(Check::Protocol).map(|text| text.as_str().into()))
            .set_health_check_port(check.text(Check::Port))
            .set_health_check_path(check.text(Check::Path))
            .set_health_check_interval_seconds(check.number(Check::IntervalSeconds))
            .set_health_check_timeout_seconds(check.number(Check::TimeoutSeconds))
            .set_healthy_threshold_count(check.number(Check::HealthyThreshold))
            .set_unhealthy_threshold_count(check.number(Check::UnhealthyThreshold))
            .set_matcher(self.matcher(&check))
    }

    fn matcher(&self, check: &Checks<'_>) -> Option<Matcher> {
        let codes = check.text(Check::Matcher)?;
        let matcher = Matcher::builder();
        Some(match self.spec.protocol_version {
            Some(ProtocolVersion::Grpc) => matcher.grpc_code(codes).build(),
            Some(ProtocolVersion::Http1 | ProtocolVersion::Http2) | None => matcher.http_code(codes).build(),
        })
    }
}

/// The health check among settings.
struct Checks<'a>(&'a BTreeMap<Setting, String>);

impl Checks<'_> {
    fn text(&self, check: Check) -> Option<String> {
        self.0.get(&Setting::HealthCheck(check)).cloned()
    }

    /// A constructed spec has numbers where they must be.
    fn number(&self, check: Check) -> Option<i32> {
        self.text(check)?.parse().ok()
    }
}

fn sdk_tags(settings: &BTreeMap<Setting, String>) -> Vec<Tag> {
    settings
        .iter()
        .filter_map(|(setting, value)| match setting {
            Setting::Tag(key) => Some(Tag::builder().key(key).value(value).build()),
            Setting::HealthCheck(_) | Setting::Attribute(_) => None,
        })
        .collect()
}

fn receipt<O: RequestId>(answer: Result<O, Failure>) -> Result<Receipt, Failure> {
    answer.map(|answer| Receipt {
        request_id: answer.request_id().map(str::to_owned),
    })
}
