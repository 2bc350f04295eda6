//! A control plane with an agent, and a service that it streams to.

use std::path::{Path, PathBuf};

use kube::{Api, Client, api::DynamicObject, core::GroupVersionKind, discovery::ApiResource};
use model::fact::ObjectName;
use runtime::Tasks;
use sandbox::{
    Scratch, free_port,
    kubernetes::{ControlPlane, Options},
    process::{Process, Program},
};
use wire::agent::v1;

use crate::service::{Service, TOKEN};

pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) service: Service,
    pub(crate) scratch: Scratch,
    pub(crate) tasks: Tasks,
}

pub(crate) fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(file)
}

pub(crate) fn shop(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

impl Cluster {
    pub(crate) async fn start(name: &str) -> Self {
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

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let answer = self.plane.kubectl(arguments).unwrap();
        assert!(
            answer.status.success(),
            "kubectl {arguments:?}: {}",
            answer.stderr
        );
        answer.stdout
    }

    pub(crate) fn apply(&self, yaml: &str) {
        let file = self.scratch.path().join("object.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    pub(crate) fn install(&self, file: &str) {
        self.kubectl(&["apply", "-f", deploy(file).to_str().unwrap()]);
    }

    pub(crate) fn install_all(&self) {
        self.install("agent/rbac.yaml");
        self.install("crds/targetgroupbindings.elbv2.k8s.aws.yaml");
        let name = "crd/targetgroupbindings.elbv2.k8s.aws";
        self.kubectl(&["wait", "--for=condition=Established", name, "--timeout=30s"]);
    }

    pub(crate) async fn agent(&self, instance: &str) -> Process {
        self.agent_with(instance, &[]).await
    }

    pub(crate) async fn agent_with(&self, instance: &str, arguments: &[&str]) -> Process {
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

    pub(crate) fn binding(&self, name: &str) {
        self.apply(&format!(
            "{{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {{name: {name}, namespace: shop}}, \
             spec: {{targetGroupARN: 'arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/0123456789abcdef', \
             serviceRef: {{name: web, port: 80}}}}}}"
        ));
    }

    pub(crate) fn web(&self) {
        self.apply(
            "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}",
        );
    }

    /// A pod of `web` that waits for the gate of `first`. Answers its UID.
    pub(crate) fn gated(&self) -> String {
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
    pub(crate) fn slice(&self, name: &str, addresses: &[&str]) {
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

    pub(crate) async fn client(&self) -> Client {
        self.plane.client().await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.plane.stop().await.unwrap();
        self.tasks.soft().cancel();
        self.tasks.hard().cancel();
    }
}

pub(crate) fn bindings(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
    Api::namespaced_with(client, "shop", &ApiResource::from_gvk(&kind))
}

/// Tells `first` that its one target is registered.
pub(crate) fn answer(uid: &str) -> v1::WriteBack {
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
pub(crate) fn gate(id: u64, uid: &str, status: &str) -> v1::GateWriteBack {
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
