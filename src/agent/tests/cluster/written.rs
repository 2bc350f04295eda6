//! What the agent writes into objects.

use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use model::{
    ownership::LBC_FINALIZER,
    stream::{Statement, Update},
};
use wire::agent::v1::{self as v1, server_message::Message};

use crate::support::{Cluster, answer, bindings, shop};

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
