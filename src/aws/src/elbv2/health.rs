//! DescribeTargetHealth. It has no pages: one answer lists all targets of a group
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html>).

use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{TargetDescription, TargetHealthDescription},
};
use model::{
    Observed, Target, TargetGroupArn, TargetKey,
    target::{HealthState, ObservedTarget, Zone},
};

use crate::{Error, ErrorClass, budget::Category, call::Caller, metrics::Action};

const ACTION: Action = Action::DescribeTargetHealth;

pub(crate) async fn describe(
    caller: &Caller,
    client: &Client,
    arn: &TargetGroupArn,
) -> Result<Observed<Vec<ObservedTarget>>, Error> {
    let turn = arn.to_string();
    // Before the question as far as an absence goes, too.
    let at = (caller.clock)();
    let request = client.describe_target_health().target_group_arn(&turn);
    let answer = caller
        .read(ACTION, Category::Describe, &turn, || request.clone().send())
        .await;
    let (at, answer) = match answer {
        Ok(answer) => answer,
        Err(failure) if failure.class == ErrorClass::Vanished => return Ok(Observed::Absent { at }),
        Err(failure) => return Err(failure.into()),
    };
    // The SDK's accessor gives an empty list where AWS gave none.
    let list = answer
        .target_health_descriptions
        .ok_or_else(|| Error::answer(ACTION, "it has no list"))?;
    let value = list.iter().map(observed_target).collect::<Result<_, _>>()?;
    Ok(Observed::Present { at, value })
}

fn observed_target(description: &TargetHealthDescription) -> Result<ObservedTarget, Error> {
    let target = description
        .target()
        .ok_or_else(|| Error::answer(ACTION, "an entry has no target"))?;
    let health = description.target_health();
    let state = health
        .and_then(|health| health.state())
        .map_or("", |state| state.as_str());
    Ok(ObservedTarget {
        target: read_target(target)?,
        state: health_state(state),
        reason: health
            .and_then(|health| health.reason())
            .map(|reason| reason.as_str().to_owned()),
        description: health.and_then(|health| health.description()).map(str::to_owned),
    })
}

fn read_target(target: &TargetDescription) -> Result<Target, Error> {
    let unusable = || Error::answer(ACTION, format!("the target {target:?} has no usable id and port"));
    let id = target.id().and_then(|id| id.parse().ok()).ok_or_else(unusable)?;
    let port = target
        .port()
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(unusable)?;
    Ok(Target {
        key: TargetKey { id, port },
        zone: target.availability_zone().map(Zone::from),
    })
}

fn health_state(state: &str) -> HealthState {
    match state {
        "initial" => HealthState::Initial,
        "healthy" => HealthState::Healthy,
        "unhealthy" => HealthState::Unhealthy,
        "unhealthy.draining" => HealthState::UnhealthyDraining,
        "unused" => HealthState::Unused,
        "draining" => HealthState::Draining,
        "unavailable" => HealthState::Unavailable,
        other => HealthState::Other(other.to_owned()),
    }
}
