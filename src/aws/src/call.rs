//! One attempt of one call: paid for, timed, counted, and its failure understood.

use std::{error::Error as StdError, future::Future, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, field::Empty};

use crate::{
    Certainty, Clock, Deadline, ErrorClass, Failure, Metrics,
    budget::{Budget, Category, Lane, Permit, Turn},
    metrics::Action,
};

/// What every call of a shard needs.
pub(crate) struct Caller {
    pub(crate) budget: Budget,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) shard: String,
    pub(crate) attempt_timeout: Duration,
    pub(crate) read_attempts: usize,
}

impl Caller {
    pub(crate) async fn permit(&self, category: Category, lane: Lane, turn: impl Into<Turn<'_>>) -> Permit {
        let asked = Instant::now();
        let permit = self.budget.acquire(category, lane, turn).await;
        self.metrics.waited(lane, asked.elapsed());
        permit
    }

    /// A permit for one more call of a write, unless it would come too late.
    pub(crate) async fn permit_before(
        &self,
        deadline: Deadline,
        action: Action,
        category: Category,
        lane: Lane,
        turn: &str,
    ) -> Result<Permit, Failure> {
        let too_late = || Failure::lease_expiring(action);
        let latest = deadline.latest_start(self.attempt_timeout).ok_or_else(too_late)?;
        timeout_at(latest, self.permit(category, lane, turn))
            .await
            .map_err(|_| too_late())
    }

    /// Reads, and tries again while the failure may pass. Answers with the time at which the question was sent.
    pub(crate) async fn read<O, E, F>(
        &self,
        action: Action,
        category: Category,
        turn: &str,
        send: impl Fn() -> F,
    ) -> Result<(Timestamp, O), Failure>
    where
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
        O: RequestId,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let attempt = || async {
            let permit = self.permit(category, Lane::Describe, turn).await;
            let asked_at = (self.clock)();
            let answer = self.attempt(action, permit, 0, send()).await?;
            Ok((asked_at, answer))
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(self.read_attempts.saturating_sub(1))
            .with_jitter();
        attempt
            .retry(pauses)
            .when(|failure: &Failure| failure.class.is_transient())
            .await
    }

    /// One attempt.
    pub(crate) async fn attempt<O, E, F>(
        &self,
        action: Action,
        permit: Permit,
        targets: usize,
        send: F,
    ) -> Result<O, Failure>
    where
        F: Future<Output = Result<O, SdkError<E, HttpResponse>>>,
        O: RequestId,
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let category = permit.category();
        let span =
            tracing::info_span!("call", %action, shard = self.shard, request_id = Empty, outcome = Empty);
        permit.spend();
        let sent = Instant::now();
        let answer = send.instrument(span.clone()).await;
        let took = sent.elapsed();
        match answer {
            Ok(answer) => {
                span.record("outcome", "ok");
                span.record("request_id", answer.request_id());
                self.metrics.called(&self.shard, action, "ok", took);
                if targets > 0 {
                    self.metrics.wrote(action, targets);
                }
                Ok(answer)
            }
            Err(error) => {
                let failure = understand(action, &error);
                span.record("outcome", failure.class.label());
                span.record("request_id", failure.request_id.as_deref());
                self.metrics
                    .called(&self.shard, action, failure.class.label(), took);
                if failure.class == ErrorClass::Throttled {
                    self.budget.throttled(category);
                }
                Err(failure)
            }
        }
    }
}

/// AWS can be wordy: EC2 appends an encoded document to what it denies.
const MESSAGE_CHARS: usize = 600;

fn understand<E>(action: Action, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (class, certainty) = match error {
        SdkError::ServiceError(answer) => {
            let class = ErrorClass::of(answer.err().code(), answer.raw().status().as_u16());
            (class, certainty_of_answer(class, answer.raw().status()))
        }
        SdkError::ConstructionFailure(_) => (
            not_sent(error).unwrap_or(ErrorClass::InvalidInput),
            Certainty::NotApplied,
        ),
        SdkError::DispatchFailure(_) => match not_sent(error) {
            Some(class) => (class, Certainty::NotApplied),
            None => (ErrorClass::Unavailable, Certainty::Ambiguous),
        },
        // No answer in time, or none that can be read; and whatever the SDK adds.
        _ => (ErrorClass::Unavailable, Certainty::Ambiguous),
    };
    let service = error.as_service_error();
    let message = service
        .and_then(ProvideErrorMetadata::message)
        .map_or_else(|| chain_text(error), str::to_owned);
    Failure {
        action,
        class,
        code: service.and_then(ProvideErrorMetadata::code).map(str::to_owned),
        permission: (class == ErrorClass::AccessDenied)
            .then(|| named_permission(&message).unwrap_or_else(|| action.permission())),
        message: message.chars().take(MESSAGE_CHARS).collect(),
        request_id: request_id(error),
        certainty,
    }
}

/// A refusal is definite. An inner error of AWS is not: the work may have been done before it.
fn certainty_of_answer(class: ErrorClass, status: StatusCode) -> Certainty {
    match class {
        // EC2 throttles with 503.
        ErrorClass::Throttled => Certainty::NotApplied,
        ErrorClass::Unavailable => Certainty::Ambiguous,
        _ if status.is_server_error() => Certainty::Ambiguous,
        _ => Certainty::NotApplied,
    }
}

/// Why nothing can have been sent, if that is certain.
fn not_sent<E>(error: &SdkError<E, HttpResponse>) -> Option<ErrorClass>
where
    E: StdError + 'static,
{
    chain(error).find_map(|error| {
        if error.is::<CredentialsError>() {
            return Some(ErrorClass::CredentialsRejected);
        }
        let http = error.downcast_ref::<hyper_util::client::legacy::Error>()?;
        http.is_connect().then_some(ErrorClass::Unreachable)
    })
}

fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        (*error).source()
    })
}

fn chain_text(error: &(dyn StdError + 'static)) -> String {
    chain(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// From `… is not authorized to perform: elasticloadbalancing:RegisterTargets on resource: …`.
fn named_permission(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("perform: ")?;
    let word = rest
        .split(|c: char| c.is_whitespace() || c == ',')
        .next()?
        .trim_end_matches('.');
    word.contains(':').then(|| word.to_owned())
}

fn request_id<E>(error: &SdkError<E, HttpResponse>) -> Option<String>
where
    E: ProvideErrorMetadata,
{
    let in_body = error
        .as_service_error()
        .and_then(|error| error.meta().request_id());
    in_body.or_else(|| error.request_id()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::provider::{ProvideCredentials, future};

    use super::*;

    #[test]
    fn the_permission_is_read_from_the_message() {
        for (message, permission) in [
            (
                "User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: \
                 elasticloadbalancing:RegisterTargets on resource: arn:aws:elasticloadbalancing:…",
                Some("elasticloadbalancing:RegisterTargets"),
            ),
            (
                "You are not authorized to perform this operation. User: x is not authorized to perform: \
                 ec2:DescribeVpcs because no identity-based policy allows it.",
                Some("ec2:DescribeVpcs"),
            ),
            ("You are not authorized to perform this operation.", None),
        ] {
            assert_eq!(named_permission(message).as_deref(), permission);
        }
    }

    /// Credentials that cannot be had.
    #[derive(Debug)]
    struct Nobody;

    impl ProvideCredentials for Nobody {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nobody")))
        }
    }

    #[tokio::test]
    async fn without_credentials_nothing_is_sent() {
        let config = aws_sdk_elasticloadbalancingv2::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .endpoint_url("http://127.0.0.1:1")
            .credentials_provider(Nobody)
            .build();
        let client = aws_sdk_elasticloadbalancingv2::Client::from_conf(config);
        let error = client
            .register_targets()
            .target_group_arn("x")
            .send()
            .await
            .expect_err("nobody may");
        let failure = understand(Action::RegisterTargets, &error);
        assert_eq!(
            (failure.class, failure.certainty),
            (ErrorClass::CredentialsRejected, Certainty::NotApplied)
        );
    }

    #[test]
    fn only_a_refusal_is_definite() {
        let status = |code| StatusCode::try_from(code).expect("valid");
        assert_eq!(
            certainty_of_answer(ErrorClass::InvalidTarget, status(400)),
            Certainty::NotApplied
        );
        assert_eq!(
            certainty_of_answer(ErrorClass::Throttled, status(503)),
            Certainty::NotApplied
        );
        assert_eq!(
            certainty_of_answer(ErrorClass::Unavailable, status(400)),
            Certainty::Ambiguous
        );
        assert_eq!(
            certainty_of_answer(ErrorClass::Unrecognized, status(500)),
            Certainty::Ambiguous
        );
    }
}
