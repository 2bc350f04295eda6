//! The built agent, with the rights of the shipped manifests, against a real API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mirror;
mod rights;
mod service;

use std::path::{Path, PathBuf};

use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, Client, api::DynamicObject, api::ListParams, core::GroupVersionKind, discovery::ApiResource,
};
use model::{
    fact::{Evidence, ObjectName},
    ownership::{LBC_FINALIZER, Pulse, Webhook, WebhookKind},
    stream::{Change, Statement, Update},
};
use runtime::Tasks;
use sandbox::{
    Scratch, free_port,
    kubernetes::{ControlPlane, Options},
    process::{Process, Program},
};
use serde_json::json;
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
        self.agent_with(instance, &[]).await
    }

    async fn agent_with(&self, instance: &str, arguments: &[&str]) -> Process {
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
            .arguments(arguments)
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
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
        );
    }

    /// A pod of `web` that waits for the gate of `first`. Answers its UID.
    fn gated(&self) -> String {
        self.kubectl(&["-n", "shop", "create", "serviceaccount", "default"]);
        self.apply(
            "{apiVersion: v1, kind: Pod, metadata: {name: gated, namespace: shop, labels: {app: web}}, spec: {\
             automountServiceAccountToken: false, containers: [{name: web, image: web}], \
             readinessGates: [{conditionType: target-health.elbv2.k8s.aws/first}], terminationGracePeriodSeconds: 7}}",
        );
        self.kubectl(&[
            "-n",
            "shop",
            "get",
            "pod",
            "gated",
            "-o",
            "jsonpath={.metadata.uid}",
        ])
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
        take_over: false,
        target_type: String::new(),
    }
}

/// Tells that the gate of `first` on the pod `gated` is to say `status`.
fn gate(id: u64, uid: &str, status: &str) -> v1::GateWriteBack {
    let state = v1::GateState {
        status: status.into(),
        reason: "Elb.InitialHealthChecking".into(),
        message: format!("Round {id}."),
    };
    v1::GateWriteBack {
        write_back_id: id,
        pod: Some(v1::PodRef {
            namespace: "shop".into(),
            name: "gated".into(),
            uid: uid.into(),
        }),
        gate: Some(v1::Gate {
            binding: "first".into(),
            state: Some(state),
        }),
    }
}

impl Cluster {
    /// The gated pod, by an agent that looks at nothing else.
    async fn is_told_by_an_agent_of_one_namespace(&self) {
        let before = self.service.told().statements.len();
        let mut agent = self.agent_with("pod-2", &["--namespace", "shop"]).await;
        let is_reset = |statement: &Statement| {
            let Statement::Update { update, .. } = statement else {
                return false;
            };
            matches!(update, Update::Pods { change: Change::Reset(pods), .. } if pods.len() == 1)
        };
        self.service
            .until("the pod again", |told| {
                told.statements[before..].iter().any(is_reset)
            })
            .await;
        agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_of_a_pod_is_told_and_written_into_that_pod_alone() {
    let cluster = Cluster::start("gate").await;
    cluster.install_all();
    cluster.web();
    let uid = cluster.gated();
    let mut agent = cluster.agent("pod-1").await;
    let service = &cluster.service;
    let pod = |told: &service::Told| told.mirror.pods.get(&shop("web"))?.get(&shop("gated")).cloned();
    let told = service.until("the pod", |told| pod(told).is_some()).await;
    let first = pod(&told).unwrap();
    assert_eq!((first.gates["first"].as_ref(), first.grace_seconds), (None, 7));
    assert!(!first.containers_ready);
    assert_eq!(told.mirror.graces[&shop("web")], Some(7));

    let ready = r#"{"status":{"conditions":[{"type":"ContainersReady","status":"True"}]}}"#;
    cluster.kubectl(&[
        "-n",
        "shop",
        "patch",
        "pod",
        "gated",
        "--subresource=status",
        "-p",
        ready,
    ]);
    service
        .until("its containers", |told| {
            pod(told).is_some_and(|pod| pod.containers_ready)
        })
        .await;
    let write = async |write_back: v1::GateWriteBack| {
        let id = write_back.write_back_id;
        service.say(Message::Gate(write_back)).await;
        let result = Statement::WriteBackResult { id, error: None };
        service
            .until("the result", |told| told.statements.contains(&result))
            .await;
    };
    let present = || {
        let pod = cluster.kubectl(&["-n", "shop", "get", "pod", "gated", "-o", "json"]);
        let pod: serde_json::Value = serde_json::from_str(&pod).unwrap();
        let conditions = pod["status"]["conditions"].as_array().unwrap().clone();
        assert!(
            conditions
                .iter()
                .any(|condition| condition["type"] == "ContainersReady"),
            "others' conditions stay: {conditions:?}"
        );
        let gates = conditions
            .into_iter()
            .filter(|condition| condition["type"] == "target-health.elbv2.k8s.aws/first");
        (
            gates.collect::<Vec<_>>(),
            pod["metadata"]["resourceVersion"].clone(),
        )
    };
    write(gate(1, &uid, "False")).await;
    let (gates, _) = present();
    assert_eq!(gates.len(), 1);
    assert_eq!(
        (&gates[0]["status"], &gates[0]["reason"], &gates[0]["message"]),
        (
            &json!("False"),
            &json!("Elb.InitialHealthChecking"),
            &json!("Round 1.")
        )
    );
    let since = gates[0]["lastTransitionTime"].clone();
    service
        .until("the gate", |told| {
            pod(told).is_some_and(|pod| {
                pod.gates["first"]
                    .as_ref()
                    .is_some_and(|gate| gate.message == "Round 1.")
            })
        })
        .await;
    // Other words of the same status keep its time.
    write(gate(2, &uid, "False")).await;
    assert_eq!(present().0[0]["lastTransitionTime"], since);
    write(gate(3, &uid, "True")).await;
    let (gates, version) = present();
    assert_eq!(gates[0]["status"], "True");

    // The same again writes nothing, and a later pod of the name is left alone.
    write(v1::GateWriteBack {
        write_back_id: 4,
        ..gate(3, &uid, "True")
    })
    .await;
    write(gate(5, "6f8bdc5e-0000-4000-8000-000000000009", "False")).await;
    assert_eq!(present().1, version);
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.is_told_by_an_agent_of_one_namespace().await;
    cluster.stop().await;
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
    let unsynced = |statement: &Statement| matches!(statement, Statement::Unsynced { kind, reason, .. } if kind == "TargetGroupBinding" && reason.contains("404"));
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
    let last = told
        .updates()
        .filter(|update| matches!(update, Update::Slices { .. }))
        .last();
    assert!(
        matches!(
            last,
            Some(Update::Slices {
                change: Change::Reset(_),
                ..
            })
        ),
        "{last:?}"
    );
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
async fn an_object_is_taken_over_and_its_type_filled_in_and_others_keep_what_is_theirs() {
    let cluster = Cluster::start("adopted").await;
    cluster.install_all();
    cluster.apply(
        "{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {name: first, namespace: shop, \
         labels: {elbow.dev/serve: 'true', app: web, service.k8s.aws/stack-name: web}, \
         finalizers: [elbv2.k8s.aws/resources, example.com/theirs], \
         annotations: {elbv2.k8s.aws/checkpoint: abc, elbv2.k8s.aws/checkpoint-timestamp: '17', example.com/note: theirs}}, \
         spec: {targetGroupName: a, serviceRef: {name: web, port: 80}}}",
    );
    let mut agent = cluster.agent("pod-1").await;
    let service = &cluster.service;
    let told = service
        .until("the object with its marks", |told| {
            told.mirror.sources.contains_key(&shop("first"))
        })
        .await;
    let source = &told.mirror.sources[&shop("first")];
    let marks = source.marks.clone().unwrap();
    let labels: Vec<_> = marks.labels.keys().map(String::as_str).collect();
    assert_eq!(
        labels,
        ["elbow.dev/serve", "service.k8s.aws/stack-name"],
        "only those that matter"
    );
    assert!(marks.finalizers.contains(LBC_FINALIZER));
    assert!(
        marks
            .annotations
            .iter()
            .eq(["elbv2.k8s.aws/checkpoint", "elbv2.k8s.aws/checkpoint-timestamp"])
    );

    let uid = source.version.uid.to_string();
    let write_back = v1::WriteBack {
        take_over: true,
        target_type: "ip".into(),
        ..answer(&uid)
    };
    service.say(Message::WriteBack(write_back)).await;
    let told = service
        .until("the object without the marks, and with its type", |told| {
            told.mirror.sources.get(&shop("first")).is_some_and(|source| {
                let marks = source.marks.clone().unwrap();
                source.spec["targetType"] == "ip"
                    && marks.annotations.is_empty()
                    && !marks.finalizers.contains(LBC_FINALIZER)
            })
        })
        .await;
    let marks = told.mirror.sources[&shop("first")].marks.clone().unwrap();
    assert!(marks.finalizers.iter().eq(["example.com/theirs"]));
    let object = bindings(cluster.client().await).get("first").await.unwrap();
    assert_eq!(
        object.metadata.annotations.as_ref().unwrap()["example.com/note"],
        "theirs"
    );
    let managers = object.metadata.managed_fields.unwrap();
    let ours = managers
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("elbow-defaults"))
        .unwrap();
    assert_eq!(
        serde_json::to_value(&ours.fields_v1).unwrap(),
        serde_json::json!({"f:spec": {"f:targetType": {}}}),
        "one field is ours"
    );

    // Whoever applies the object may leave the field out or say the same; it stays.
    let applied = "{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {name: first, namespace: shop}, \
                   spec: {targetGroupName: a, serviceRef: {name: web, port: 81}TYPE}}";
    for said in ["", ", targetType: ip"] {
        let file = cluster.scratch.path().join("gitops.yaml");
        std::fs::write(&file, applied.replace("TYPE", said)).unwrap();
        cluster.kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=gitops",
            "-f",
            file.to_str().unwrap(),
        ]);
        let object = bindings(cluster.client().await).get("first").await.unwrap();
        assert_eq!(object.data["spec"]["targetType"], "ip");
        assert_eq!(object.data["spec"]["serviceRef"]["port"], 81);
    }
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_the_load_balancer_controller_is_told() {
    let cluster = Cluster::start("leftovers").await;
    cluster.install_all();
    for (kind, webhook) in [
        (
            "ValidatingWebhookConfiguration",
            "vtargetgroupbinding.elbv2.k8s.aws",
        ),
        (
            "MutatingWebhookConfiguration",
            "mtargetgroupbinding.elbv2.k8s.aws",
        ),
        ("ValidatingWebhookConfiguration", "policy.example.com"),
    ] {
        let name = webhook.split('.').next().unwrap();
        cluster.apply(&format!(
            "{{apiVersion: admissionregistration.k8s.io/v1, kind: {kind}, metadata: {{name: {name}}}, webhooks: [{{ \
             name: {webhook}, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, \
             clientConfig: {{service: {{namespace: kube-system, name: gone, path: /validate}}}}, \
             rules: [{{apiGroups: [elbv2.k8s.aws], apiVersions: [v1beta1], resources: [targetgroupbindings], \
             operations: [CREATE, UPDATE]}}]}}]}}"
        ));
    }
    let mut agent = cluster.agent("pod-1").await;
    let told = cluster
        .service
        .until("what it sees around it", |told| told.surroundings.is_some())
        .await;
    let seen = told.surroundings.unwrap();
    let webhook = |kind, name: &str| Webhook {
        kind,
        name: name.to_owned(),
    };
    assert_eq!(
        seen.webhooks.unwrap(),
        [
            webhook(WebhookKind::Validating, "vtargetgroupbinding"),
            webhook(WebhookKind::Mutating, "mtargetgroupbinding"),
        ]
    );
    assert_eq!(seen.lbc, Some(Pulse::None));
    agent.stop(std::time::Duration::from_secs(15)).await.unwrap();
    cluster.stop().await;
}

/// Tries an object of the definition, and says what the API server answers to it.
struct Definition<'a>(&'a Cluster);

impl Definition<'_> {
    fn apply(&self, name: &str, spec: &str) -> Result<(), String> {
        let file = self.0.scratch.path().join("tried.yaml");
        let yaml = format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
        );
        std::fs::write(&file, yaml).unwrap();
        let answer = self
            .0
            .plane
            .kubectl(["apply", "-f", file.to_str().unwrap()])
            .unwrap();
        if answer.status.success() {
            Ok(())
        } else {
            Err(answer.stderr)
        }
    }

    fn allows(&self, name: &str, fields: &str) {
        let spec = format!("{{serviceRef: {{name: web, port: http}}, {fields}}}");
        self.apply(name, &spec)
            .unwrap_or_else(|refusal| panic!("{spec} must be allowed: {refusal}"));
    }

    fn refuses(&self, name: &str, fields: &str, words: &str) {
        let spec = format!("{{serviceRef: {{name: web, port: http}}, {fields}}}");
        let refusal = self.apply(name, &spec).unwrap_err();
        assert!(refusal.contains(words), "{spec}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "a table of what is refused and what is allowed"
)]
async fn the_definition_refuses_what_can_be_known_to_be_wrong_and_nothing_else() {
    let cluster = Cluster::start("definition").await;
    cluster.install_all();
    let definition = Definition(&cluster);
    let refusal = definition.apply("a", "{targetGroupName: a}").unwrap_err();
    assert!(refusal.contains("serviceRef"), "{refusal}");

    // Each rule about the shape: what it refuses, and the nearest that it allows.
    let peer =
        |from: &str| format!("targetGroupName: a, networking: {{ingress: [{{ports: [], from: [{from}]}}]}}");
    let (block, group) = ("ipBlock: {cidr: 10.0.0.0/8}", "securityGroup: {groupID: sg-1}");
    let shapes: [(&str, String, String); 11] = [
        (
            "give targetGroupARN or targetGroupName",
            "multiClusterTargetGroup: true".into(),
            "targetGroupName: a".into(),
        ),
        (
            "give targetGroupARN or targetGroupName",
            "targetGroupName: ''".into(),
            "targetGroupARN: 'arn:1'".into(),
        ),
        (
            "from",
            peer(&format!("{{{block}, {group}}}")),
            peer(&format!("{{{block}}}, {{{group}}}")),
        ),
        ("from", peer("{}"), peer(&format!("{{{group}}}"))),
        (
            "ports",
            format!("targetGroupName: a, networking: {{ingress: [{{from: [{{{block}}}]}}]}}"),
            format!(
                "targetGroupName: a, networking: {{ingress: [{{from: [{{{block}}}], ports: [{{protocol: UDP, port: 53}}]}}]}}"
            ),
        ),
        (
            "targetType",
            "targetGroupName: a, targetType: lambda".into(),
            "targetGroupName: a, targetType: instance".into(),
        ),
        (
            "targetGroupProtocol",
            "targetGroupName: a, targetGroupProtocol: GENEVE".into(),
            "targetGroupName: a, targetGroupProtocol: TCP_UDP".into(),
        ),
        (
            "vpcID",
            "targetGroupName: a, vpcID: vpc-1".into(),
            "targetGroupName: a, vpcID: vpc-0123abcd".into(),
        ),
        (
            "nodeSelector is for targetType instance",
            "targetGroupName: a, targetType: ip, nodeSelector: {}".into(),
            "targetGroupName: a, targetType: instance, nodeSelector: {}".into(),
        ),
        (
            "iamRoleArnToAssume is for targetType ip",
            "targetGroupName: a, targetType: instance, iamRoleArnToAssume: 'arn:1'".into(),
            "targetGroupName: a, targetType: ip, iamRoleArnToAssume: 'arn:1'".into(),
        ),
        (
            "QUIC and TCP_QUIC are for targetType ip",
            "targetGroupName: a, targetType: instance, targetGroupProtocol: QUIC".into(),
            "targetGroupName: a, targetType: ip, targetGroupProtocol: QUIC".into(),
        ),
    ];
    for (number, (words, refused, allowed)) in shapes.iter().enumerate() {
        let name = format!("shape-{number}");
        definition.refuses(&name, refused, words);
        definition.allows(&name, allowed);
    }

    // What cannot change, once it is set: from nothing to a value is allowed.
    for (name, set, other, words) in [
        (
            "arn",
            "targetGroupARN: 'arn:1'",
            "targetGroupARN: 'arn:2'",
            "targetGroupARN cannot change",
        ),
        (
            "type",
            "targetType: ip",
            "targetType: instance",
            "targetType cannot change",
        ),
        (
            "family",
            "ipAddressType: ipv4",
            "ipAddressType: ipv6",
            "ipAddressType cannot change",
        ),
        (
            "vpc",
            "vpcID: vpc-0123abcd",
            "vpcID: vpc-4567abcd",
            "vpcID cannot change",
        ),
    ] {
        definition.allows(name, "targetGroupName: a");
        definition.allows(name, &format!("targetGroupName: a, {set}"));
        definition.refuses(name, &format!("targetGroupName: a, {other}"), words);
        definition.allows(
            name,
            &format!("targetGroupName: b, {set}, multiClusterTargetGroup: true"),
        );
    }
    for (name, set, words) in [
        ("arn", "targetGroupARN", "targetGroupARN cannot change"),
        ("type", "targetType", "targetType cannot change"),
        ("vpc", "vpcID", "vpcID cannot change"),
    ] {
        definition.refuses(name, "targetGroupName: b", words);
        let object = bindings(cluster.client().await).get(name).await.unwrap();
        assert!(object.data["spec"][set].is_string(), "{set} is as it was");
    }
    // An address type that is unset is ipv4, and cannot become ipv6.
    definition.allows("unset", "targetGroupName: a");
    definition.refuses(
        "unset",
        "targetGroupName: a, ipAddressType: ipv6",
        "ipAddressType cannot change",
    );
    // What may change.
    let free = "targetGroupName: a, targetType: instance";
    definition.allows("free", free);
    definition.allows(
        "free",
        &format!("{free}, nodeSelector: {{matchLabels: {{a: b}}}}, networking: {{ingress: []}}"),
    );
    cluster.stop().await;
}
