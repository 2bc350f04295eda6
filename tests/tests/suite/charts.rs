//! The charts, installed by Helm on a real API server. Its nodes are simulated: what is tried is what the API server makes
//! of the manifests, and what Helm does to the definition of TargetGroupBinding, not a container.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::demo::{Sandbox, bind, scale};
use sandbox::kubernetes::{ControlPlane, Node, Options};
use sandbox::{Progress, Wait, elbow, wait_until};
use serde_json::Value;

const AGENT: [&str; 3] = [
    "--set=cluster=east",
    "--set=servers[0]=https://elbow.example.com:8444",
    "--set=image.repository=elbow-agent",
];
const SERVER: [&str; 1] = ["--set=image.repository=elbow-server"];
const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);
const DEFINITION: &str = "crd/targetgroupbindings.elbv2.k8s.aws";

/// Helm, as `cargo xtask test` names it.
fn helm() -> Option<PathBuf> {
    let helm = std::env::var_os("ELBOW_HELM").map(PathBuf::from);
    if helm.is_none() {
        assert!(
            std::env::var_os("ELBOW_REQUIRE").is_none_or(|what| what != "all"),
            "ELBOW_HELM names no Helm: run `cargo xtask test`"
        );
        eprintln!("skipped: ELBOW_HELM names no Helm");
    }
    helm
}

struct Cluster {
    helm: PathBuf,
    plane: ControlPlane,
}

impl Cluster {
    async fn start(helm: PathBuf, name: &str) -> Self {
        let nodes = Node::spread(name, 1, "192.168.0.0/16".parse().unwrap(), &["a"]);
        let plane = ControlPlane::start(Options::full(name, nodes)).await.unwrap();
        let cluster = Self { helm, plane };
        cluster.kubectl("create namespace elbow-system");
        cluster.kubectl("label namespace elbow-system pod-security.kubernetes.io/enforce=restricted");
        cluster.kubectl("-n elbow-system create secret generic elbow-agent --from-literal=token=t --from-literal=ca.pem=c");
        cluster
    }

    /// `helm VERB RELEASE …` in the namespace of the release.
    fn helm(&self, arguments: &[&str], values: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.helm)
            .args(arguments)
            .args(["--namespace", "elbow-system", "--kubeconfig"])
            .arg(self.plane.kubeconfig())
            .args(values)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts"))
            .env("HELM_CACHE_HOME", self.plane.folder().join("helm"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    fn kubectl(&self, arguments: &str) -> String {
        let answer = self.plane.kubectl(arguments.split(' ')).unwrap();
        assert!(answer.status.success(), "kubectl {arguments}: {}", answer.stderr);
        answer.stdout
    }

    fn has_definition(&self) -> bool {
        self.plane.kubectl(["get", DEFINITION]).unwrap().status.success()
    }

    async fn wait_until_ready(&self, deployment: &str, replicas: &str) {
        let what = format!("{replicas} ready pods of {deployment}");
        let asked =
            format!("-n elbow-system get deployment {deployment} -o jsonpath={{.status.readyReplicas}}");
        wait_until(LIMIT, &what, &Progress::silent(), async || {
            let ready = self.kubectl(&asked);
            if ready == replicas {
                Ok(())
            } else {
                Err(Wait::not_yet(ready))
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_s_chart_brings_the_definition_and_never_takes_it_or_a_binding_away() {
    let (true, Some(helm)) = (tests::available(), helm()) else {
        return;
    };
    let cluster = Cluster::start(helm, "chart").await;
    let refused = cluster
        .helm(&["install", "elbow-agent", "elbow-agent"], &[])
        .unwrap_err();
    assert!(refused.contains("is missing"), "{refused}");

    let notes = cluster
        .helm(&["install", "elbow-agent", "elbow-agent"], &AGENT)
        .unwrap();
    assert!(notes.contains("as cluster \"east\""), "{notes}");
    cluster.wait_until_ready("elbow-agent", "2").await;
    let budget = "-n elbow-system get poddisruptionbudget elbow-agent -o jsonpath={.spec.maxUnavailable}";
    assert_eq!(cluster.kubectl(budget), "1");
    cluster.kubectl(&format!(
        "wait --for=condition=Established {DEFINITION} --timeout=30s"
    ));
    let binding = cluster.plane.folder().join("binding.yaml");
    std::fs::write(
        &binding,
        "{apiVersion: elbv2.k8s.aws/v1beta1, kind: TargetGroupBinding, metadata: {name: web}, \
         spec: {targetGroupName: web, serviceRef: {name: web, port: 80}}}",
    )
    .unwrap();
    cluster.kubectl(&format!("apply -f {}", binding.display()));

    // An upgrade finds a definition that is there: its own.
    cluster
        .helm(&["upgrade", "elbow-agent", "elbow-agent"], &AGENT)
        .unwrap();
    cluster
        .helm(
            &["upgrade", "elbow-agent", "elbow-agent"],
            &[&AGENT[..], &["--set=crds.install=never"]].concat(),
        )
        .unwrap();
    assert!(cluster.has_definition());
    cluster
        .helm(&["uninstall", "elbow-agent", "--wait"], &[])
        .unwrap();
    assert!(cluster.kubectl("get targetgroupbindings -o name").contains("web"));

    // The definition is of no release now: it stays as it is.
    cluster.kubectl(&format!("annotate {DEFINITION} meta.helm.sh/release-name-"));
    cluster
        .helm(&["install", "elbow-agent", "elbow-agent"], &AGENT)
        .unwrap();
    let annotations = cluster.kubectl(&format!("get {DEFINITION} -o jsonpath={{.metadata.annotations}}"));
    assert!(
        !annotations.contains("meta.helm.sh/release-name\""),
        "{annotations}"
    );
    let always = [&AGENT[..], &["--set=crds.install=always"]].concat();
    let refused = cluster
        .helm(&["upgrade", "elbow-agent", "elbow-agent"], &always)
        .unwrap_err();
    assert!(refused.contains("targetgroupbindings.elbv2.k8s.aws"), "{refused}");
}

/// Of the operator's kinds nothing is made unless it is asked for; no API server here knows them.
fn monitoring_is_rendered(cluster: &Cluster) {
    let render = |chart: &str, values: &[&str], more: &[&str]| {
        cluster
            .helm(&["template", chart, chart], &[values, more].concat())
            .unwrap()
    };
    let on = [
        "--set=monitoring.podMonitor=true",
        "--set=monitoring.labels.release=prometheus",
    ];
    for (chart, values) in [("elbow-server", &SERVER[..]), ("elbow-agent", &AGENT[..])] {
        assert!(
            !render(chart, values, &[]).contains("monitoring.coreos.com"),
            "{chart}"
        );
        let monitored = render(chart, values, &on);
        assert!(
            monitored.contains("kind: PodMonitor") && monitored.contains("release: prometheus"),
            "{monitored}"
        );
        assert!(!monitored.contains("kind: PrometheusRule"), "{chart}");
    }
    let rules = render("elbow-server", &SERVER, &["--set=monitoring.rules=true"]);
    let rules: Vec<_> = rules
        .split("\n---\n")
        .map(|document| serde_saphyr::from_str::<serde_json::Value>(document).unwrap())
        .filter(|document| document["kind"] == "PrometheusRule")
        .collect();
    let [rule] = &rules[..] else {
        panic!("one rule is rendered: {rules:?}");
    };
    let alerts = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(
        alerts.iter().any(|alert| alert["alert"] == "ElbowClusterSilent"),
        "{rule}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_s_chart_is_accepted_and_sets_nothing_unsafe() {
    let (true, Some(helm)) = (tests::available(), helm()) else {
        return;
    };
    let cluster = Cluster::start(helm, "server-chart").await;
    let refused = cluster
        .helm(&["template", "elbow-server", "elbow-server"], &[])
        .unwrap_err();
    assert!(refused.contains("image.repository is missing"), "{refused}");
    for (value, words) in [
        (
            "--set-string=settings.ELBOW_INSECURE_DEV=true",
            "settings.ELBOW_INSECURE_DEV",
        ),
        (
            "--set-string=settings.AWS_SECRET_ACCESS_KEY=x",
            "settings.AWS_SECRET_ACCESS_KEY",
        ),
        ("--set=tls.secretName=", "/tls/secretName"),
        ("--set=imagee=x", "imagee"),
    ] {
        let values = [&SERVER[..], &[value]].concat();
        let refused = cluster
            .helm(&["template", "elbow-server", "elbow-server"], &values)
            .unwrap_err();
        assert!(refused.contains(words), "{value}: {refused}");
    }
    monitoring_is_rendered(&cluster);
    // The migration is a Job of a pod that ends; simulated nodes let it run for ever, so the API server judges it unrun.
    let rendered = cluster
        .helm(&["template", "elbow-server", "elbow-server"], &SERVER)
        .unwrap();
    let file = cluster.plane.folder().join("server.yaml");
    std::fs::write(&file, rendered).unwrap();
    let applied = cluster.kubectl(&format!(
        "-n elbow-system apply --dry-run=server -f {}",
        file.display()
    ));
    assert!(
        applied.contains("job.batch/elbow-server-migrate created"),
        "{applied}"
    );

    let secret = "-n elbow-system create secret generic";
    cluster.kubectl(&format!(
        "{secret} elbow-database --from-literal=url=postgres://x"
    ));
    cluster.kubectl(&format!(
        "{secret} elbow-server-tls --from-literal=tls.crt=x --from-literal=tls.key=x"
    ));
    cluster
        .helm(
            &["install", "elbow-server", "elbow-server", "--no-hooks"],
            &SERVER,
        )
        .unwrap();
    cluster.wait_until_ready("elbow-server", "2").await;
}

/// The rights that the agent's chart gives in these namespaces alone.
fn rights_in(helm: &Path, namespaces: &str) -> String {
    let output = Command::new(helm)
        .args([
            "template",
            "elbow-agent",
            "elbow-agent",
            "--namespace=elbow-system",
        ])
        .args(AGENT)
        .arg(format!("--set=namespaces={{{namespaces}}}"))
        .arg("--show-only=templates/rbac.yaml")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the cluster says why it does not see what is bound in a namespace.
async fn unsynced(sandbox: &Sandbox, namespace: &str, why: &str) {
    let what = format!("cluster to say `{why}` of {namespace}");
    let kind = format!("TargetGroupBinding in {namespace}");
    let says = |told: &Value| {
        let unsynced = told["status"]["unsynced"][&kind].as_str();
        unsynced.is_some_and(|said| said.contains(why))
    };
    let path = "/v1/clusters/democluster";
    let silent = Progress::silent();
    sandbox.server.answers(path, &what, &silent, says).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rights_in_one_namespace_it_is_served_and_what_is_bound_elsewhere_stays() {
    let (true, Some(helm)) = (tests::available(), helm()) else {
        return;
    };
    let mut sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    scale(&sandbox.plane, 2).await.unwrap();
    sandbox.registered(2).await.unwrap();

    sandbox.agent.kill().await.unwrap();
    let cluster = sandbox.plane.as_ref();
    cluster.run("create namespace other").unwrap();
    elbow::apply(cluster, "rights", &rights_in(&helm, "other")).unwrap();
    let filter = [("--namespace", "other")];
    let mut agent = sandbox
        .another_agent("agent-2", &[&sandbox.server], &filter)
        .await
        .unwrap();
    unsynced(&sandbox, "default", "does not look at").await;

    // Served there by its Role; where nobody looks, not even a deletion takes anything away.
    cluster.run("delete targetgroupbinding my-tgb-alb-ip").unwrap();
    let other = cluster.clone().in_namespace("other");
    elbow::apply(&other, "service", include_str!("../../seed/nginx-instance.yaml")).unwrap();
    elbow::apply(&other, "tgb", &sandbox.tutorial.instance_binding()).unwrap();
    let group = &sandbox.tutorial.instance_target_group;
    sandbox.stage().registered(group, 3).await.unwrap();
    let ready = "wait --for=condition=Ready targetgroupbinding/my-tgb-alb-instance --timeout=60s";
    other.run(ready).unwrap();
    sandbox.registered(2).await.unwrap();

    // Without its Role it says so, and everything stays.
    other.run("delete rolebinding elbow-agent-objects").unwrap();
    agent.restart().await.unwrap();
    unsynced(&sandbox, "other", "forbidden").await;
    sandbox.stage().registered(group, 3).await.unwrap();
    assert_eq!(sandbox.stage().writes("DeregisterTargets", 0), [0_usize; 0]);
}
