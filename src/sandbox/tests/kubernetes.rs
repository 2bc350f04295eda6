//! A sandbox's control planes behave like real ones, since they are.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use sandbox::kubernetes::{Binaries, ControlPlane, Node, Options};
use sandbox::{Progress, Wait, wait_until};

const LIMIT: Duration = Duration::from_mins(1);

// Without a control plane these tests cannot run; in CI that is a failure.
fn available(binaries: sandbox::Result<Binaries>) -> bool {
    match binaries {
        Ok(_) => true,
        Err(missing) if std::env::var("ELBOW_REQUIRE").is_ok_and(|what| what == "all") => panic!("{missing}"),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            false
        }
    }
}

fn kubectl(plane: &ControlPlane, arguments: &str) -> String {
    let said = plane.kubectl(arguments.split(' ')).unwrap();
    assert!(said.status.success(), "kubectl {arguments}: {}", said.stderr);
    said.stdout
}

#[tokio::test]
async fn an_api_answers_kubectl_and_keeps_what_it_knew_when_it_is_killed() {
    if !available(Binaries::api_only()) {
        return;
    }
    let mut plane = ControlPlane::start(Options::api_only("lonely")).await.unwrap();
    assert!(kubectl(&plane, "version").contains("Server Version: v1."));
    kubectl(&plane, "create configmap kept --from-literal=a=b");
    plane.kill_api_server().await.unwrap();
    assert!(!plane.kubectl(["get", "configmaps"]).unwrap().status.success());
    plane.restart_api_server().await.unwrap();
    assert!(kubectl(&plane, "get configmaps").contains("kept"));
}

#[tokio::test]
async fn users_and_service_accounts_have_the_rights_that_rbac_gives_them() {
    if !available(Binaries::api_only()) {
        return;
    }
    let plane = ControlPlane::start(Options::api_only("guarded")).await.unwrap();
    let may = |kubeconfig: &std::path::Path, what: &str| {
        let kubeconfig = kubeconfig.to_str().unwrap();
        plane
            .kubectl(["--kubeconfig", kubeconfig].into_iter().chain(what.split(' ')))
            .unwrap()
    };
    let user = plane.kubeconfig_for_user("dev", &["readers"]).unwrap();
    assert!(!may(&user, "get pods").status.success());
    kubectl(&plane, "create clusterrole readers --verb=list --resource=pods");
    kubectl(
        &plane,
        "create clusterrolebinding readers --clusterrole=readers --group=readers",
    );
    kubectl(&plane, "create serviceaccount agent");
    let account = plane
        .kubeconfig_for_service_account("default", "agent")
        .await
        .unwrap();
    wait_until(LIMIT, "the role's effect", &Progress::silent(), async || {
        let said = may(&user, "get pods");
        if said.status.success() {
            Ok(())
        } else {
            Err(Wait::not_yet(said.stderr))
        }
    })
    .await
    .unwrap();
    assert!(!may(&user, "auth can-i delete pods").status.success());
    assert!(!may(&account, "get pods").status.success());
}

#[tokio::test]
async fn a_scaled_deployment_shows_ready_addresses_of_the_nodes_and_terminating_pods_take_their_time() {
    if !available(Binaries::full()) {
        return;
    }
    let range = "192.168.16.0/20".parse().unwrap();
    let nodes = Node::spread("east", 2, range, &["us-east-1a", "us-east-1b"]);
    let plane = ControlPlane::start(Options::full("east", nodes)).await.unwrap();
    let manifest = plane.folder().join("web.yaml");
    std::fs::write(&manifest, WEB).unwrap();
    kubectl(&plane, &format!("apply -f {}", manifest.display()));
    let client = plane.client().await.unwrap();
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let ready = async |count: usize| {
        wait_until(
            LIMIT,
            &format!("{count} ready addresses"),
            &Progress::silent(),
            async || {
                let list = slices
                    .list(&ListParams::default().labels("kubernetes.io/service-name=web"))
                    .await;
                let list = list.map_err(Wait::not_yet)?;
                let endpoints = list.items.iter().flat_map(|slice| &slice.endpoints);
                let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
                    endpoint
                        .conditions
                        .as_ref()
                        .and_then(|conditions| conditions.ready)
                        == Some(true)
                };
                let addresses: Vec<String> = endpoints
                    .filter(ready)
                    .flat_map(|one| one.addresses.clone())
                    .collect();
                if addresses.len() == count {
                    Ok(addresses)
                } else {
                    Err(Wait::not_yet(format!("{addresses:?}")))
                }
            },
        )
        .await
        .unwrap()
    };
    ready(1).await;
    kubectl(&plane, "scale deployment web --replicas=4");
    for address in ready(4).await {
        let address: std::net::Ipv4Addr = address.parse().unwrap();
        assert!(range.contains(&address), "{address} is not of {range}");
    }

    kubectl(&plane, "scale deployment web --replicas=1");
    ready(1).await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let terminating = async || {
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.items
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_some())
            .count()
    };
    assert_eq!(terminating().await, 3, "they are within their grace period");
    wait_until(
        LIMIT,
        "the end of the terminating pods",
        &Progress::silent(),
        async || match terminating().await {
            0 => Ok(()),
            left => Err(Wait::not_yet(left)),
        },
    )
    .await
    .unwrap();

    kubectl(&plane, "annotate pods --all sandbox.elbow/ready=false");
    ready(0).await;
    kubectl(&plane, "annotate pods --all sandbox.elbow/ready-");
    ready(1).await;
}

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 3
      containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
";
