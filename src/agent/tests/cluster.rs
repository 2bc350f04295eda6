//! The built agent, with the rights of the shipped manifests, against a real API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mirror;
mod service;

use std::path::{Path, PathBuf};

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client, api::DynamicObject, api::ListParams, core::GroupVersionKind, discovery::ApiResource,
};
use model::{
    fact::{Evidence, ObjectName},
    stream::{Change, Statement, Update},
};
use runtime::Tasks;
use sandbox::{
    Scratch, free_port,
    kubernetes::{ControlPlane, Options},
    process::{Process, Program},
};
use service::{Service, TOKEN};
use wire::agent::v1::{self as v1, server_message::Message};

struct Cluster {
    plane: ControlPlane,
    service: Service,
    scratch: Scratch,
    tasks: Tasks,
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file)
}

fn shop(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

impl Cluster {
    async fn start(name: &str) -> Self {
        let plane = ControlPlane::start(Options::api_only(name)).await.unwrap();
        let tasks = Tasks::new();
        let service = Service::start(&[("shop", "web")], &tasks).await;
        let scratch = Scratch::new(name).unwrap();
        std::fs::write(scratch.path().join("token"), TOKEN).unwrap();
        let cluster = Self {
            plane,
            service,
            scratch,
            tasks,
        };
        cluster.kubectl(&["create", "namespace", "shop"]);
        cluster
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let answer = self.plane.kubectl(arguments).unwrap();
        assert!(
            answer.status.success(),
            "kubectl {arguments:?}: {}",
            answer.stderr
        );
        answer.stdout
    }

    fn apply(&self, yaml: &str) {
        let file = self.scratch.path().join("object.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    fn install(&self, file: &str) {
        self.kubectl(&["apply", "-f", deploy(file).to_str().unwrap()]);
    }

    fn install_all(&self) {
        self.install("agent/rbac.yaml");
        self.install("crds/targetgroupbindings.elbv2.k8s.aws.yaml");
        let name = "crd/targetgroupbindings.elbv2.k8s.aws";
        self.kubectl(&["wait", "--for=condition=Established", name, "--timeout=30s"]);
    }

    async fn agent(&self, instance: &str) -> Process {
        let kubeconfig = self
            .plane
            .kubeconfig_for_service_account("elbow-system", "elbow-agent")
            .await
            .unwrap();
        let log = self.scratch.path().join(format!("{instance}.log"));
        Program::new(instance, env!("CARGO_BIN_EXE_elbow-agent"), log)
            .arguments([
                "--cluster",
                "east",
                "--instance",
                instance,
                "--insecure-dev",
                "--log-format",
                "text",
            ])
            .arguments(["--server", &format!("http://{}", self.service.address)])
            .arguments(["--admin-listen", &format!("127.0.0.1:{}", free_port())])
            .argument("--token-file")
            .argument(self.scratch.path().join("token"))
            .argument("--kubeconfig")
            .argument(kubeconfig)
            .start()
            .unwrap()
    }

    fn binding(&self, name: &str) {
        self.apply(&format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: {name}, namespace: shop}}, \
             spec: {{targetGroupARN: 'arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/0123456789abcdef', \
             serviceRef: {{name: web, port: 80}}}}}}"
        ));
    }

    fn web(&self) {
        self.apply(
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}",
        );
    }

    /// A slice of `web` whose endpoints are pods that do not exist.
    fn slice(&self, name: &str, addresses: &[&str]) {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| {
                format!(
                    "{{addresses: ['{address}'], conditions: {{ready: true}}, targetRef: {{kind: Pod, namespace: shop, \
                     name: 'pod-{address}', uid: 6f8bdc5e-0000-4000-8000-00000000000{}}}}}",
                    address.len() % 10
                )
            })
            .collect();
        self.apply(&format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, namespace: shop, \
             labels: {{kubernetes.io/service-name: web}}}}, addressType: IPv4, ports: [{{port: 8080}}], \
             endpoints: [{}]}}",
            endpoints.join(", ")
        ));
    }

    async fn client(&self) -> Client {
        self.plane.client().await.unwrap()
    }

    async fn stop(mut self) {
        self.plane.stop().await.unwrap();
        self.tasks.soft().cancel();
        self.tasks.hard().cancel();
    }
}

fn bindings(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
    Api::namespaced_with(client, "shop", &ApiResource::from_gvk(&kind))
}

/// Tells `first` that its one target is registered.
fn answer(uid: &str) -> v1::WriteBack {
    let message = "1 of 1 target is registered.";
    let condition = v1::Condition {
        r#type: "Ready".into(),
        status: "True".into(),
        reason: "Reconciled".into(),
        message: message.into(),
    };
    v1::WriteBack {
        write_back_id: 9,
        namespace: "shop".into(),
        name: "first".into(),
        uid: uid.into(),
        target_group_binding: Some(v1::TargetGroupBindingStatus {
            observed_generation: 1,
            conditions: vec![condition],
            desired: 1,
            registered: 1,
            held: 0,
        }),
        event: Some(v1::Event {
            r#type: "Normal".into(),
            reason: "Reconciled".into(),
            message: message.into(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_says_is_told() {
    let cluster = Cluster::start("told").await;
    cluster.install_all();
    cluster.web();
    cluster.slice("web-1", &["10.0.0.1", "10.0.0.22"]);
    cluster.binding("first");
    let mut agent = cluster.agent("pod-1").await;
    let service = &cluster.service;

    let told = service
        .until("the first snapshot", |told| {
            told.mirror.sources.contains_key(&shop("first"))
                && told
                    .mirror
                    .services
                    .get(&shop("web"))
                    .is_some_and(Option::is_some)
                && told
                    .mirror
                    .slices
                    .get(&shop("web"))
                    .is_some_and(|slices| slices.len() == 1)
        })
        .await;
    assert_eq!(told.hellos.len(), 1);
    let uid = cluster.kubectl(&[
        "get",
        "namespace",
        "kube-system",
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    assert_eq!(told.hellos[0].cluster_uid, uid);
    assert_eq!(told.mirror.sources[&shop("first")].spec["serviceRef"]["port"], 80);

    // An endpoint goes; a live read of its pod says 404.
    cluster.slice("web-1", &["10.0.0.1"]);
    let told = service
        .until("the departure", |told| {
            told.updates().any(|u| matches!(u, Update::Departures { .. }))
        })
        .await;
    let departure = told.updates().find_map(|update| match update {
        Update::Departures { vanished, .. } => Some(vanished[0].clone()),
        _ => None,
    });
    let departure = departure.unwrap();
    assert_eq!(
        (departure.address.to_string().as_str(), departure.evidence),
        ("10.0.0.22", Evidence::PodGone)
    );

    // A relist is answered by consistent reads.
    let relist = v1::Relist {
        relist_id: 5,
        namespace: "shop".into(),
        service: "web".into(),
        pods: vec![departure.pod.clone().unwrap().into()],
        nodes: vec![],
    };
    service.say(Message::Relist(relist)).await;
    let told = service
        .until("the confirmation", |told| {
            told.updates().any(|u| matches!(u, Update::Confirm(_)))
        })
        .await;
    let confirm = told.updates().find_map(|update| match update {
        Update::Confirm(confirm) => Some(confirm.clone()),
        _ => None,
    });
    let confirm = confirm.unwrap();
    assert_eq!((confirm.relist_id, confirm.slices.len()), (5, 1));
    assert_eq!(confirm.pods[0].evidence, Evidence::PodGone);
    assert!(confirm.service.is_some());

    // A deletion is told at once, and nobody's finalizer was in the way.
    cluster.kubectl(&[
        "-n",
        "shop",
        "delete",
        "targetgroupbinding",
        "first",
        "--timeout=5s",
    ]);
    service
        .until("the tombstone", |told| told.mirror.sources.is_empty())
        .await;
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_written_once_and_is_no_news() {
    let cluster = Cluster::start("written").await;
    cluster.install_all();
    cluster.binding("first");
    let mut agent = cluster.agent("pod-1").await;
    let service = &cluster.service;
    let told = service
        .until("the binding", |told| {
            told.mirror.sources.contains_key(&shop("first"))
        })
        .await;
    let uid = told.mirror.sources[&shop("first")].version.uid;

    let before = told.statements.len();
    let write_back = answer(&uid.to_string());
    service.say(Message::WriteBack(write_back.clone())).await;
    service
        .until("the result", |told| {
            told.statements
                .contains(&Statement::WriteBackResult { id: 9, error: None })
        })
        .await;
    let line = cluster.kubectl(&["-n", "shop", "get", "targetgroupbinding", "first", "--no-headers"]);
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        columns[..5],
        ["first", "web", "80", "True", "1"],
        "TARGET-TYPE is unset and empty: {line}"
    );
    let events = Api::<Event>::namespaced(cluster.client().await, "shop");
    let events = events.list(&ListParams::default()).await.unwrap();
    assert_eq!(
        events.items[0].regarding.as_ref().unwrap().name.as_deref(),
        Some("first")
    );

    // The same again writes nothing, and another object of the name is left alone.
    let version = || {
        cluster.kubectl(&[
            "-n",
            "shop",
            "get",
            "targetgroupbinding",
            "first",
            "-o",
            "jsonpath={.metadata.resourceVersion}",
        ])
    };
    let written = version();
    let again = v1::WriteBack {
        write_back_id: 10,
        event: None,
        ..write_back.clone()
    };
    let stranger = v1::WriteBack {
        write_back_id: 11,
        uid: "6f8bdc5e-0000-4000-8000-000000000099".into(),
        target_group_binding: Some(v1::TargetGroupBindingStatus::default()),
        ..again.clone()
    };
    for (id, write_back) in [(10, again), (11, stranger)] {
        service.say(Message::WriteBack(write_back)).await;
        service
            .until("the result", |told| {
                told.statements
                    .contains(&Statement::WriteBackResult { id, error: None })
            })
            .await;
    }
    assert_eq!(version(), written);
    let told = service.told();
    let news = told.statements[before..]
        .iter()
        .filter(|s| {
            matches!(
                s,
                Statement::Update {
                    update: Update::Sources(_),
                    ..
                }
            )
        })
        .count();
    assert_eq!(news, 0, "{:#?}", &told.statements[before..]);
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_cannot_be_seen_is_unsynced_and_a_restart_tells_everything_anew() {
    let cluster = Cluster::start("unsynced").await;
    cluster.install("agent/rbac.yaml");
    cluster.web();
    cluster.slice("web-1", &["10.0.0.1"]);
    let mut agent = cluster.agent("pod-1").await;
    let service = &cluster.service;
    let unsynced = |statement: &Statement| matches!(statement, Statement::Unsynced { kind, reason } if kind == "TargetGroupBinding" && reason.contains("404"));
    service
        .until("unsynced, for there is no such kind", |told| {
            told.statements.iter().any(unsynced)
        })
        .await;
    service
        .until("the slices all the same", |told| {
            told.mirror.slices.contains_key(&shop("web"))
        })
        .await;

    cluster.install_all();
    cluster.binding("first");
    cluster.binding("second");
    service
        .until("both bindings", |told| told.mirror.sources.len() == 2)
        .await;

    // Only what the API server says it deleted is said to be deleted.
    let before = service.told().statements.len();
    cluster.kubectl(&[
        "delete",
        "crd",
        "targetgroupbindings.elbv2.k8s.aws",
        "--timeout=30s",
    ]);
    let told = service
        .until("the deletions", |told| told.mirror.sources.is_empty())
        .await;
    for statement in &told.statements[before..] {
        let Statement::Update {
            update: Update::Sources(change),
            ..
        } = statement
        else {
            continue;
        };
        assert!(
            matches!(change, Change::Patch { .. }),
            "no reset without a list: {change:?}"
        );
    }

    // Killed, and one slice is gone meanwhile: the next agent's list is complete.
    agent.kill().await.unwrap();
    service
        .until("the end of the stream", |told| told.ended == 1)
        .await;
    cluster.slice("web-2", &["10.0.0.2"]);
    cluster.kubectl(&["-n", "shop", "delete", "endpointslice", "web-1"]);
    let mut agent = cluster.agent("pod-1").await;
    let told = service
        .until("the new state", |told| {
            told.hellos.len() == 2 && told.mirror.slices[&shop("web")].keys().eq([&shop("web-2")])
        })
        .await;
    assert!(matches!(
        told.updates().last(),
        Some(
            Update::Slices {
                change: Change::Reset(_),
                ..
            } | Update::Service { .. }
        )
    ));
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_streams_and_the_other_takes_over() {
    let cluster = Cluster::start("replicas").await;
    cluster.install_all();
    cluster.web();
    let mut first = cluster.agent("pod-1").await;
    let service = &cluster.service;
    service
        .until("the first stream", |told| told.hellos.len() == 1)
        .await;
    let mut second = cluster.agent("pod-2").await;
    let beats = service.told().heartbeats;
    let told = service
        .until("signs of life of the first", |told| told.heartbeats > beats + 4)
        .await;
    assert_eq!(told.hellos.len(), 1, "the second is warm");

    // A graceful stop gives the Lease up at once.
    first.stop(std::time::Duration::from_secs(15)).await.unwrap();
    let told = service
        .until("the second stream", |told| told.hellos.len() == 2)
        .await;
    assert_eq!(told.hellos[1].instance, "pod-2");
    service
        .until("its snapshot", |told| {
            told.mirror
                .services
                .get(&shop("web"))
                .is_some_and(Option::is_some)
        })
        .await;
    second.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_refuses_what_can_be_known_to_be_wrong() {
    let cluster = Cluster::start("definition").await;
    cluster.install_all();
    let refused = |spec: &str, words: &str| {
        let file = cluster.scratch.path().join("bad.yaml");
        let yaml = format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: a, namespace: shop}}, spec: {spec}}}"
        );
        std::fs::write(&file, yaml).unwrap();
        let answer = cluster
            .plane
            .kubectl(["apply", "-f", file.to_str().unwrap()])
            .unwrap();
        assert!(!answer.status.success(), "{spec}");
        assert!(answer.stderr.contains(words), "{spec}: {}", answer.stderr);
    };
    let service = "serviceRef: {name: web, port: http}";
    refused(
        &format!("{{{service}}}"),
        "give targetGroupARN or targetGroupName",
    );
    refused("{targetGroupName: a}", "serviceRef");
    refused(
        &format!(
            "{{{service}, targetGroupName: a, networking: {{ingress: [{{ports: [], from: [{{ipBlock: {{cidr: 10.0.0.0/8}}, securityGroup: {{groupID: sg-1}}}}]}}]}}}}"
        ),
        "from",
    );
    refused(
        &format!("{{{service}, targetGroupName: a, targetType: lambda}}"),
        "targetType",
    );
    refused(
        &format!("{{{service}, targetGroupName: a, targetType: ip, nodeSelector: {{}}}}"),
        "nodeSelector",
    );

    let apply = |spec: &str| {
        cluster.apply(&format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: a, namespace: shop}}, spec: {spec}}}"
        ));
    };
    apply(&format!("{{{service}, targetGroupName: a}}"));
    apply(&format!(
        "{{{service}, targetGroupName: a, targetGroupARN: 'arn:1', ipAddressType: ipv4, vpcID: vpc-0123abcd}}"
    ));
    refused(
        &format!("{{{service}, targetGroupName: a, targetGroupARN: 'arn:2'}}"),
        "targetGroupARN cannot change",
    );
    let object = bindings(cluster.client().await).get("a").await.unwrap();
    assert_eq!(object.data["spec"]["targetGroupARN"], "arn:1");
    cluster.stop().await;
}
