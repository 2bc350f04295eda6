//! What the agent tells.

use model::{
    fact::Evidence,
    ownership::{Pulse, Webhook, WebhookKind},
    stream::{Change, Statement, Update},
};
use wire::agent::v1::{self as v1, server_message::Message};

use crate::support::{Cluster, shop};

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
