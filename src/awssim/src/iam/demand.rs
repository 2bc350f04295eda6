//! Which permissions on which resources a call needs: the Service Authorization Reference, as far as it is simulated.
//!
//! A read needs its permission on `*`, as those of both services do. So does any write that is not listed here.

use std::collections::BTreeMap;

use super::{arn, condition::Context, policy::Demand};
use crate::{query::Node, service::Service, world::Region};

pub(super) fn of(service: Service, action: &str, params: &Node<'_>, region: &Region) -> Vec<Demand> {
    let call = Call {
        service,
        action,
        params,
        region,
    };
    match service {
        _ if action.starts_with("Describe") => vec![call.on("*", call.context())],
        Service::Elbv2 => call.of_elbv2(),
        Service::Ec2 => call.of_ec2(),
        Service::Sts => call.of_sts(),
    }
}

struct Call<'a> {
    service: Service,
    action: &'a str,
    params: &'a Node<'a>,
    region: &'a Region,
}

impl Call<'_> {
    fn on(&self, resource: impl Into<String>, context: Context) -> Demand {
        self.also(self.action, resource, context)
    }

    /// A permission beside the one that the call is named by.
    fn also(&self, action: &str, resource: impl Into<String>, context: Context) -> Demand {
        Demand {
            permission: format!("{}:{action}", self.service.iam_prefix()),
            resource: resource.into(),
            context,
        }
    }

    fn context(&self) -> Context {
        Context::default().with("aws:RequestedRegion", &self.region.place.region)
    }

    fn with_request_tags<'a>(&self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Context {
        tags.into_iter().fold(self.context(), |context, (key, value)| {
            context
                .with(format!("aws:RequestTag/{key}"), value)
                .with("aws:TagKeys", key)
        })
    }

    fn of_sts(&self) -> Vec<Demand> {
        // Everybody may ask who they are.
        let Some(role) = self.params.text("RoleArn") else {
            return Vec::new();
        };
        let context = match self.params.text("ExternalId") {
            Some(id) => self.context().with("sts:ExternalId", id),
            None => self.context(),
        };
        vec![self.on(role, context)]
    }

    fn of_elbv2(&self) -> Vec<Demand> {
        let (params, place) = (self.params, &self.region.place);
        let tags = tags(params.list("Tags"));
        let name = params.text("Name").unwrap_or_default();
        let made = match self.action {
            "CreateTargetGroup" => Some(format!("targetgroup/{name}/*")),
            "CreateLoadBalancer" => {
                let kind = match params.text("Type") {
                    Some("network") => "net",
                    Some("gateway") => "gwy",
                    _ => "app",
                };
                Some(format!("loadbalancer/{kind}/{name}/*"))
            }
            _ => None,
        };
        let named = ["TargetGroupArn", "LoadBalancerArn", "ListenerArn"]
            .into_iter()
            .filter_map(|key| params.text(key))
            .chain(params.texts("ResourceArns"));
        let resources: Vec<String> = match made {
            Some(resource) => vec![arn(place, self.service, resource)],
            None => named.map(str::to_owned).collect(),
        };
        let on = |resource: &String| {
            let context = self.with_request_tags(tags.iter().copied());
            self.on(
                resource,
                with_resource_tags(context, crate::elbv2::tags::of(self.region, resource).ok()),
            )
        };
        let mut demands: Vec<_> = resources.iter().map(on).collect();
        if self.action.starts_with("Create") && !tags.is_empty() {
            demands.extend(resources.iter().map(|resource| {
                let context = self.with_request_tags(tags.iter().copied());
                let context = context.with("elasticloadbalancing:CreateAction", self.action);
                // A listener is made below its load balancer.
                let made = match self.action {
                    "CreateListener" => format!("{}/*", resource.replacen(":loadbalancer/", ":listener/", 1)),
                    _ => resource.clone(),
                };
                self.also("AddTags", made, context)
            }));
        }
        self.or_everything(demands)
    }

    fn of_ec2(&self) -> Vec<Demand> {
        let (params, place) = (self.params, &self.region.place);
        let arn = |kind: &str, id: &str| arn(place, self.service, format_args!("{kind}/{id}"));
        let on = |kind: &str, id: &str, context: Context| {
            self.on(
                arn(kind, id),
                with_resource_tags(context, crate::ec2::tags::of(self.region, id)),
            )
        };
        let group = params.text("GroupId").unwrap_or("*");
        let demands = match self.action {
            "AuthorizeSecurityGroupIngress" => {
                let specified: Vec<_> = params
                    .list("TagSpecification")
                    .into_iter()
                    .flat_map(|specification| tags(specification.list("Tag")))
                    .collect();
                let context = self.with_request_tags(specified.iter().copied());
                let mut demands = vec![
                    on("security-group", group, context.clone()),
                    on("security-group-rule", "*", context.clone()),
                ];
                if !specified.is_empty() {
                    let context = context.with("ec2:CreateAction", self.action);
                    demands.push(self.also("CreateTags", arn("security-group-rule", "*"), context));
                }
                demands
            }
            "RevokeSecurityGroupIngress" => {
                let rules = params.texts("SecurityGroupRuleId");
                std::iter::once(("security-group", group))
                    .chain(rules.into_iter().map(|id| ("security-group-rule", id)))
                    .map(|(kind, id)| on(kind, id, self.context()))
                    .collect()
            }
            "DeleteSecurityGroup" => vec![on("security-group", group, self.context())],
            "CreateTags" | "DeleteTags" => {
                let asked = tags(params.list("Tag"));
                params
                    .texts("ResourceId")
                    .into_iter()
                    .map(|id| on(kind_of(id), id, self.with_request_tags(asked.iter().copied())))
                    .collect()
            }
            _ => Vec::new(),
        };
        self.or_everything(demands)
    }

    fn or_everything(&self, demands: Vec<Demand>) -> Vec<Demand> {
        if demands.is_empty() {
            vec![self.on("*", self.context())]
        } else {
            demands
        }
    }
}

fn tags<'a>(listed: Vec<&Node<'a>>) -> Vec<(&'a str, &'a str)> {
    listed
        .into_iter()
        .filter_map(|tag| Some((tag.text("Key")?, tag.text("Value").unwrap_or_default())))
        .collect()
}

/// Of a resource that is there.
fn with_resource_tags(context: Context, tags: Option<&BTreeMap<String, String>>) -> Context {
    tags.into_iter().flatten().fold(context, |context, (key, value)| {
        context.with(format!("aws:ResourceTag/{key}"), value)
    })
}

/// The type of an EC2 resource, as its ARN says it.
fn kind_of(id: &str) -> &'static str {
    match id.split('-').next() {
        Some("vpc") => "vpc",
        Some("subnet") => "subnet",
        Some("sg") => "security-group",
        Some("sgr") => "security-group-rule",
        Some("eni") => "network-interface",
        _ => "instance",
    }
}
