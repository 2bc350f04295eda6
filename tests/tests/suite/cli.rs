//! `elbow` as a built program, over TLS, against everything else as built programs.

use std::process::{Command, Output};

use sandbox::{
    Progress, Wait,
    demo::{Sandbox, bind},
    elbow, wait_until,
};
use secrecy::ExposeSecret;
use serde_json::Value;

fn run(sandbox: &Sandbox, arguments: &str) -> Output {
    Command::new(elbow::programs().unwrap().join("elbow"))
        .args(arguments.split(' '))
        .env("ELBOW_URL", &sandbox.server.url)
        .env("ELBOW_TOKEN", sandbox.installation.admin_token().expose_secret())
        .env("ELBOW_CA_FILE", sandbox.installation.authority())
        .output()
        .unwrap()
}

fn told(sandbox: &Sandbox, arguments: &str) -> String {
    let output = run(sandbox, arguments);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "elbow {arguments}: {err}");
    out
}

#[tokio::test]
async fn an_operator_sees_why_pauses_and_resumes() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    bind(&sandbox.plane, &sandbox.binding()).unwrap();
    sandbox.registered(1).await.unwrap();

    let (address, _) = tests::pods(&sandbox).into_iter().next().unwrap();
    let why = told(&sandbox, &format!("explain {address}"));
    assert!(why.contains("registered by Elbow"), "{why}");
    let explained: Value =
        serde_json::from_str(&told(&sandbox, &format!("explain {address} -o json"))).unwrap();
    let write = &explained["items"][0]["targets"][0]["lastWrite"];
    let request = write["requestIds"][0].as_str().unwrap();
    let journal = sandbox.aws().journal(&awssim::JournalFilter::default());
    let named = journal.entries.iter().find(|entry| entry.request_id == request);
    assert_eq!(
        named.map(|entry| entry.action.as_str()),
        Some("RegisterTargets"),
        "{write}"
    );

    let status = told(&sandbox, "cluster status democluster");
    for line in [
        "democluster: connected",
        "agent-1",
        "serves all",
        "written by server-1",
        "1 of 1 reconciled",
    ] {
        assert!(status.contains(line), "`{line}` is not in:\n{status}");
    }

    told(&sandbox, "pause cluster democluster --reason maintenance");
    sandbox.scale(3).unwrap();
    wait_until(
        std::time::Duration::from_mins(1),
        "the plan of a paused binding",
        &Progress::silent(),
        async || {
            let bindings: Value = serde_json::from_str(&told(&sandbox, "get bindings -o json")).unwrap();
            let status = &bindings["items"][0]["status"];
            if status["ready"]["reason"] == "Paused" && status["desired"] == 3 {
                Ok(())
            } else {
                Err(Wait::not_yet(status))
            }
        },
    )
    .await
    .unwrap();
    sandbox.registered(1).await.unwrap();
    assert!(told(&sandbox, "get pauses").contains("maintenance"));
    let status = told(&sandbox, "cluster status democluster");
    let runbook = format!("{}/runbooks/conditions/Paused", sandbox.server.url);
    for line in [
        "0 of 1 reconciled",
        ": maintenance",
        "my-tgb-alb-ip: Paused: ",
        &runbook,
    ] {
        assert!(status.contains(line), "`{line}` is not in:\n{status}");
    }
    let described = told(&sandbox, "describe binding democluster/default/my-tgb-alb-ip");
    assert!(described.contains(&runbook), "{described}");
    told(&sandbox, "resume cluster democluster");
    sandbox.registered(3).await.unwrap();

    let missing = run(&sandbox, "get cluster nothing-here");
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("error: "));
}
