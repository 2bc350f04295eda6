//! What becomes of RegisterTargets and DeregisterTargets, call by call.

use std::time::Duration;

use crate::support::{Answer, Endpoint, Form, REQUEST_ID, arn, client, ids, later, settings, targets, value};
use aws::{
    Certainty, Deadline, ErrorClass, Failure, Outcome, ShardClient,
    budget::{Category, Lane},
};
use model::{Target, target::Zone};
use tokio::{net::TcpListener, time::Instant};

async fn register(client: &ShardClient, targets: &[Target]) -> Vec<Outcome> {
    let permit = client.permit(Lane::Add, "tenant").await;
    client.register(permit, &arn(), targets, later()).await
}

/// Registers one target at an endpoint that answers `answer`, and says how it failed.
async fn failure(answer: Answer) -> Failure {
    let endpoint = Endpoint::script([answer]).await;
    let client = client(settings(&endpoint.url)).await;
    let mut outcomes = register(&client, &targets(1..=1)).await;
    assert_eq!(endpoint.requests().len(), 1, "a write is tried once");
    outcomes
        .pop()
        .expect("one outcome")
        .result
        .expect_err("a failure")
}

#[tokio::test]
async fn a_write_says_id_port_and_zone_and_gives_a_receipt() {
    let answers = ["RegisterTargets", "DeregisterTargets"].map(|action| Answer::result(action, ""));
    let endpoint = Endpoint::script(answers).await;
    let client = client(settings(&endpoint.url)).await;
    let mut one = targets(1..=1);
    one[0].zone = Some(Zone::All);

    let outcomes = register(&client, &one).await;
    let receipt = outcomes[0].result.as_ref().expect("registered");
    assert_eq!(receipt.request_id.as_deref(), Some(REQUEST_ID));
    assert_eq!(outcomes[0].targets, [one[0].key.clone()]);
    let permit = client.permit(Lane::RemoveTerminating, "tenant").await;
    let outcomes = client.deregister(permit, &arn(), &one, later()).await;
    assert!(outcomes[0].result.is_ok());

    for (form, action) in endpoint
        .requests()
        .iter()
        .zip(["RegisterTargets", "DeregisterTargets"])
    {
        assert_eq!(value(form, "Action"), action);
        assert_eq!(value(form, "Targets.member.1.Id"), "10.0.0.1");
        assert_eq!(value(form, "Targets.member.1.Port"), "80");
        assert_eq!(value(form, "Targets.member.1.AvailabilityZone"), "all");
    }
}

#[tokio::test]
async fn what_aws_refuses_was_not_applied() {
    for (answer, class) in [
        (
            Answer::error(400, "Throttling", "Rate exceeded"),
            ErrorClass::Throttled,
        ),
        (
            Answer::error(400, "TargetGroupNotFound", "none"),
            ErrorClass::Vanished,
        ),
        (
            Answer::error(400, "TooManyTargets", "1000"),
            ErrorClass::QuotaReached,
        ),
        (
            Answer::error(403, "ExpiredToken", "old"),
            ErrorClass::CredentialsRejected,
        ),
        (Answer::error(400, "Newfangled", "?"), ErrorClass::Unrecognized),
    ] {
        let failure = failure(answer).await;
        assert_eq!((failure.class, failure.certainty), (class, Certainty::NotApplied));
        assert_eq!(failure.request_id.as_deref(), Some(REQUEST_ID));
    }
}

#[tokio::test]
async fn what_gets_no_definite_answer_is_ambiguous() {
    for answer in [
        Answer::error(500, "InternalFailure", "oops"),
        Answer::Status(503, "no XML".to_owned()),
        Answer::Drop,
        Answer::Hang,
    ] {
        let failure = failure(answer.clone()).await;
        assert_eq!(
            (failure.class, failure.certainty),
            (ErrorClass::Unavailable, Certainty::Ambiguous),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcomes = register(&client(settings(&url)).await, &targets(1..=1)).await;
    let failure = outcomes[0].result.as_ref().expect_err("nobody listens");
    assert_eq!(
        (failure.class, failure.certainty),
        (ErrorClass::Unreachable, Certainty::NotApplied)
    );
}

#[tokio::test]
async fn a_denial_names_the_permission() {
    let message = "User: x is not authorized to perform: elasticloadbalancing:RegisterTargets on resource: y";
    let failure = failure(Answer::error(403, "AccessDenied", message)).await;
    assert_eq!(
        (failure.class, failure.certainty),
        (ErrorClass::AccessDenied, Certainty::NotApplied)
    );
    assert_eq!(
        failure.permission.as_deref(),
        Some("elasticloadbalancing:RegisterTargets")
    );
    let problem = failure.problem();
    assert!(
        problem
            .message
            .contains("grant `elasticloadbalancing:RegisterTargets`"),
        "{}",
        problem.message
    );
}

#[tokio::test]
async fn throttling_drains_the_bucket() {
    let endpoint = Endpoint::script([Answer::error(400, "Throttling", "Rate exceeded")]).await;
    let client = client(settings(&endpoint.url)).await;
    register(&client, &targets(1..=1)).await;
    assert!(client.level(Category::Registration) < 0.1);
}

#[tokio::test]
async fn a_batch_goes_in_calls_of_at_most_the_set_size() {
    let endpoint = Endpoint::start(|_| Answer::result("RegisterTargets", "")).await;
    let mut settings = settings(&endpoint.url);
    settings.targets_per_call = 4;
    let all = targets(1..=10);
    let outcomes = register(&client(settings).await, &all).await;
    let sizes: Vec<_> = endpoint.requests().iter().map(|form| ids(form).len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    let written: Vec<_> = outcomes.into_iter().flat_map(|outcome| outcome.targets).collect();
    assert_eq!(
        written,
        all.into_iter().map(|target| target.key).collect::<Vec<_>>()
    );
}

/// An endpoint that refuses each call with 10.0.0.7 in it.
async fn endpoint_that_refuses_the_seventh(code: &'static str, message: &'static str) -> Endpoint {
    Endpoint::start(move |form| {
        if ids(form).contains(&"10.0.0.7") {
            Answer::error(400, code, message)
        } else {
            Answer::result("RegisterTargets", "")
        }
    })
    .await
}

/// Registers 1 to 16, checks that 7 alone is refused, and answers how.
async fn only_the_seventh_is_refused(endpoint: &Endpoint) -> Failure {
    let outcomes = register(&client(settings(&endpoint.url)).await, &targets(1..=16)).await;
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| outcome.result.is_ok());
    assert_eq!(
        good.iter().map(|outcome| outcome.targets.len()).sum::<usize>(),
        15
    );
    let [bad] = &bad[..] else { panic!("{bad:?}") };
    assert_eq!(bad.targets, [targets(7..=7)[0].key.clone()]);
    let failure = bad.result.clone().expect_err("refused");
    assert_eq!(failure.class, ErrorClass::InvalidTarget);
    failure
}

#[tokio::test]
async fn an_invalid_target_that_aws_names_costs_one_more_call() {
    // ELBv2 says it by either code.
    for (code, message, wants_zone) in [
        (
            "InvalidTarget",
            "The IP address '10.0.0.7' is not within a valid subnet",
            false,
        ),
        (
            "ValidationError",
            "The Availability Zone is required for IP address '10.0.0.7' because it is not in the VPC",
            true,
        ),
    ] {
        let endpoint = endpoint_that_refuses_the_seventh(code, message).await;
        let failure = only_the_seventh_is_refused(&endpoint).await;
        assert_eq!(failure.wants_zone(), wants_zone, "{failure}");
        assert_eq!(endpoint.requests().len(), 2);
    }
}

#[tokio::test]
async fn an_invalid_target_that_nobody_names_is_found_by_halving() {
    let endpoint = endpoint_that_refuses_the_seventh("InvalidTarget", "A target is invalid").await;
    only_the_seventh_is_refused(&endpoint).await;
    assert_eq!(
        endpoint.requests().len(),
        9,
        "the whole, then two for each of four halvings"
    );
}

#[tokio::test]
async fn a_failure_that_would_hit_all_calls_ends_the_batch_and_the_rest_was_not_applied() {
    let endpoint = Endpoint::script([Answer::Drop]).await;
    let mut settings = settings(&endpoint.url);
    settings.targets_per_call = 4;
    let outcomes = register(&client(settings).await, &targets(1..=10)).await;
    assert_eq!(endpoint.requests().len(), 1);
    let certainties: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            (
                outcome.targets.len(),
                outcome.result.as_ref().expect_err("failed").certainty,
            )
        })
        .collect();
    assert_eq!(
        certainties,
        [(4, Certainty::Ambiguous), (6, Certainty::NotApplied)]
    );
}

#[tokio::test]
async fn no_write_starts_that_could_outlast_the_lease() {
    let endpoint = Endpoint::start(|_| Answer::result("RegisterTargets", "")).await;
    let client = client(settings(&endpoint.url)).await;
    let deadline = Deadline(Instant::now() + Duration::from_millis(900));
    let permit = client.permit(Lane::Add, "tenant").await;
    let outcomes = client.register(permit, &arn(), &targets(1..=1), deadline).await;
    let failure = outcomes[0]
        .result
        .as_ref()
        .expect_err("the attempt timeout is 1 s");
    assert_eq!(
        (failure.class, failure.certainty),
        (ErrorClass::LeaseExpiring, Certainty::NotApplied)
    );
    assert_eq!(endpoint.requests(), Vec::<Form>::new());
    assert!(
        (client.level(Category::Registration) - 1.0).abs() < 1e-9,
        "the permit went back"
    );
}

#[tokio::test]
async fn a_write_that_would_wait_for_the_budget_beyond_the_lease_gives_up() {
    let endpoint = Endpoint::start(|_| Answer::result("RegisterTargets", "")).await;
    let mut settings = settings(&endpoint.url);
    settings.targets_per_call = 1;
    settings.budgets.registration.per_second = 0.01;
    let client = client(settings).await;
    let deadline = Deadline(Instant::now() + Duration::from_millis(1500));
    let permit = client.permit(Lane::Add, "tenant").await;
    let outcomes = client.register(permit, &arn(), &targets(1..=30), deadline).await;
    let sent = endpoint.requests().len();
    assert_eq!(sent, 17, "the burst without headroom and reserve");
    let late: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().err())
        .collect();
    assert!(
        late.iter()
            .all(|failure| failure.class == ErrorClass::LeaseExpiring),
        "{late:?}"
    );
    assert_eq!(
        outcomes
            .iter()
            .map(|outcome| outcome.targets.len())
            .sum::<usize>(),
        30
    );
}

#[tokio::test]
async fn calls_share_a_connection() {
    let endpoint = Endpoint::start(|form| Answer::result(value(form, "Action"), "")).await;
    let client = client(settings(&endpoint.url)).await;
    client.warm().await.expect("an empty list is an answer");
    for n in 1..=5 {
        assert!(register(&client, &targets(n..=n)).await[0].result.is_ok());
    }
    assert_eq!(endpoint.connections(), 1);
}
