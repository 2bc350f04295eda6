//! What goes away and comes back: agents, Postgres, and what Postgres knew. One installation lives through all of it.

use std::{collections::BTreeMap, time::Duration};

use sandbox::{
    Progress, Wait,
    demo::{Sandbox, bind},
    elbow, fixture,
    postgres::query,
    process::Process,
    wait_until,
};
use serde_json::Value;
use tests::{Witness, agrees};

const LIMIT: Duration = Duration::from_mins(2);
/// Everything that is only waited for is short, and what must not write when nothing changes is busy.
const OPTIONS: [(&str, &str); 7] = [
    ("--lease-ttl", "3s"),
    ("--aws-attempt-timeout", "1s"),
    ("--heartbeat", "1s"),
    ("--guard-silent-after", "4s"),
    ("--database-timeout", "2s"),
    ("--sweep", "1s"),
    ("--observe-every", "1s"),
];
/// Attempts to renew a lease while Postgres is away, each of them as long as the database's timeout: the lease has run
/// out for long.
const ATTEMPTS: u64 = 6;
const HEARTBEATS: u64 = 5;
/// The rights of a second agent that was installed beside the first by mistake.
const SECOND_INSTALLATION: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: second-agent, namespace: default}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: second-agent, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: second-agent}
subjects: [{kind: ServiceAccount, name: elbow-agent, namespace: elbow-system}]
";

#[tokio::test]
async fn what_goes_away_and_comes_back_removes_nothing_that_is_needed() {
    if !tests::available() {
        return;
    }
    let mut sandbox = Sandbox::with(Progress::silent(), &OPTIONS).await.unwrap();
    tests::add_foreign(&sandbox);
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    sandbox.scale(3).unwrap();
    agrees(&sandbox, 3).await;

    idle_costs_nothing(&sandbox).await;
    a_frozen_agent_removes_nothing_and_catches_up(&sandbox).await;
    two_agents_at_once_do_not_fight(&mut sandbox).await;
    a_postgres_that_is_away_removes_nothing_and_is_caught_up_with(&mut sandbox).await;
    a_postgres_from_a_backup_removes_nothing_until_it_is_released(&mut sandbox).await;
}

/// How often rows of each table were written.
async fn writes(sandbox: &Sandbox) -> BTreeMap<String, u64> {
    let statement = "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables";
    let rows = query(sandbox.installation.database(), statement).await.unwrap();
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [Some(table), Some(count)] => (table.clone(), count.parse().unwrap()),
            other => panic!("no table and count: {other:?}"),
        })
        .collect()
}

/// The tables that were written in a stretch of `HEARTBEATS` heartbeats, beside those in which heartbeats are.
async fn written(sandbox: &Sandbox) -> Vec<String> {
    let before = writes(sandbox).await;
    wait_until(LIMIT, "heartbeats", &Progress::silent(), async || {
        let now = writes(sandbox).await;
        let beaten = now["clusters"] - before["clusters"];
        if beaten < HEARTBEATS {
            return Err(Wait::not_yet(beaten));
        }
        let written = now.iter().filter(|(table, count)| before[*table] != **count);
        let written = written.map(|(table, _)| table.clone());
        // The agent's sign of life, and the lease.
        Ok(written
            .filter(|table| !["clusters", "shards"].contains(&table.as_str()))
            .collect())
    })
    .await
    .unwrap()
}

async fn idle_costs_nothing(sandbox: &Sandbox) {
    // Health checks and statuses settle first.
    wait_until(
        LIMIT,
        "a stretch without a write",
        &Progress::silent(),
        async || match written(sandbox).await.as_slice() {
            [] => Ok(()),
            tables => Err(Wait::not_yet(format!("{tables:?} were written"))),
        },
    )
    .await
    .unwrap();
    let (witness, reads) = (Witness::look(sandbox), reads(sandbox));
    assert_eq!(
        written(sandbox).await,
        [""; 0],
        "tables written while nothing changes"
    );
    assert!(
        witness.calls(sandbox).is_empty(),
        "AWS is changed while nothing changes"
    );
    assert!(
        reads < self::reads(sandbox),
        "nobody looks at AWS: nothing was tested"
    );
}

fn reads(sandbox: &Sandbox) -> u64 {
    let counters = sandbox.aws().counters().into_iter();
    let reads = counters.filter(|row| row.action == "DescribeTargetHealth");
    reads.map(|row| row.counter.calls).sum()
}

async fn a_frozen_agent_removes_nothing_and_catches_up(sandbox: &Sandbox) {
    let witness = Witness::look(sandbox);
    let cuts = said(&sandbox.server.process, "nothing was heard");
    sandbox.agent.freeze().unwrap();
    sandbox.scale(1).unwrap();
    says(&sandbox.server.process, "nothing was heard", cuts + 1).await;
    let calls = witness.calls(sandbox);
    assert!(calls.is_empty(), "silence is not absence: {calls:?}");
    sandbox.agent.thaw().unwrap();
    agrees(sandbox, 1).await;
    witness.judge(sandbox);
}

async fn two_agents_at_once_do_not_fight(sandbox: &mut Sandbox) {
    const BEGINS: &str = "an agent's stream begins";
    elbow::apply(&sandbox.plane, "second", SECOND_INSTALLATION).unwrap();
    let witness = Witness::look(sandbox);
    let streams = said(&sandbox.server.process, BEGINS);
    let mut second = sandbox
        .another_agent("agent-2", &[&sandbox.server], &[("--lease-namespace", "default")])
        .await
        .unwrap();
    says(&sandbox.server.process, BEGINS, streams + 1).await;
    // The older one is sent away, and does not come back at once.
    says(&sandbox.agent, "no stream to the server", 1).await;
    sandbox.scale(3).unwrap();
    agrees(sandbox, 3).await;
    second.kill().await.unwrap();
    sandbox.scale(2).unwrap();
    agrees(sandbox, 2).await;
    witness.judge(sandbox);
    let begun = said(&sandbox.server.process, BEGINS) - streams;
    assert!(begun <= 3, "two agents fought: {begun} streams");
}

async fn a_postgres_that_is_away_removes_nothing_and_is_caught_up_with(sandbox: &mut Sandbox) {
    const FAILS: &str = "the leases could not be renewed";
    let attempts = tests::number("ELBOW_OUTAGE_ATTEMPTS").unwrap_or(ATTEMPTS);
    let failed = said(&sandbox.server.process, FAILS);
    sandbox.postgres.kill().await.unwrap();
    let witness = Witness::look(sandbox);
    for replicas in [1, 4] {
        sandbox.scale(replicas).unwrap();
        let replicas = usize::try_from(replicas).unwrap();
        wait_until(LIMIT, "the pods", &Progress::silent(), async || {
            let pods = tests::pods(sandbox).len();
            if pods == replicas {
                Ok(())
            } else {
                Err(Wait::not_yet(pods))
            }
        })
        .await
        .unwrap();
    }
    says(&sandbox.server.process, FAILS, failed + attempts).await;
    let calls = witness.calls(sandbox);
    assert!(calls.is_empty(), "no intent can be durable: {calls:?}");
    sandbox.postgres.restart().await.unwrap();
    agrees(sandbox, 4).await;
    witness.judge(sandbox);
}

async fn a_postgres_from_a_backup_removes_nothing_until_it_is_released(sandbox: &mut Sandbox) {
    let backup = sandbox.postgres.snapshot().await.unwrap();
    agrees(sandbox, 4).await;
    let known = registered(sandbox);
    sandbox.scale(6).unwrap();
    agrees(sandbox, 6).await;
    let everything = registered(sandbox);
    // Pods end of which the restored database hears only afterwards, from an agent that knows nothing of before.
    sandbox.agent.kill().await.unwrap();
    sandbox.scale(2).unwrap();
    let witness = Witness::look(sandbox);
    sandbox.postgres.restore(&backup).await.unwrap();
    sandbox.agent.restart().await.unwrap();

    let shard = format!("aws-cn/{}/{}", fixture::ACCOUNT, fixture::REGION);
    let held = wait_until(LIMIT, "the hold of what ended", &Progress::silent(), async || {
        let alive: Vec<_> = tests::pods(sandbox).into_keys().collect();
        let holds = get(sandbox, "/v1/holds").await?.to_string();
        let ended = everything.iter().filter(|target| !alive.contains(target));
        let ended: Vec<_> = ended.filter(|target| *target != tests::FOREIGN).collect();
        if alive.len() == 2
            && ended
                .iter()
                .all(|target| holds.contains(&format!("\"{target}\"")))
        {
            Ok(holds)
        } else {
            Err(Wait::not_yet(format!("{ended:?} ended, held are {holds}")))
        }
    })
    .await
    .unwrap();
    assert!(held.contains("Restored"), "{held}");
    let shards = get(sandbox, "/v1/shards").await.unwrap().to_string();
    assert!(shards.contains("restoredAt"), "{shards}");
    assert_eq!(
        registered(sandbox),
        everything,
        "nothing is removed before the release"
    );

    let release = format!("/v1/shards/{shard}/release");
    sandbox
        .server
        .call(reqwest::Method::POST, &release, None)
        .await
        .unwrap();
    // What the backup does not know to be ours is not removed by us, whoever made it.
    wait_until(
        LIMIT,
        "the removal of what is ours",
        &Progress::silent(),
        async || {
            let alive = tests::pods(sandbox);
            let holds = get(sandbox, "/v1/holds").await?;
            let left = registered(sandbox);
            let ended = left.iter().filter(|target| !alive.contains_key(*target));
            let wanted = everything.iter().filter(|target| !alive.contains_key(*target));
            let beyond = wanted.filter(|target| *target == tests::FOREIGN || !known.contains(target));
            if ended.eq(beyond) && holds["items"].as_array().is_some_and(Vec::is_empty) {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("AWS has {left:?}, held are {holds}")))
            }
        },
    )
    .await
    .unwrap();
    witness.judge(sandbox);
}

fn registered(sandbox: &Sandbox) -> Vec<String> {
    let targets = sandbox.aws().targets(&sandbox.tutorial.target_group).unwrap();
    let registered = targets.into_iter().filter(|target| target.deregistered.is_none());
    registered.map(|target| target.id).collect()
}

async fn get(sandbox: &Sandbox, path: &str) -> Result<Value, Wait> {
    let answer = sandbox.server.call(reqwest::Method::GET, path, None).await;
    answer.map_err(Wait::not_yet)
}

/// How often the program has said this.
fn said(process: &Process, what: &str) -> u64 {
    let log = std::fs::read_to_string(process.log()).unwrap();
    u64::try_from(log.matches(what).count()).unwrap()
}

/// Waits until the program has said this so often.
async fn says(process: &Process, what: &str, times: u64) {
    wait_until(
        LIMIT,
        &format!("{} saying `{what}`", process.name()),
        &Progress::silent(),
        async || {
            let said = said(process, what);
            if said >= times {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("said {said} times")))
            }
        },
    )
    .await
    .unwrap();
}
