//! DescribeTargetGroupAttributes.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use model::TargetGroupArn;

use crate::{Error, ErrorClass, budget::Category, call::Caller, metrics::Action};

const ACTION: Action = Action::DescribeTargetGroupAttributes;
const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";

/// How long a deregistered target may finish what it serves. `None`: the group has no such attribute, or is gone.
pub(crate) async fn deregistration_delay(
    caller: &Caller,
    client: &Client,
    arn: &TargetGroupArn,
) -> Result<Option<Duration>, Error> {
    let request = client
        .describe_target_group_attributes()
        .target_group_arn(arn.to_string());
    let answer = caller
        .read(ACTION, Category::Describe, arn.name(), || request.clone().send())
        .await;
    let answer = match answer {
        Ok((_, answer)) => answer,
        Err(failure) if failure.class == ErrorClass::Vanished => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let attribute = answer
        .attributes()
        .iter()
        .find(|attribute| attribute.key() == Some(DEREGISTRATION_DELAY));
    let Some(text) = attribute.and_then(|attribute| attribute.value()) else {
        return Ok(None);
    };
    let seconds = text
        .parse()
        .map_err(|_| Error::answer(ACTION, format!("`{text}` is no number of seconds")))?;
    Ok(Some(Duration::from_secs(seconds)))
}
