//! Who acts on an object, end to end: one that the AWS Load Balancer Controller ("LBC") acts on is left alone until an
//! operator takes it over, and then no target leaves.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_elasticloadbalancingv2::{Client, types::TargetDescription};
use awssim::JournalFilter;
use reqwest::Method;
use sandbox::{
    Progress, Wait,
    demo::{Sandbox, bind},
    elbow, wait_until,
};
use serde_json::{Value, json};
use tests::{condition, get, pod_targets};

const NAME: &str = "my-tgb-alb-ip";
const LIMIT: Duration = Duration::from_mins(1);
const ADOPT: &str = "/v1/clusters/democluster/bindings/default/my-tgb-alb-ip/adopt";

/// Waits until the condition of this reason says these words.
async fn told(sandbox: &Sandbox, reason: &str, words: &str) {
    let progress = Progress::silent();
    let told = wait_until(LIMIT, words, &progress, async || {
        let told = condition(sandbox, NAME, reason).await;
        if told["message"]
            .as_str()
            .is_some_and(|message| message.contains(words))
        {
            Ok(())
        } else {
            Err(Wait::not_yet(told))
        }
    });
    told.await.unwrap();
}

/// Registers a target as LBC would.
async fn register(aws: &Client, group: &str, target: &str) {
    let (address, port) = target.rsplit_once(':').unwrap();
    let description = TargetDescription::builder()
        .id(address)
        .port(port.parse().unwrap())
        .build();
    let call = aws
        .register_targets()
        .target_group_arn(group)
        .targets(description);
    call.send().await.unwrap();
}

/// The targets of a plan's steps of this action.
fn planned(adoption: &Value, action: &str) -> BTreeSet<String> {
    let steps = adoption["plan"]["steps"].as_array().unwrap().iter();
    let targets = steps
        .filter(|step| step["action"] == action)
        .flat_map(|step| step["targets"].as_array().unwrap());
    targets
        .map(|target| format!("{}:{}", target["id"].as_str().unwrap(), target["port"]))
        .collect()
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story from the first sight of an object to its end"
)]
async fn an_object_of_the_load_balancer_controller_is_left_alone_until_it_is_taken_over() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    let aws = tests::elbv2(sandbox.aws_url()).await;
    let group = &sandbox.tutorial.target_group;
    let calls = |action: &str| {
        let filter = JournalFilter {
            action: Some(action.to_owned()),
            ..JournalFilter::default()
        };
        sandbox.aws().journal(&filter).entries.len()
    };
    let writes = || (calls("RegisterTargets"), calls("DeregisterTargets"));

    elbow::apply(&sandbox.plane, "nginx", include_str!("../../seed/nginx.yaml")).unwrap();
    sandbox.scale(2).unwrap();
    sandbox
        .kubectl("rollout status deployment nginx-deployment --timeout=60s")
        .unwrap();
    let pods = pod_targets(&sandbox);
    assert_eq!(pods.len(), 2, "{pods:?}");
    // What LBC registered, its finalizer, and a target of nobody's.
    let foreign = "192.168.127.250:80";
    for target in pods.iter().map(String::as_str).chain([foreign]) {
        register(&aws, group, target).await;
    }
    let before = writes();
    let of_lbc = sandbox.binding().replace(
        &format!("name: {NAME}"),
        &format!("name: {NAME}\n  finalizers: [elbv2.k8s.aws/resources]\n  annotations: {{elbv2.k8s.aws/checkpoint: abc}}"),
    );
    elbow::apply(&sandbox.plane, "lbc", &of_lbc).unwrap();
    condition(&sandbox, NAME, "ManagedByLBC").await;
    // Its Service goes on changing meanwhile.
    sandbox.scale(3).unwrap();
    told(&sandbox, "ManagedByLBC", "3 targets would be made ours").await;
    let cluster = sandbox
        .server
        .call(Method::GET, "/v1/clusters/democluster", None)
        .await
        .unwrap();
    assert_eq!(
        cluster["status"]["lbc"],
        json!({"running": false, "webhooks": []})
    );

    // A dry run tells what is to come and changes nothing.
    let dry = sandbox
        .server
        .call(Method::POST, &format!("{ADOPT}?dryRun=true"), None)
        .await
        .unwrap();
    assert_eq!(dry["binding"]["status"]["standing"], "managedByLbc");
    assert_eq!(
        planned(&dry, "claim"),
        pods,
        "what is there and wanted is made ours"
    );
    assert_eq!(
        planned(&dry, "register").len(),
        1,
        "the pod that came since: {dry}"
    );
    assert_eq!(planned(&dry, "deregister"), BTreeSet::new());
    assert_eq!(
        writes(),
        before,
        "nothing was written for an object of somebody else"
    );
    let finalizers = &get(&sandbox, &format!("targetgroupbinding {NAME}"))["metadata"]["finalizers"];
    assert_eq!(*finalizers, json!(["elbv2.k8s.aws/resources"]));

    sandbox.server.call(Method::POST, ADOPT, None).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;
    let adopted = get(&sandbox, &format!("targetgroupbinding {NAME}"));
    assert_eq!(adopted["metadata"].get("finalizers"), None, "{adopted}");
    assert!(
        !adopted["metadata"]["annotations"]
            .to_string()
            .contains("elbv2.k8s.aws/checkpoint\""),
        "{adopted}"
    );
    assert_eq!(writes().1, before.1, "no target left");
    let now = tests::target_health(&aws, group).await;
    for target in pod_targets(&sandbox) {
        assert!(now.contains_key(&target), "{target} of {now:?}");
    }
    assert!(now.contains_key(foreign), "what nobody wants is nobody's");

    // LBC comes back to what is ours now: nothing is removed until it is gone again.
    sandbox.kubectl(&format!(
            "patch targetgroupbinding {NAME} --type=merge -p {{\"metadata\":{{\"finalizers\":[\"elbv2.k8s.aws/resources\"]}}}}"
        )).unwrap();
    condition(&sandbox, NAME, "Contested").await;
    sandbox.scale(1).unwrap();
    told(&sandbox, "Contested", "2 targets kept").await;
    assert_eq!(writes().1, before.1, "no target left");
    sandbox.server.call(Method::POST, ADOPT, None).await.unwrap();
    sandbox.registered(2).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;

    // Ours from now on: deleted, it lets go of its targets and of no other, and no finalizer is in the way.
    sandbox
        .kubectl(&format!("delete targetgroupbinding {NAME} --timeout=10s"))
        .unwrap();
    let left = sandbox.registered(1).await.unwrap();
    assert!(
        left.iter()
            .any(|target| format!("{}:{}", target.id, target.port) == foreign),
        "{left:?}"
    );
}

#[tokio::test]
async fn an_object_that_stops_being_served_keeps_its_targets_and_says_so() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    sandbox.registered(1).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;
    sandbox
        .kubectl(&format!("label targetgroupbinding {NAME} elbow.dev/serve=false"))
        .unwrap();
    let told = condition(&sandbox, NAME, "NotServed").await;
    assert!(
        told["message"].as_str().unwrap().contains("stay in AWS"),
        "{told}"
    );
    sandbox.scale(3).unwrap();
    sandbox
        .kubectl("rollout status deployment nginx-deployment --timeout=60s")
        .unwrap();
    sandbox
        .kubectl(&format!(
            "label targetgroupbinding {NAME} elbow.dev/serve=true --overwrite"
        ))
        .unwrap();
    sandbox.registered(3).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;
}

/// S21: nothing of Elbow's stands between `kubectl` and the cluster.
#[tokio::test]
async fn with_agent_and_server_gone_the_cluster_takes_every_change_at_once() {
    if !tests::available() {
        return;
    }
    let mut sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    sandbox.registered(1).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;
    sandbox.agent.kill().await.unwrap();
    sandbox.server.process.kill().await.unwrap();

    for kind in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let there = get(&sandbox, kind);
        assert_eq!(there["items"], json!([]), "{kind} would be asked first");
    }
    for change in [
        &*format!("annotate targetgroupbinding {NAME} changed=yes"),
        "scale deployment nginx-deployment --replicas=3",
        "annotate service nginx-tgb-svc-alb-ip changed=yes",
        // Each waits until the object is gone, which a finalizer would keep.
        &*format!("delete targetgroupbinding {NAME} --timeout=10s"),
        "delete service nginx-tgb-svc-alb-ip --timeout=10s",
        "delete deployment nginx-deployment --timeout=10s",
    ] {
        sandbox.kubectl(change).unwrap();
    }
    elbow::apply(&sandbox.plane, "nginx", include_str!("../../seed/nginx.yaml")).unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();

    // Back again, they follow what the cluster has become.
    sandbox.server.process.restart().await.unwrap();
    sandbox.agent.restart().await.unwrap();
    sandbox.registered(1).await.unwrap();
    condition(&sandbox, NAME, "Reconciled").await;
}
