//! A rolling upgrade, and its way back: servers of before the newest migration on the schema of after it, while pods come
//! and go.

use std::{path::PathBuf, time::Duration};

use sandbox::{
    Progress,
    demo::{Sandbox, bind, scale},
};
use tests::{Witness, agrees};

const START: Duration = Duration::from_mins(1);

/// Pods come and go, and AWS follows; none that stood is removed.
async fn traffic(sandbox: &Sandbox) {
    for replicas in [5, 2, 6, 3] {
        let witness = Witness::look(sandbox);
        scale(&sandbox.plane, replicas).await.unwrap();
        agrees(sandbox, replicas).await;
        witness.judge(sandbox);
    }
}

#[tokio::test]
#[ignore = "`cargo xtask skew` builds the programs of before the newest migration"]
async fn servers_of_before_a_migration_serve_on_the_schema_of_after_it() {
    assert!(tests::available());
    let older = std::env::var_os("ELBOW_OLDER_BIN").expect("`cargo xtask skew` names the older programs");
    let mut sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    tests::add_foreign(&sandbox);
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    scale(&sandbox.plane, 3).await.unwrap();
    agrees(&sandbox, 3).await;

    // The upgrade is under way: the agent talks to the older one, the newer one holds the shard.
    let installation = &sandbox.installation;
    let mut old = installation
        .server_of(&PathBuf::from(older), "server-0", &[])
        .await
        .unwrap();
    sandbox.agent.kill().await.unwrap();
    let _agent = sandbox
        .another_agent("agent-2", &[&old, &sandbox.server], &[])
        .await
        .unwrap();
    traffic(&sandbox).await;

    // It is given up: the older one does everything.
    let witness = Witness::look(&sandbox);
    sandbox.server.process.kill().await.unwrap();
    traffic(&sandbox).await;

    // And done: the newer one does.
    sandbox.server.process.restart().await.unwrap();
    let ready = format!("{}/readyz", sandbox.server.admin);
    let server = &mut sandbox.server.process;
    server
        .wait_http(&ready, START, &Progress::silent())
        .await
        .unwrap();
    old.process.kill().await.unwrap();
    traffic(&sandbox).await;
    witness.judge(&sandbox);
}
