//! The client against the simulator: what the client believes to have happened is compared with what happened.

use std::{sync::Arc, time::Duration};

use aws::{Aws, Certainty, ErrorClass, Failure, Metrics, Settings, ShardClient, budget::Lane};
use awssim::{Fault, FaultRule, Fixture, Place, Role, Running, Simulator, TargetGroupFixture, Tls};
use model::{
    Observed, Target, TargetGroupArn, TargetKey,
    account::AssumableRole,
    condition::Reason,
    target::{TargetType, Zone},
};
use prometheus_client::registry::Registry;

use crate::support::{later, now, settings, targets};

/// A simulator with one ip group in the VPC 10.0.0.0/16.
struct World {
    simulator: Running,
    client: ShardClient,
    arn: TargetGroupArn,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::builder().start_local().await.unwrap();
        let settings = settings(simulator.url());
        Self::of(simulator, settings).await
    }

    async fn of(simulator: Running, settings: Settings) -> Self {
        let mut fixture = Fixture::network(Place::new("111122223333", "cn-north-1"));
        fixture
            .target_groups
            .push(TargetGroupFixture::ip("web", "vpc-1", 80));
        let loaded = simulator.handle().load(&fixture).unwrap();
        let arn: TargetGroupArn = loaded.target_groups["web"].parse().unwrap();
        let aws = Aws::new(settings, Metrics::new(&mut Registry::default()), Arc::new(now))
            .await
            .unwrap();
        let client = aws.shard(arn.shard());
        Self {
            simulator,
            client,
            arn,
        }
    }

    async fn register(&self, targets: &[Target]) -> Vec<aws::Outcome> {
        let permit = self.client.permit(Lane::Add, "tenant").await;
        self.client.register(permit, &self.arn, targets, later()).await
    }

    async fn deregister(&self, targets: &[Target]) -> Vec<aws::Outcome> {
        let permit = self.client.permit(Lane::RemoveTerminating, "tenant").await;
        self.client.deregister(permit, &self.arn, targets, later()).await
    }

    /// Registers the first target while `fault` is on.
    async fn fail(&self, fault: Fault) -> Failure {
        self.simulator
            .handle()
            .add_fault(FaultRule::on("RegisterTargets", fault).times(1));
        let mut outcomes = self.register(&targets(1..=1)).await;
        outcomes.pop().unwrap().result.expect_err("the fault")
    }

    fn is_registered(&self, target: &Target) -> bool {
        let there = self.simulator.handle().targets(&self.arn.to_string()).unwrap();
        there
            .iter()
            .any(|there| there.id == target.key.id.to_string() && there.deregistered.is_none())
    }
}

#[tokio::test]
async fn targets_come_are_seen_and_go() {
    let world = World::new().await;
    let three = targets(1..=3);
    assert!(
        world
            .register(&three)
            .await
            .iter()
            .all(|outcome| outcome.result.is_ok())
    );
    assert!(
        world
            .register(&three)
            .await
            .iter()
            .all(|outcome| outcome.result.is_ok()),
        "present ones succeed"
    );
    let seen = world.client.target_health(&world.arn).await.unwrap();
    let mut keys: Vec<_> = seen
        .present()
        .unwrap()
        .iter()
        .map(|seen| seen.target.key.clone())
        .collect();
    keys.sort();
    assert_eq!(
        keys,
        three.iter().map(|target| target.key.clone()).collect::<Vec<_>>()
    );

    assert!(world.deregister(&three[..2]).await[0].result.is_ok());
    assert!(
        world.deregister(&targets(9..=9)).await[0].result.is_ok(),
        "unknown ones succeed"
    );
    let seen = world.client.target_health(&world.arn).await.unwrap();
    let registered: Vec<_> = seen
        .present()
        .unwrap()
        .iter()
        .filter(|seen| seen.is_registered())
        .collect();
    assert_eq!(registered.len(), 1);
    assert_eq!(registered[0].target.key, three[2].key);
}

#[tokio::test]
async fn a_group_is_described_and_one_that_is_not_there_is_absent() {
    let world = World::new().await;
    let observed = world.client.target_group(&world.arn).await.unwrap();
    let facts = observed.present().unwrap();
    assert_eq!(
        (facts.target_type, facts.port, facts.in_use),
        (TargetType::Ip, Some(80), false)
    );
    assert_eq!(
        facts.vpc_cidrs.as_deref(),
        Some(&["10.0.0.0/16".parse().unwrap()][..])
    );

    let other: TargetGroupArn = world.arn.to_string().replace("/web/", "/other/").parse().unwrap();
    assert_eq!(
        world.client.target_group(&other).await.unwrap(),
        Observed::Absent { at: now() }
    );
    assert_eq!(
        world.client.target_health(&other).await.unwrap(),
        Observed::Absent { at: now() }
    );
    let permit = world.client.permit(Lane::Add, "tenant").await;
    let outcomes = world
        .client
        .register(permit, &other, &targets(1..=1), later())
        .await;
    assert_eq!(
        outcomes[0].result.as_ref().unwrap_err().class,
        ErrorClass::Vanished
    );
}

/// The law of certainty: what is said not to be applied is not.
#[tokio::test]
async fn what_is_said_about_a_failed_write_is_true() {
    let long = Some(Duration::from_secs(5));
    let error = |code: &str| Fault::Error {
        code: code.to_owned(),
        message: String::new(),
        status: 400,
    };
    for (fault, class, certainty, applied) in [
        (
            Fault::Throttle,
            ErrorClass::Throttled,
            Certainty::NotApplied,
            false,
        ),
        (
            Fault::AccessDenied,
            ErrorClass::AccessDenied,
            Certainty::NotApplied,
            false,
        ),
        (
            Fault::ExpiredToken,
            ErrorClass::CredentialsRejected,
            Certainty::NotApplied,
            false,
        ),
        (
            error("TooManyTargets"),
            ErrorClass::QuotaReached,
            Certainty::NotApplied,
            false,
        ),
        (
            Fault::Http500,
            ErrorClass::Unavailable,
            Certainty::Ambiguous,
            false,
        ),
        (
            Fault::TimeoutNotApplied { hold: long },
            ErrorClass::Unavailable,
            Certainty::Ambiguous,
            false,
        ),
        (
            Fault::AppliedThenTimeout { hold: long },
            ErrorClass::Unavailable,
            Certainty::Ambiguous,
            true,
        ),
        (
            Fault::DroppedConnection { applied: false },
            ErrorClass::Unavailable,
            Certainty::Ambiguous,
            false,
        ),
        (
            Fault::DroppedConnection { applied: true },
            ErrorClass::Unavailable,
            Certainty::Ambiguous,
            true,
        ),
    ] {
        let world = World::new().await;
        let failure = world.fail(fault.clone()).await;
        assert_eq!(
            (failure.class, failure.certainty),
            (class, certainty),
            "{fault:?}: {failure}"
        );
        assert_eq!(world.is_registered(&targets(1..=1)[0]), applied, "{fault:?}");
    }
}

#[tokio::test]
async fn a_denial_names_the_permission_that_is_missing() {
    let failure = World::new().await.fail(Fault::AccessDenied).await;
    assert_eq!(
        failure.permission.as_deref(),
        Some("elasticloadbalancing:RegisterTargets")
    );
}

#[tokio::test]
async fn one_bad_target_does_not_keep_out_the_others() {
    let world = World::new().await;
    let mut all = targets(1..=20);
    // Outside the VPC, and without the zone `all` that AWS demands for it.
    let outside = Target {
        key: TargetKey::ip("192.168.7.7".parse().unwrap(), 80),
        zone: None,
    };
    all.insert(9, outside.clone());
    let outcomes = world.register(&all).await;
    let refused: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_err())
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].targets, std::slice::from_ref(&outside.key));
    assert!(targets(1..=20).iter().all(|target| world.is_registered(target)));

    let with_zone = Target {
        zone: Some(Zone::All),
        ..outside
    };
    assert!(world.register(&[with_zone]).await[0].result.is_ok());
}

/// Whatever the callers ask for, AWS's own bucket is not overdrawn.
#[tokio::test]
async fn forty_writes_at_once_are_not_throttled() {
    let world = World::new().await;
    let writes = (1..=40).map(|n| {
        let world = &world;
        async move { world.register(&targets(n..=n)).await }
    });
    let outcomes = futures::future::join_all(writes).await;
    assert!(
        outcomes.iter().flatten().all(|outcome| outcome.result.is_ok()),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn the_ca_file_is_trusted_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let tls = || {
        Simulator::builder()
            .tls(Tls {
                cert: cert.clone(),
                key: key.clone(),
            })
            .start_local()
    };

    let simulator = tls().await.unwrap();
    let trusting = Settings {
        ca_file: Some(cert.clone()),
        ..settings(simulator.url())
    };
    let world = World::of(simulator, trusting).await;
    assert!(world.register(&targets(1..=1)).await[0].result.is_ok());

    let simulator = tls().await.unwrap();
    let wary = settings(simulator.url());
    let world = World::of(simulator, wary).await;
    let outcomes = world.register(&targets(1..=1)).await;
    let failure = outcomes[0].result.as_ref().expect_err("an unknown authority");
    assert_eq!(
        (failure.class, failure.certainty),
        (ErrorClass::Unreachable, Certainty::NotApplied),
        "{failure}"
    );
}

#[tokio::test]
async fn another_account_is_entered_by_its_role_with_the_external_id_once() {
    let simulator = Simulator::builder().start_local().await.unwrap();
    let mut fixture = Fixture::network(Place::new("210987654321", "cn-north-1"));
    fixture
        .target_groups
        .push(TargetGroupFixture::ip("web", "vpc-1", 80));
    let loaded = simulator.handle().load(&fixture).unwrap();
    let arn: TargetGroupArn = loaded.target_groups["web"].parse().unwrap();
    let role = "arn:aws-cn:iam::210987654321:role/elbow";
    simulator.handle().set_role(
        role,
        Role {
            external_id: Some("of-shop".to_owned()),
            denied: false,
        },
    );
    let settings = settings(simulator.url());
    let aws = Aws::new(settings, Metrics::new(&mut Registry::default()), Arc::new(now))
        .await
        .unwrap();
    let enter = |external_id: Option<&str>| {
        let role = AssumableRole {
            arn: role.parse().unwrap(),
            external_id: external_id.map(str::to_owned),
        };
        [(arn.shard().account.clone(), role)].into()
    };

    // Our own account has no such group.
    let own = aws.shard(arn.shard()).target_group(&arn).await;
    assert!(!matches!(own, Ok(Observed::Present { .. })), "{own:?}");

    assert_eq!(
        aws.enter_by(enter(Some("guessed"))),
        [arn.shard().account.clone()]
    );
    let refused = aws.shard(arn.shard()).target_group(&arn).await.unwrap_err();
    assert!(
        matches!(
            refused.problem().reason,
            Reason::CredentialsRejected | Reason::AccessDenied
        ),
        "{refused:?}"
    );

    assert_eq!(
        aws.enter_by(enter(Some("of-shop"))),
        [arn.shard().account.clone()]
    );
    assert!(aws.enter_by(enter(Some("of-shop"))).is_empty(), "no news");
    let client = aws.shard(arn.shard());
    for _ in 0..3 {
        let described = client.target_group(&arn).await.unwrap();
        assert!(matches!(described, Observed::Present { .. }), "{described:?}");
    }
    let permit = client.permit(Lane::Add, "tenant").await;
    let outcomes = client.register(permit, &arn, &targets(1..=1), later()).await;
    assert!(outcomes[0].result.is_ok(), "{outcomes:?}");
    let calls = simulator.handle().counters();
    let assumed = calls
        .iter()
        .filter(|row| row.action == "AssumeRole")
        .map(|row| row.counter.calls - row.counter.errors)
        .sum::<u64>();
    assert_eq!(assumed, 1, "{calls:?}");
}
