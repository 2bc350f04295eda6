//! Checks that several families of calls share: ARNs, names, numbers.

use std::{ops::RangeInclusive, sync::Arc};

use super::model::{Listener, LoadBalancer, TargetGroup};
use crate::{
    error::AwsError,
    place::{self, Place},
    query::Node,
    world::Region,
};

/// What an ARN of ELB names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    TargetGroup,
    LoadBalancer,
    Listener,
}

impl Resource {
    fn words(self) -> &'static str {
        match self {
            Self::TargetGroup => "target group",
            Self::LoadBalancer => "load balancer",
            Self::Listener => "listener",
        }
    }

    pub(super) fn not_found(self) -> AwsError {
        match self {
            Self::TargetGroup => AwsError::new("TargetGroupNotFound", "One or more target groups not found"),
            Self::LoadBalancer => {
                AwsError::new("LoadBalancerNotFound", "One or more load balancers not found")
            }
            Self::Listener => AwsError::new("ListenerNotFound", "One or more listeners not found"),
        }
    }
}

/// Refuses an ARN of another shape, partition or region before anything is looked up by it.
pub(super) fn arn(place: &Place, arn: &str) -> Result<Resource, AwsError> {
    let invalid = || AwsError::validation(format!("'{arn}' is not a valid ARN"));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [
        "arn",
        partition,
        "elasticloadbalancing",
        region,
        _account,
        resource,
    ] = parts.as_slice()
    else {
        return Err(invalid());
    };
    if *partition != place::partition(region) || *partition != place.partition() {
        let message = format!(
            "'{arn}' is of partition '{partition}', this is '{}'",
            place.partition()
        );
        return Err(AwsError::validation(message));
    }
    if *region != place.region {
        let message = format!("'{arn}' is of region '{region}', this is '{}'", place.region);
        return Err(AwsError::validation(message));
    }
    let steps: Vec<&str> = resource.split('/').collect();
    match steps.as_slice() {
        ["targetgroup", _, _] => Ok(Resource::TargetGroup),
        ["loadbalancer", "app" | "net" | "gwy", _, _] => Ok(Resource::LoadBalancer),
        ["listener", "app" | "net" | "gwy", _, _, _] => Ok(Resource::Listener),
        _ => Err(invalid()),
    }
}

fn arn_of(place: &Place, text: &str, expected: Resource) -> Result<(), AwsError> {
    if arn(place, text)? == expected {
        Ok(())
    } else {
        Err(AwsError::validation(format!(
            "'{text}' is not a valid {} ARN",
            expected.words()
        )))
    }
}

pub(super) fn target_group<'a>(region: &'a Region, arn: &str) -> Result<&'a Arc<TargetGroup>, AwsError> {
    arn_of(&region.place, arn, Resource::TargetGroup)?;
    region
        .target_groups
        .get(arn)
        .ok_or_else(|| Resource::TargetGroup.not_found())
}

/// The group to change. A shared snapshot of it is copied first.
pub(super) fn target_group_mut<'a>(
    region: &'a mut Region,
    arn: &str,
) -> Result<&'a mut TargetGroup, AwsError> {
    arn_of(&region.place, arn, Resource::TargetGroup)?;
    region
        .target_groups
        .get_mut(arn)
        .map(Arc::make_mut)
        .ok_or_else(|| Resource::TargetGroup.not_found())
}

pub(super) fn load_balancer<'a>(region: &'a Region, arn: &str) -> Result<&'a Arc<LoadBalancer>, AwsError> {
    arn_of(&region.place, arn, Resource::LoadBalancer)?;
    region
        .load_balancers
        .get(arn)
        .ok_or_else(|| Resource::LoadBalancer.not_found())
}

pub(super) fn load_balancer_mut<'a>(
    region: &'a mut Region,
    arn: &str,
) -> Result<&'a mut LoadBalancer, AwsError> {
    arn_of(&region.place, arn, Resource::LoadBalancer)?;
    region
        .load_balancers
        .get_mut(arn)
        .map(Arc::make_mut)
        .ok_or_else(|| Resource::LoadBalancer.not_found())
}

pub(super) fn listener<'a>(region: &'a Region, arn: &str) -> Result<&'a Arc<Listener>, AwsError> {
    arn_of(&region.place, arn, Resource::Listener)?;
    region
        .listeners
        .get(arn)
        .ok_or_else(|| Resource::Listener.not_found())
}

/// Names of load balancers and target groups: at most 32 letters, digits and hyphens, no hyphen at either end.
pub(super) fn name(what: &str, name: &str) -> Result<(), AwsError> {
    let refuse = |why: &str| Err(AwsError::validation(format!("The {what} name '{name}' {why}")));
    if name.len() > 32 {
        refuse("cannot be longer than '32' characters")
    } else if name.starts_with('-') || name.ends_with('-') {
        refuse("cannot begin or end with a hyphen(-)")
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        refuse("can only contain characters that are alphanumeric characters and hyphens(-)")
    } else {
        Ok(())
    }
}

/// A number between two others.
pub(super) fn within(
    params: &Node<'_>,
    key: &str,
    range: RangeInclusive<u32>,
) -> Result<Option<u32>, AwsError> {
    let Some(number) = params.parsed::<u32>(key)? else {
        return Ok(None);
    };
    if range.contains(&number) {
        return Ok(Some(number));
    }
    let (low, high) = (range.start(), range.end());
    Err(AwsError::validation(format!(
        "{key} '{number}' must be between '{low}' and '{high}'"
    )))
}

/// A weight: from zero up to `most`.
pub(super) fn up_to(params: &Node<'_>, key: &str, most: u16) -> Result<Option<u16>, AwsError> {
    let number = within(params, key, 0..=u32::from(most))?;
    Ok(number.map(|number| u16::try_from(number).expect("at most a u16")))
}

pub(super) fn port(params: &Node<'_>, key: &str) -> Result<Option<u16>, AwsError> {
    let Some(number) = within(params, key, 1..=65535)? else {
        return Ok(None);
    };
    Ok(Some(u16::try_from(number).expect("at most 65535")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    #[test]
    fn an_arn_of_another_region_or_partition_is_refused_and_not_merely_missing() {
        let place = Place::new("111122223333", "eu-central-1");
        let own = place.elb_arn("targetgroup/web/0123456789abcdef");
        assert_eq!(arn(&place, &own), Ok(Resource::TargetGroup));
        for foreign in [
            own.replace("eu-central-1", "eu-west-1"),
            own.replace("arn:aws:", "arn:aws-cn:"),
        ] {
            let error = arn(&place, &foreign).expect_err("not of this place");
            assert_eq!(error.code(Service::Elbv2), "ValidationError");
            assert!(error.message.contains(&foreign));
        }
    }

    #[test]
    fn names_follow_the_rules_of_elb() {
        name("target group", "web-1").expect("good");
        for bad in ["-web", "web-", "we_b", &"x".repeat(33)] {
            name("target group", bad).expect_err("bad");
        }
    }
}
