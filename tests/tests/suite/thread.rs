//! The thread, end to end: built programs, a real control plane, a real Postgres, the AWS wire protocol. What became of
//! it is read with kubectl and AWS's SDK, not through Elbow.

use std::{collections::BTreeSet, time::Duration};

use awssim::{Drift, Place, SecurityGroupRuleState};
use sandbox::{
    Progress, Wait,
    demo::{Sandbox, bind},
    elbow, fixture,
    kubernetes::Access,
    wait_until,
};
use serde_json::{Value, json};
use tests::{condition, get, pod_targets};

const LIMIT: Duration = Duration::from_mins(1);

/// The ingress rules of the nodes' security group, from AWS's own state.
fn ingress(sandbox: &Sandbox) -> Vec<SecurityGroupRuleState> {
    let place = Place::new(fixture::ACCOUNT, fixture::REGION);
    let rules = sandbox
        .aws()
        .security_group_rules(&place, fixture::NODE_SECURITY_GROUP)
        .unwrap();
    rules.into_iter().filter(|rule| !rule.egress).collect()
}

/// A rule of the nodes' security group that somebody made.
fn made_by_hand(sandbox: &Sandbox) -> SecurityGroupRuleState {
    sandbox
        .aws()
        .drift(&Drift::AuthorizeRule {
            account: fixture::ACCOUNT.into(),
            region: fixture::REGION.into(),
            security_group_id: fixture::NODE_SECURITY_GROUP.into(),
            protocol: "tcp".into(),
            from_port: 22,
            to_port: 22,
            peer: "10.0.0.0/8".into(),
        })
        .unwrap();
    ingress(sandbox).pop().unwrap()
}

#[tokio::test]
async fn a_binding_follows_its_service_and_lets_go_of_everything_when_it_is_deleted() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    let aws = tests::elbv2(sandbox.aws_url()).await;
    let group = &sandbox.tutorial.target_group;
    let registered = async || {
        let health = tests::target_health(&aws, group).await;
        health
            .into_iter()
            .filter(|(_, state)| state != "draining")
            .map(|(key, _)| key)
            .collect::<BTreeSet<_>>()
    };

    let foreign = made_by_hand(&sandbox);
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    for replicas in [1, 4, 1] {
        sandbox.scale(replicas).unwrap();
        sandbox
            .registered(usize::try_from(replicas).unwrap())
            .await
            .unwrap();
        assert_eq!(
            registered().await,
            pod_targets(&sandbox),
            "the targets are the pods, {replicas} of them"
        );
    }
    let ready = condition(&sandbox, "my-tgb-alb-ip", "Reconciled").await;
    assert_eq!(ready["status"], "True");
    let opened: Vec<_> = ingress(&sandbox)
        .into_iter()
        .filter(|rule| *rule != foreign)
        .collect();
    let [rule] = &opened[..] else {
        panic!("one rule lets the ALB in: {opened:?}");
    };
    assert_eq!(
        (rule.protocol.as_str(), rule.ports, rule.peer.as_str()),
        ("tcp", Some((0, 65535)), fixture::ALB_SECURITY_GROUP),
        "all TCP, since the binding names no port"
    );
    assert_eq!(rule.tags["kubernetes.io/cluster/democluster"], "owned");
    assert!(
        ready["message"].as_str().unwrap().contains("1 rule of"),
        "{ready}"
    );
    let events = get(&sandbox, "events");
    let about = |event: &&Value| event.to_string().contains("my-tgb-alb-ip");
    assert!(
        events["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| about(&event)),
        "no event: {events}"
    );

    let listeners_before = sandbox.aws().target_groups().len();
    sandbox
        .kubectl("delete targetgroupbinding my-tgb-alb-ip")
        .unwrap();
    sandbox.registered(0).await.unwrap();
    wait_until(LIMIT, "the ALB's rule to go", &Progress::silent(), async || {
        let left = ingress(&sandbox);
        if left == [foreign.clone()] {
            Ok(())
        } else {
            Err(Wait::not_yet(format!("{left:?}")))
        }
    })
    .await
    .unwrap();
    assert_eq!(
        sandbox.aws().target_groups().len(),
        listeners_before,
        "nothing but targets is touched"
    );
    let balancers = aws.describe_load_balancers().send().await.unwrap();
    let arns: Vec<_> = balancers
        .load_balancers()
        .iter()
        .filter_map(|balancer| balancer.load_balancer_arn())
        .collect();
    assert_eq!(
        arns,
        [sandbox.tutorial.load_balancer.as_str()],
        "the ALB is as somebody made it"
    );
}

#[tokio::test]
async fn an_instance_binding_follows_the_nodes() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    let aws = tests::elbv2(sandbox.aws_url()).await;
    let group = &sandbox.tutorial.instance_target_group;
    let cluster: &Access = sandbox.plane.as_ref();
    let registered = async |count| {
        sandbox.stage().registered(group, count).await.unwrap();
        let health = tests::target_health(&aws, group).await;
        let registered = health.into_iter().filter(|(_, state)| state != "draining");
        registered.map(|(key, _)| key).collect::<BTreeSet<_>>()
    };
    let nodes: Vec<_> = sandbox::onlooker::instances(cluster)
        .unwrap()
        .into_iter()
        .map(|(instance, node)| (format!("{instance}:30001"), node))
        .collect();
    let targets = |indices: &[usize]| indices.iter().map(|index| nodes[*index].0.clone()).collect();

    elbow::apply(cluster, "nginx", include_str!("../../seed/nginx.yaml")).unwrap();
    let service = include_str!("../../seed/nginx-instance.yaml");
    elbow::apply(cluster, "service", service).unwrap();
    elbow::apply(cluster, "tgb", &sandbox.tutorial.instance_binding()).unwrap();
    assert_eq!(registered(3).await, targets(&[0, 1, 2]));
    condition(&sandbox, "my-tgb-alb-instance", "Reconciled").await;
    let opened: Vec<_> = ingress(&sandbox)
        .into_iter()
        .map(|rule| (rule.ports, rule.peer))
        .collect();
    let node_port = (Some((30001, 30001)), fixture::ALB_SECURITY_GROUP.to_owned());
    assert_eq!(opened, [node_port]);

    // Taken out of load balancing by its label, then back.
    let label = format!(
        "label node {} node.kubernetes.io/exclude-from-external-load-balancers",
        nodes[0].1
    );
    cluster.run(&format!("{label}=true")).unwrap();
    assert_eq!(registered(2).await, targets(&[1, 2]));
    cluster.run(&format!("{label}-")).unwrap();
    registered(3).await;

    // The autoscaler is about to end it; another is gone.
    let taint = "ToBeDeletedByClusterAutoscaler=1:NoSchedule";
    cluster
        .run(&format!("taint node {} {taint}", nodes[1].1))
        .unwrap();
    assert_eq!(registered(2).await, targets(&[0, 2]));
    cluster
        .run(&format!("delete node {} --wait=false", nodes[2].1))
        .unwrap();
    assert_eq!(registered(1).await, targets(&[0]));

    cluster
        .run("delete targetgroupbinding my-tgb-alb-instance")
        .unwrap();
    registered(0).await;
}

#[tokio::test]
async fn a_mistake_is_told_on_the_object_and_in_the_answer_and_changes_nothing() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    elbow::apply(&sandbox.plane, "nginx", include_str!("../../seed/nginx.yaml")).unwrap();
    let good = sandbox.binding();

    let unknown = good.replace("targetgroup/test-tg-ip/", "targetgroup/another/");
    elbow::apply(&sandbox.plane, "unknown", &unknown).unwrap();
    condition(&sandbox, "my-tgb-alb-ip", "TargetGroupNotFound").await;
    sandbox
        .kubectl("delete targetgroupbinding my-tgb-alb-ip")
        .unwrap();

    let port = good.replace("port: 80", "port: 81");
    elbow::apply(&sandbox.plane, "port", &port).unwrap();
    let told = condition(&sandbox, "my-tgb-alb-ip", "PortNotFound").await;
    assert!(told["message"].as_str().unwrap().contains("81"), "{told}");
    sandbox.registered(0).await.unwrap();

    // Mended in place, it goes on.
    elbow::apply(&sandbox.plane, "good", &good).unwrap();
    sandbox.registered(1).await.unwrap();
    condition(&sandbox, "my-tgb-alb-ip", "Reconciled").await;

    let without_mode =
        json!({"spec": {"account": "123456789012", "region": "cn-north-1", "vpcId": "vpc-0a1b2c3d"}});
    let put = reqwest::Method::PUT;
    let (status, problem) = sandbox
        .server
        .try_call(put, "/v1/clusters/other", Some(&without_mode))
        .await
        .unwrap();
    assert!(status.is_client_error(), "{status}");
    assert!(problem.to_string().contains("mode"), "{problem}");
}
