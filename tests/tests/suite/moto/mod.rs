//! The thread once more, on an AWS that somebody else wrote: moto. Elbow is a black box between kubectl and AWS's SDK.
//!
//! `differences.json` lists what moto does otherwise than AWS, each with its reason: a listed difference that does not
//! occur fails as one that is not listed does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{ProtocolEnum, TargetTypeEnum},
};
use sandbox::{
    Progress, Wait,
    demo::{bind, scale},
    elbow::{self, Installation},
    fixture,
    kubernetes::{Access, ControlPlane, Node, Options},
    moto::Moto,
    onlooker::{self, Target},
    postgres::{self, Postgres},
    wait_until,
};

const LIMIT: Duration = Duration::from_mins(1);
const CLUSTER: &str = "onmoto";

/// A Python with moto, as `cargo xtask test` names it.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ELBOW_MOTO_PYTHON").map(PathBuf::from);
    if python.is_none() {
        assert!(
            std::env::var_os("ELBOW_REQUIRE").is_none_or(|what| what != "all"),
            "ELBOW_MOTO_PYTHON names no Python with moto: run `cargo xtask test`"
        );
        eprintln!("skipped: ELBOW_MOTO_PYTHON names no Python with moto");
    }
    python
}

/// What AWS would do and moto does not.
struct Differences(BTreeMap<String, String>);

impl Differences {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("differences.json")).unwrap())
    }

    /// Demands of moto what AWS does, or that it is listed and does not.
    fn judge(&mut self, what: &str, as_aws: bool) {
        match self.0.remove(what) {
            Some(reason) => assert!(
                !as_aws,
                "{what}: this is listed as a difference ({reason}), and is none"
            ),
            None => assert!(as_aws, "{what}: not so, and not listed as a difference"),
        }
    }
}

/// The network that every account begins with, by EC2's query protocol.
async fn default_vpc(endpoint: &str) -> String {
    // moto tells services apart by the credential's scope, and looks at nothing else of it.
    let scope = format!(
        "{}/20260101/{}/ec2/aws4_request",
        fixture::ACCOUNT,
        fixture::REGION
    );
    let answer = reqwest::Client::new()
        .post(endpoint)
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .body("Action=DescribeVpcs&Version=2016-11-15")
        .send()
        .await
        .unwrap();
    let answer = answer.text().await.unwrap();
    let vpc = answer
        .split("<vpcId>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    vpc.unwrap_or_else(|| panic!("no VPC: {answer}")).to_owned()
}

async fn target_group(aws: &Client, vpc: &str) -> String {
    let made = aws
        .create_target_group()
        .name("test-tg-ip")
        .protocol(ProtocolEnum::Http)
        .port(80)
        .vpc_id(vpc)
        .target_type(TargetTypeEnum::Ip)
        .send()
        .await
        .unwrap();
    made.target_groups()[0].target_group_arn().unwrap().to_owned()
}

/// Waits until AWS has the pods that kubectl shows, `count` of them; answers all of its targets.
async fn agrees(aws: &Client, group: &str, cluster: &Access, count: usize) -> Vec<Target> {
    let what = format!("moto having the {count} pods");
    wait_until(LIMIT, &what, &Progress::silent(), async || {
        let pods: BTreeSet<_> = onlooker::pods(cluster)?
            .into_iter()
            .map(|pod| format!("{}:80", pod.address))
            .collect();
        let targets = onlooker::targets(aws, group).await?;
        let registered = targets.iter().filter(|target| target.state != "draining");
        let registered: BTreeSet<_> = registered.map(|target| target.key.clone()).collect();
        if pods.len() == count && registered == pods {
            Ok(targets)
        } else {
            Err(Wait::not_yet(format!(
                "AWS has {registered:?}, wanted are {pods:?}"
            )))
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn on_moto_a_binding_follows_its_pods_and_lets_go_of_them() {
    let (true, Some(python)) = (tests::available(), python()) else {
        return;
    };
    let mut differences = Differences::read();
    // Pods have addresses of moto's default VPC, 172.31.0.0/16.
    let nodes = Node::spread(CLUSTER, 2, "172.31.128.0/18".parse().unwrap(), &fixture::ZONES);
    let silent = Progress::silent();
    let (postgres, plane, moto) = tokio::join!(
        Postgres::start(postgres::Options::default()),
        ControlPlane::start(Options::full(CLUSTER, nodes)),
        Moto::start(&python, &silent)
    );
    let (postgres, plane, moto) = (postgres.unwrap(), plane.unwrap(), moto.unwrap());
    let vpc = default_vpc(moto.url()).await;
    let aws = tests::elbv2(moto.url()).await;
    let group = target_group(&aws, &vpc).await;

    let database = postgres.fresh_database("moto").await.unwrap();
    let installation = Installation::new(database, moto.url().to_owned(), silent).unwrap();
    let installation = installation.without_policies();
    let server = installation.server("server-1", &[]).await.unwrap();
    elbow::install(&plane).unwrap();
    let token = server.register_cluster_in(&vpc, CLUSTER, "full").await.unwrap();
    let _agent = installation
        .agent(CLUSTER, "agent-1", &token, &plane, &[&server], &[])
        .await
        .unwrap();

    // Nobody in moto has the addresses of these pods, so there is no security group to open.
    let binding = include_str!("../../../seed/tgb-alb-ip.yaml").replace("<TG_IP_ARN>", &group);
    let binding = binding.split("  networking:").next().unwrap();
    bind(&plane, binding).unwrap();
    let cluster = plane.as_ref();
    let targets = agrees(&aws, &group, cluster, 1).await;
    differences.judge("a new target is initial", targets[0].state == "initial");
    for replicas in [4, 1] {
        scale(&plane, replicas).await.unwrap();
        agrees(&aws, &group, cluster, replicas).await;
    }
    let ready = "wait --for=condition=Ready targetgroupbinding/my-tgb-alb-ip --timeout=60s";
    cluster.run(ready).unwrap();

    cluster
        .run("scale deployment/nginx-deployment --replicas=0")
        .unwrap();
    let targets = agrees(&aws, &group, cluster, 0).await;
    differences.judge(
        "a deregistered target drains",
        targets.iter().any(|target| target.state == "draining"),
    );
    scale(&plane, 2).await.unwrap();
    agrees(&aws, &group, cluster, 2).await;
    cluster.run("delete targetgroupbinding my-tgb-alb-ip").unwrap();
    wait_until(LIMIT, "an empty group", &Progress::silent(), async || {
        let targets = onlooker::targets(&aws, &group).await?;
        if targets.iter().all(|target| target.state == "draining") {
            Ok(())
        } else {
            Err(Wait::not_yet(format!("{targets:?}")))
        }
    })
    .await
    .unwrap();
    assert!(
        differences.0.is_empty(),
        "listed and never judged: {:?}",
        differences.0
    );
}
