//! RegisterTargets and DeregisterTargets: batches in, an outcome for every target out.

use std::collections::VecDeque;

use aws_sdk_elasticloadbalancingv2::{Client, types::TargetDescription};
use aws_types::request_id::RequestId;
use model::{Target, TargetGroupArn};
use tokio::time::Instant;

use crate::{
    Certainty, Deadline, ErrorClass, Failure, Outcome, Receipt,
    budget::{Category, Lane, Permit},
    call::Caller,
    metrics::Action,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    Register,
    Deregister,
}

impl Write {
    fn action(self) -> Action {
        match self {
            Self::Register => Action::RegisterTargets,
            Self::Deregister => Action::DeregisterTargets,
        }
    }
}

/// One write of any number of targets.
pub(crate) struct Writer<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) client: &'a Client,
    pub(crate) write: Write,
    pub(crate) arn: &'a TargetGroupArn,
    pub(crate) deadline: Deadline,
}

impl Writer<'_> {
    /// Writes all targets that AWS takes.
    pub(crate) async fn all(&self, permit: Permit, targets: &[Target], per_call: usize) -> Vec<Outcome> {
        let lane = permit.lane();
        let mut permit = Some(permit);
        let mut batches: VecDeque<Vec<Target>> = targets.chunks(per_call).map(<[_]>::to_vec).collect();
        let mut outcomes = Vec::new();
        while let Some(batch) = batches.pop_front() {
            let result = match permit.take() {
                Some(permit) => self.one(permit, &batch).await,
                None => self.another(lane, &batch).await,
            };
            match result {
                Err(failure) if failure.class == ErrorClass::InvalidTarget && batch.len() > 1 => {
                    let (refused, rest) = accused(batch, &failure.message);
                    outcomes.extend(outcome(refused, Err(failure)));
                    rest.into_iter().rev().for_each(|half| batches.push_front(half));
                }
                Err(failure) if !failure.class.is_about_targets() => {
                    // The next call would fail alike, and its budget is better spent elsewhere.
                    let untried: Vec<Target> = batches.drain(..).flatten().collect();
                    let result = Err(failure.untried());
                    outcomes.extend(outcome(batch, Err(failure)));
                    outcomes.extend(outcome(untried, result));
                }
                result => outcomes.extend(outcome(batch, result)),
            }
        }
        outcomes
    }

    /// One more call.
    async fn another(&self, lane: Lane, batch: &[Target]) -> Result<Receipt, Failure> {
        let (action, turn) = (self.write.action(), self.arn.to_string());
        let permit = self
            .caller
            .permit_before(self.deadline, action, Category::Registration, lane, &turn)
            .await?;
        self.one(permit, batch).await
    }

    async fn one(&self, permit: Permit, batch: &[Target]) -> Result<Receipt, Failure> {
        let action = self.write.action();
        let latest = self.deadline.latest_start(self.caller.attempt_timeout);
        if latest.is_none_or(|latest| Instant::now() > latest) {
            return Err(Failure::lease_expiring(action));
        }
        let arn = self.arn.to_string();
        let targets = Some(batch.iter().map(description).collect());
        let count = batch.len();
        let mut result = match self.write {
            Write::Register => {
                let request = self
                    .client
                    .register_targets()
                    .target_group_arn(arn)
                    .set_targets(targets);
                let answer = self.caller.attempt(action, permit, count, request.send()).await;
                answer.map(|answer| receipt(&answer))
            }
            Write::Deregister => {
                let request = self
                    .client
                    .deregister_targets()
                    .target_group_arn(arn)
                    .set_targets(targets);
                let answer = self.caller.attempt(action, permit, count, request.send()).await;
                answer.map(|answer| receipt(&answer))
            }
        };
        if let Err(failure) = &mut result
            && failure.class == ErrorClass::InvalidInput
            && batch.iter().any(|target| names(&failure.message, target))
        {
            // As ELBv2 answers about zones: "The Availability Zone is required for IP address '…'".
            failure.class = ErrorClass::InvalidTarget;
        }
        if let Err(failure) = &result
            && failure.certainty == Certainty::Ambiguous
        {
            tracing::warn!(target_group = %self.arn, %action, targets = count, %failure, "a write has no known outcome");
        }
        result
    }
}

fn description(target: &Target) -> TargetDescription {
    TargetDescription::builder()
        .id(target.key.id.to_string())
        .port(i32::from(target.key.port))
        .set_availability_zone(target.zone.as_ref().map(ToString::to_string))
        .build()
}

fn receipt(answer: &impl RequestId) -> Receipt {
    Receipt {
        request_id: answer.request_id().map(str::to_owned),
    }
}

fn outcome(targets: Vec<Target>, result: Result<Receipt, Failure>) -> Option<Outcome> {
    let targets: Vec<_> = targets.into_iter().map(|target| target.key).collect();
    (!targets.is_empty()).then_some(Outcome { targets, result })
}

/// Splits a refused batch of at least two into the targets that AWS names as invalid, and what to try again: the rest,
/// or two halves if AWS names nobody. AWS refuses such a call as a whole.
fn accused(batch: Vec<Target>, message: &str) -> (Vec<Target>, Vec<Vec<Target>>) {
    let (named, mut rest): (Vec<Target>, Vec<Target>) =
        batch.into_iter().partition(|target| names(message, target));
    if named.is_empty() {
        let right = rest.split_off(rest.len() / 2);
        return (named, vec![rest, right]);
    }
    let rest = if rest.is_empty() { vec![] } else { vec![rest] };
    (named, rest)
}

/// Whether AWS's words name the target.
fn names(message: &str, target: &Target) -> bool {
    let id = target.key.id.to_string();
    message
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-')))
        .any(|word| word.trim_end_matches(['.', ':']) == id)
}

#[cfg(test)]
mod tests {
    use model::TargetKey;

    use super::*;

    fn targets(addresses: &[&str]) -> Vec<Target> {
        addresses
            .iter()
            .map(|address| Target {
                key: TargetKey::ip(address.parse().unwrap(), 80),
                zone: None,
            })
            .collect()
    }

    #[test]
    fn the_targets_that_aws_names_are_taken_out_by_whole_words() {
        let batch = targets(&["10.0.0.1", "10.0.0.12", "10.0.0.3"]);
        let (refused, rest) = accused(batch, "The IP address '10.0.0.1' is not within a valid subnet.");
        assert_eq!(refused, targets(&["10.0.0.1"]));
        assert_eq!(rest, [targets(&["10.0.0.12", "10.0.0.3"])]);

        let (refused, _) = accused(targets(&["fd00::1", "fd00::12"]), "The IP address fd00::12.");
        assert_eq!(refused, targets(&["fd00::12"]));
    }

    #[test]
    fn a_batch_of_which_nobody_is_named_is_halved() {
        let (refused, rest) = accused(
            targets(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
            "One or more are invalid",
        );
        assert!(refused.is_empty());
        assert_eq!(rest, [targets(&["10.0.0.1"]), targets(&["10.0.0.2", "10.0.0.3"])]);
    }
}
