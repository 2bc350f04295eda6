//! The four scenarios of the tutorial's half about TargetGroupBinding, with its own manifests.

use std::{collections::BTreeMap, time::Duration};

use super::{Stage, say};
use crate::{Error, Progress, Result, Wait, elbow, kubernetes::Access, onlooker, wait_until};

/// The Service in ip mode.
const SERVICE: &str = "nginx-tgb-svc-alb-ip";
const SLICED: Duration = Duration::from_mins(1);
const POD_PORT: u16 = 80;
const NODE_PORT: u16 = 30001;

/// `kubectl apply` of the Deployment with its headless Service, and of a binding in ip mode.
pub fn bind(cluster: &impl AsRef<Access>, binding: &str) -> Result<()> {
    let nginx = include_str!("../../../../tests/seed/nginx.yaml");
    elbow::apply(cluster, "nginx", nginx)?;
    elbow::apply(cluster, "tgb-alb-ip", binding)
}

/// `kubectl scale`, and the wait until Kubernetes is done: a rollout ends before the endpoint slices tell of its pods.
pub async fn scale(cluster: &impl AsRef<Access>, replicas: usize) -> Result<()> {
    let cluster = cluster.as_ref();
    cluster.run(&format!(
        "scale deployment/nginx-deployment --replicas={replicas}"
    ))?;
    cluster.run("rollout status deployment/nginx-deployment --timeout=300s")?;
    let what = format!("endpoint slices with {replicas} ready pod(s)");
    wait_until(SLICED, &what, &Progress::silent(), async || {
        let ready = onlooker::ready_endpoints(cluster, SERVICE)?;
        if ready.len() == replicas {
            Ok(())
        } else {
            Err(Wait::not_yet(format!("{ready:?}")))
        }
    })
    .await
}

/// Plays all four. Scenario 3 is for clusters whose nodes are instances of this AWS.
pub(super) async fn play(
    stage: &Stage<'_>,
    cluster: &Access,
    binding: &str,
    with_instances: bool,
) -> Result<()> {
    say("\n1. Somebody made these outside of the cluster: an ALB, two target groups and two listeners");
    let listeners = stage.show_load_balancer().await?;
    ip_mode(stage, cluster, binding, with_instances).await?;
    if with_instances {
        instance_mode(stage, cluster).await?;
    } else {
        say("\n3. instance mode is left out: your nodes are no instances of the simulated AWS");
    }
    scale_and_let_go(stage, cluster, with_instances).await?;
    say("   and what somebody made is as it was:");
    let after = stage.show_load_balancer().await?;
    if after == listeners {
        Ok(())
    } else {
        Err(Error::Elbow(format!("the listeners were {listeners:?} before")))
    }
}

async fn ip_mode(stage: &Stage<'_>, cluster: &Access, binding: &str, with_openings: bool) -> Result<()> {
    say(
        "\n2. ip mode: a Deployment, a headless Service, and TargetGroupBinding my-tgb-alb-ip (kubectl apply)",
    );
    bind(cluster, binding)?;
    show_pods(stage, 1, &[("", cluster)]).await?;
    if with_openings {
        stage.show_openings(1).await?;
    }
    Ok(())
}

async fn instance_mode(stage: &Stage<'_>, cluster: &Access) -> Result<()> {
    say("\n3. instance mode: a NodePort Service, and TargetGroupBinding my-tgb-alb-instance");
    let service = include_str!("../../../../tests/seed/nginx-instance.yaml");
    elbow::apply(cluster, "nginx-instance", service)?;
    elbow::apply(cluster, "tgb-alb-instance", &stage.tutorial.instance_binding())?;
    show_nodes(stage, cluster).await?;
    stage.show_openings(2).await
}

async fn scale_and_let_go(stage: &Stage<'_>, cluster: &Access, with_instances: bool) -> Result<()> {
    say("\n4. kubectl scale deployment nginx-deployment --replicas 4");
    scale(cluster, 4).await?;
    show_pods(stage, 4, &[("", cluster)]).await?;
    say("   and back: --replicas 1");
    scale(cluster, 1).await?;
    show_pods(stage, 1, &[("", cluster)]).await?;
    say("   kubectl get targetgroupbindings");
    for line in cluster.run("get targetgroupbindings")?.stdout.lines() {
        say(&format!("     {line}"));
    }
    say("   kubectl delete targetgroupbinding my-tgb-alb-ip");
    cluster.run("delete targetgroupbinding my-tgb-alb-ip")?;
    stage
        .show(&stage.tutorial.target_group, 0, || Ok(BTreeMap::new()))
        .await?;
    if with_instances {
        show_nodes(stage, cluster).await?;
        stage.show_openings(1).await?;
    }
    Ok(())
}

/// Shows `test-tg-ip`, whose targets are the pods of these clusters.
pub(super) async fn show_pods(stage: &Stage<'_>, count: usize, clusters: &[(&str, &Access)]) -> Result<()> {
    let group = &stage.tutorial.target_group;
    stage.show(group, count, || pod_targets(clusters)).await
}

/// The targets that the pods of these clusters are, and which pods.
pub(super) fn pod_targets(clusters: &[(&str, &Access)]) -> Result<BTreeMap<String, String>> {
    let mut owners = BTreeMap::new();
    for (name, cluster) in clusters {
        for pod in onlooker::pods(cluster)? {
            let owner = format!("{} {name}", pod.name).trim_end().to_owned();
            owners.insert(format!("{}:{POD_PORT}", pod.address), owner);
        }
    }
    Ok(owners)
}

async fn show_nodes(stage: &Stage<'_>, cluster: &Access) -> Result<()> {
    let nodes = || {
        let instances = onlooker::instances(cluster)?.into_iter();
        Ok(instances
            .map(|(instance, node)| (format!("{instance}:{NODE_PORT}"), node))
            .collect())
    };
    let count = onlooker::instances(cluster)?.len();
    stage
        .show(&stage.tutorial.instance_target_group, count, nodes)
        .await
}
