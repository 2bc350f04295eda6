//! Nothing is lost: built programs are killed while a call to AWS is under way, and Postgres under them.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::time::Duration;

use awssim::{Fault, FaultRule, JournalFilter};
use sandbox::{Progress, demo::Sandbox, elbow};

const LIMIT: Duration = Duration::from_mins(1);
/// Short, so that a successor need not wait long.
const OPTIONS: [(&str, &str); 2] = [("--lease-ttl", "3s"), ("--aws-attempt-timeout", "1s")];

async fn bound() -> Sandbox {
    let sandbox = Sandbox::with(Progress::silent(), &OPTIONS).await.unwrap();
    elbow::apply(&sandbox.plane, "nginx", include_str!("../seed/nginx.yaml")).unwrap();
    elbow::apply(&sandbox.plane, "tgb", &sandbox.binding()).unwrap();
    sandbox.registered(1).await.unwrap();
    sandbox
}

/// Scales, kills the server when AWS has got the call that follows and before it answers, and starts it again.
async fn scale_and_kill(sandbox: &mut Sandbox, action: &str, replicas: u32) {
    let aws = sandbox.aws().clone();
    let filter = JournalFilter {
        action: Some(action.to_owned()),
        ..JournalFilter::default()
    };
    let since = aws
        .journal(&filter)
        .entries
        .last()
        .map_or(0, |entry| entry.sequence);
    aws.add_fault(FaultRule::on(
        action,
        Fault::Slow {
            by: Duration::from_secs(30),
        },
    ));
    sandbox.scale(replicas).unwrap();
    let page = aws.wait_journal(&JournalFilter { since, ..filter }, LIMIT).await;
    assert!(!page.entries.is_empty(), "AWS never got {action}");
    sandbox.server.process.kill().await.unwrap();
    aws.clear_faults();
    sandbox.server.process.restart().await.unwrap();
}

#[tokio::test]
async fn a_server_killed_while_aws_works_for_it_loses_nothing() {
    if !tests::available() {
        return;
    }
    let mut sandbox = bound().await;
    scale_and_kill(&mut sandbox, "RegisterTargets", 4).await;
    sandbox.registered(4).await.unwrap();
    scale_and_kill(&mut sandbox, "DeregisterTargets", 2).await;
    sandbox.registered(2).await.unwrap();
    elbow::done(
        &sandbox
            .plane
            .kubectl(["delete", "targetgroupbinding", "my-tgb-alb-ip"])
            .unwrap(),
    )
    .unwrap();
    sandbox.registered(0).await.unwrap();
}

#[tokio::test]
async fn a_postgres_killed_under_a_change_loses_nothing() {
    if !tests::available() {
        return;
    }
    let mut sandbox = bound().await;
    sandbox.postgres.kill().await.unwrap();
    sandbox.scale(3).unwrap();
    sandbox.postgres.restart().await.unwrap();
    sandbox.registered(3).await.unwrap();
}

#[tokio::test]
async fn the_halves_meet_in_postgres_and_a_replica_takes_over_from_a_killed_one() {
    if !tests::available() {
        return;
    }
    let mut sandbox = bound().await;
    // The first replica holds the shard; the agent that remains talks to the second alone.
    let second = sandbox.installation.server("server-2", &OPTIONS).await.unwrap();
    sandbox.agent.kill().await.unwrap();
    let _agent = sandbox.another_agent("agent-2", &[&second]).await.unwrap();
    sandbox.scale(3).unwrap();
    sandbox.registered(3).await.unwrap();
    let shards = second
        .call(reqwest::Method::GET, "/v1/shards", None)
        .await
        .unwrap();
    assert!(
        shards.to_string().contains("server-1/"),
        "the first replica holds the shard: {shards}"
    );

    sandbox.server.process.kill().await.unwrap();
    sandbox.scale(1).unwrap();
    sandbox.registered(1).await.unwrap();
    let shards = second
        .call(reqwest::Method::GET, "/v1/shards", None)
        .await
        .unwrap();
    assert!(
        shards.to_string().contains("server-2/"),
        "the second replica took over: {shards}"
    );
}
