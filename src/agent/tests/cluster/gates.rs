//! Readiness gates of pods, told and written.

use model::stream::{Change, Statement, Update};
use serde_json::json;
use wire::agent::v1::{self as v1, server_message::Message};

use crate::{
    service,
    support::{Cluster, gate, shop},
};

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
