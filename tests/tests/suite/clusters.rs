//! Several clusters on one target group: built programs, two real control planes, the AWS wire protocol.

use sandbox::{
    Progress,
    demo::{SOON_SILENT, Sandbox, bind, scale, stale},
    elbow,
};

#[tokio::test]
async fn a_cluster_without_its_agent_keeps_its_targets_and_is_caught_up_in_one_call() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::with(Progress::silent(), &SOON_SILENT).await.unwrap();
    let (second, mut agent) = sandbox.second_cluster("second").await.unwrap();
    let stage = sandbox.stage();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    bind(&second, &sandbox.binding()).unwrap();
    scale(&sandbox.plane, 2).await.unwrap();
    scale(&second, 3).await.unwrap();
    sandbox.registered(5).await.unwrap();

    agent.kill().await.unwrap();
    let since = stage.last_call();
    stale(&sandbox.server, "second", &Progress::silent())
        .await
        .unwrap();
    scale(&second, 6).await.unwrap();
    // The other cluster's changes go on meanwhile.
    scale(&sandbox.plane, 1).await.unwrap();
    sandbox.registered(4).await.unwrap();
    assert_eq!(stage.writes("DeregisterTargets", since), [1]);
    assert_eq!(stage.writes("RegisterTargets", since), [0_usize; 0]);

    let since = stage.last_call();
    agent.restart().await.unwrap();
    sandbox.registered(7).await.unwrap();
    assert_eq!(stage.writes("RegisterTargets", since), [3]);
    assert_eq!(stage.writes("DeregisterTargets", since), [0_usize; 0]);

    // Its cluster is taken away with its targets, which nobody could delete there any more.
    agent.kill().await.unwrap();
    let delete = reqwest::Method::DELETE;
    let (refused, problem) = sandbox
        .server
        .try_call(delete.clone(), "/v1/clusters/second", None)
        .await
        .unwrap();
    assert_eq!(refused, 409, "{problem}");
    sandbox
        .server
        .call(delete, "/v1/clusters/second?targets=drain", None)
        .await
        .unwrap();
    sandbox.registered(1).await.unwrap();
}

/// Waits for an answer of REST.
async fn answer(sandbox: &Sandbox, path: &str, what: &str, fits: impl Fn(&serde_json::Value) -> bool) {
    let silent = Progress::silent();
    sandbox.server.answers(path, what, &silent, fits).await.unwrap();
}

#[tokio::test]
async fn a_fleet_that_falls_silent_keeps_back_what_nobody_can_prove() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::with(Progress::silent(), &SOON_SILENT).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    scale(&sandbox.plane, 2).await.unwrap();
    sandbox.registered(2).await.unwrap();
    for ghost in ["ghost-1", "ghost-2", "ghost-3"] {
        sandbox.server.register_cluster(ghost, "full").await.unwrap();
    }
    // As if their agents had been there until now.
    let seen = "update clusters set seen_at = clock_timestamp() where name like 'ghost-%'";
    sandbox::postgres::execute(sandbox.installation.database(), seen)
        .await
        .unwrap();
    answer(&sandbox, "/v1/fleet", "the fleet to freeze", |fleet| {
        fleet["frozen"] == true && fleet["silent"] == 3
    })
    .await;

    // Nothing is selected any more, and every pod is alive.
    let nobody = r#"{"spec": {"selector": {"app": "nobody"}}}"#;
    let patch = ["patch", "service", "nginx-tgb-svc-alb-ip", "-p", nobody];
    elbow::done(&sandbox.plane.kubectl(patch).unwrap()).unwrap();
    answer(&sandbox, "/v1/holds", "a hold of the fleet", |holds| {
        holds.to_string().contains("FleetFreeze")
    })
    .await;
    sandbox.registered(2).await.unwrap();

    // They are gone for good, says an operator.
    for ghost in ["ghost-1", "ghost-2", "ghost-3"] {
        let path = format!("/v1/clusters/{ghost}/cordon");
        sandbox
            .server
            .call(reqwest::Method::POST, &path, None)
            .await
            .unwrap();
    }
    sandbox.registered(0).await.unwrap();
}
