//! Built programs are killed while a call to AWS is under way or at any other time, and Postgres under them.
//! `reconcile`'s own crashes are many more, in one process; here are the programs as they are.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use awssim::{Fault, FaultRule, JournalFilter};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sandbox::{
    Progress,
    demo::{Sandbox, bind},
};
use tests::{MUTATING, Witness, agrees};

const LIMIT: Duration = Duration::from_mins(1);
/// Short, so that a successor need not wait long.
const OPTIONS: [(&str, &str); 2] = [("--lease-ttl", "3s"), ("--aws-attempt-timeout", "1s")];

async fn bound() -> Sandbox {
    let sandbox = Sandbox::with(Progress::silent(), &OPTIONS).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
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
    sandbox
        .kubectl("delete targetgroupbinding my-tgb-alb-ip")
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
    let _agent = sandbox.another_agent("agent-2", &[&second], &[]).await.unwrap();
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

/// What is killed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    /// The server, at a random time after the change.
    Server,
    /// Postgres, at a random time after the change.
    Postgres,
    /// The server; its intent is written, and its call never has an effect.
    Unsent,
    /// The server; AWS has done what it asked, and it does not hear of it.
    Unheard,
    /// The server; its call arrives after its death.
    UnderWay,
}

impl Kill {
    const ALL: [Self; 5] = [
        Self::Server,
        Self::Postgres,
        Self::Unsent,
        Self::Unheard,
        Self::UnderWay,
    ];

    fn fault(self) -> Option<Fault> {
        match self {
            Self::Server | Self::Postgres => None,
            Self::Unsent => Some(Fault::TimeoutNotApplied { hold: None }),
            Self::Unheard => Some(Fault::AppliedThenTimeout { hold: None }),
            Self::UnderWay => Some(Fault::LateApply {
                after: Duration::from_millis(800),
            }),
        }
    }
}

/// Enough for each kind of kill to be seen once.
const KILLS: u64 = 5;
const MOST_PODS: usize = 6;

#[tokio::test]
async fn programs_killed_anywhere_lose_leak_and_repeat_nothing() {
    if !tests::available() {
        return;
    }
    let kills = tests::number("ELBOW_PROGRAM_KILLS").unwrap_or(KILLS);
    let seed = tests::number("ELBOW_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("{kills} kills of programs, ELBOW_SEED={seed} (ELBOW_PROGRAM_KILLS=500 for the full size)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut sandbox = bound().await;
    tests::add_foreign(&sandbox);
    let mut killed: BTreeMap<Kill, u32> = BTreeMap::new();
    let mut pods = 1;
    for (round, kill) in (0..kills).zip(Kill::ALL.into_iter().cycle()) {
        let witness = Witness::look(&sandbox);
        let mut change = |sandbox: &Sandbox, pods: &mut usize| {
            // To another number, so that there is something to do.
            *pods = (*pods + random.random_range(1..=MOST_PODS)) % (MOST_PODS + 1);
            sandbox.scale(u32::try_from(*pods).unwrap()).unwrap();
            (
                random.random_bool(0.5),
                Duration::from_millis(random.random_range(0..1500)),
            )
        };
        let aws = sandbox.aws().clone();
        for (action, fault) in MUTATING.into_iter().zip(std::iter::repeat(kill.fault())) {
            fault.map(|fault| aws.add_fault(FaultRule::on(action, fault).nth(1)));
        }
        let (again, moment) = change(&sandbox, &mut pods);
        if kill.fault().is_some() {
            witness.called(&sandbox).await;
        } else {
            // The time is the randomness that is tested, not a wait for something.
            tokio::time::timeout(moment, std::future::pending::<()>())
                .await
                .ok();
        }
        match kill {
            Kill::Postgres => sandbox.postgres.kill().await.unwrap(),
            _ => sandbox.server.process.kill().await.unwrap(),
        }
        *killed.entry(kill).or_default() += 1;
        aws.clear_faults();
        if again {
            change(&sandbox, &mut pods);
        }
        match kill {
            Kill::Postgres => sandbox.postgres.restart().await.unwrap(),
            _ => sandbox.server.process.restart().await.unwrap(),
        }
        println!("round {round}: {kill:?}, {pods} pods");
        agrees(&sandbox, pods).await;
        witness.judge(&sandbox);
        let mut repeated: BTreeMap<(String, String), u32> = BTreeMap::new();
        for entry in witness.calls(&sandbox) {
            for target in tests::targets(&entry) {
                let times = repeated
                    .entry((entry.action.clone(), target.to_owned()))
                    .or_default();
                *times += 1;
                // Once by the one that was killed, and once by its successor.
                assert!(*times <= 2, "{target}: {} again and again", entry.action);
            }
        }
    }
    println!("killed: {killed:?}");
}
