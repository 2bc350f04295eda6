//! Readiness gates, end to end: a pod is Ready when AWS finds its target healthy, not Ready when AWS gives it up, and
//! waits for nobody once its binding is gone.

use std::time::Duration;

use awssim::{Drift, HealthState, ScriptedHealth, TargetSpec};
use sandbox::{Progress, Wait, demo::Sandbox, elbow, wait_until};
use serde_json::Value;
use tests::{condition, get};

const LIMIT: Duration = Duration::from_mins(1);
const NAME: &str = "my-tgb-alb-ip";
const GATE: &str = "target-health.elbv2.k8s.aws/my-tgb-alb-ip";

/// The tutorial's Deployment with the lines of the README.
fn gated() -> String {
    let plain = include_str!("../../seed/nginx.yaml");
    let gated = plain.replace(
        "    spec:\n      containers:",
        &format!("    spec:\n      readinessGates:\n        - conditionType: {GATE}\n      containers:"),
    );
    assert_ne!(gated, plain);
    gated
}

fn conditions(sandbox: &Sandbox) -> Vec<Value> {
    let pods = get(sandbox, "pods -l app=nginx");
    let conditions = pods["items"][0]["status"]["conditions"].as_array().cloned();
    conditions.unwrap_or_default()
}

/// Waits until the pod's gate says this for this reason and Kubernetes has drawn its conclusion.
async fn gate(sandbox: &Sandbox, status: &str, reason: &str) {
    let progress = Progress::silent();
    let becomes = wait_until(LIMIT, reason, &progress, async || {
        let conditions = conditions(sandbox);
        let of = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
        let gate = of(GATE).is_some_and(|gate| gate["status"] == status && gate["reason"] == reason);
        if gate && of("Ready").is_some_and(|ready| ready["status"] == status) {
            Ok(())
        } else {
            Err(Wait::not_yet(Value::from(conditions)))
        }
    });
    becomes.await.unwrap();
}

fn set_health(sandbox: &Sandbox, target: &str, health: Option<ScriptedHealth>) {
    let (address, port) = target.rsplit_once(':').unwrap();
    let drift = Drift::SetHealth {
        target_group_arn: sandbox.tutorial.target_group.clone(),
        target: TargetSpec::new(address, port.parse().unwrap()),
        health,
    };
    sandbox.aws().drift(&drift).unwrap();
}

#[tokio::test]
async fn a_pod_is_ready_while_aws_says_so_and_waits_for_no_binding_that_is_gone() {
    if !tests::available() {
        return;
    }
    // Seconds for what takes minutes: how soon AWS is asked about what it gave up.
    let sandbox = Sandbox::with(
        Progress::silent(),
        &[("--observe-every", "2s"), ("--sweep", "1s")],
    )
    .await
    .unwrap();
    let checks = Duration::from_secs(2);
    sandbox
        .aws()
        .update_settings(|settings| settings.health.first_checks = Some(checks));
    let aws = tests::elbv2(sandbox.aws_url()).await;
    elbow::apply(&sandbox.plane, "tgb", &sandbox.binding()).unwrap();
    elbow::apply(&sandbox.plane, "nginx", &gated()).unwrap();
    gate(&sandbox, "True", "Healthy").await;
    let health = tests::target_health(&aws, &sandbox.tutorial.target_group).await;
    let [(target, state)] = &health.into_iter().collect::<Vec<_>>()[..] else {
        panic!("the pod is the only target")
    };
    assert_eq!(state, "healthy");

    let unhealthy = ScriptedHealth {
        state: HealthState::Unhealthy,
        reason: Some("Target.Timeout".into()),
        description: None,
    };
    set_health(&sandbox, target, Some(unhealthy.clone()));
    gate(&sandbox, "False", "Target.Timeout").await;
    let registered = tests::target_health(&aws, &sandbox.tutorial.target_group).await;
    assert_eq!(
        registered[target], "unhealthy",
        "it stays, for AWS to find it healthy again"
    );
    set_health(&sandbox, target, None);
    gate(&sandbox, "True", "Healthy").await;

    let told = condition(&sandbox, NAME, "Reconciled").await;
    let words = "AWS lets requests go on for 300 s after a target is deregistered, and a pod of the Service ends after 30 s";
    assert!(told["message"].as_str().unwrap().contains(words), "{told}");

    // What AWS said last would keep the pod waiting for ever.
    set_health(&sandbox, target, Some(unhealthy));
    gate(&sandbox, "False", "Target.Timeout").await;
    sandbox
        .kubectl(&format!("delete targetgroupbinding {NAME}"))
        .unwrap();
    gate(&sandbox, "True", "BindingDeleted").await;
    sandbox.registered(0).await.unwrap();
}
