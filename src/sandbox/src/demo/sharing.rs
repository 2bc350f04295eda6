//! Two clusters on one target group, one of which loses its agent for a while.

use super::{
    Stage, bind, say, scale,
    tutorial::{pod_targets, show_pods},
};
use crate::{Error, Progress, Result, elbow::Server, kubernetes::Access, process::Process};

/// So that silence is noticed soon: what an agent promises to say, and when the service takes it for silent.
pub const SOON_SILENT: [(&str, &str); 2] = [("--heartbeat", "1s"), ("--guard-silent-after", "4s")];

/// A cluster on the stage.
pub(super) struct Actor<'a> {
    pub name: &'a str,
    pub access: &'a Access,
    /// Its binding to `test-tg-ip`.
    pub binding: &'a str,
}

impl<'a> Actor<'a> {
    pub(super) fn shown(&self) -> (&'a str, &'a Access) {
        (self.name, self.access)
    }
}

/// Waits until a cluster is shown as one that nobody hears from.
pub async fn stale(server: &Server, cluster: &str, progress: &Progress) -> Result<()> {
    let what = format!("cluster {cluster} to be shown as stale");
    let stale = |told: &serde_json::Value| told["status"]["stale"] == true;
    let path = format!("/v1/clusters/{cluster}");
    server.answers(&path, &what, progress, stale).await.map(drop)
}

/// Plays it; the second cluster's agent goes and comes back.
pub(super) async fn play(
    stage: &Stage<'_>,
    server: &Server,
    first: &Actor<'_>,
    second: &Actor<'_>,
    agent: &mut Process,
) -> Result<()> {
    let both = [first.shown(), second.shown()];
    say(&format!(
        "\n5. Two clusters on one target group: {} has a pod, {} three",
        first.name, second.name
    ));
    for actor in [first, second] {
        bind(actor.access, actor.binding)?;
    }
    scale(second.access, 3).await?;
    show_pods(stage, 4, &both).await?;

    say(&format!(
        "\n6. {} loses its agent, and is taken for silent; its pods are scaled to 6 meanwhile, those of {} to 2",
        second.name, first.name
    ));
    let (since, theirs) = (stage.last_call(), pod_targets(&[second.shown()])?);
    agent.kill().await?;
    stale(server, second.name, stage.progress).await?;
    scale(second.access, 6).await?;
    scale(first.access, 2).await?;
    let known = || {
        let mut owners = pod_targets(&[first.shown()])?;
        owners.extend(theirs.clone());
        Ok(owners)
    };
    stage.show(&stage.tutorial.target_group, 5, known).await?;
    expect(stage, "DeregisterTargets", since, &[])?;
    say("   the pod of the cluster that is heard came, and of the silent one nothing was removed");

    say("\n7. Its agent is back");
    let since = stage.last_call();
    agent.restart().await?;
    show_pods(stage, 8, &both).await?;
    expect(stage, "RegisterTargets", since, &[3])?;
    expect(stage, "DeregisterTargets", since, &[])?;
    say("   caught up in one call of RegisterTargets, with 3 targets");
    Ok(())
}

fn expect(stage: &Stage<'_>, action: &str, since: u64, targets: &[usize]) -> Result<()> {
    let calls = stage.writes(action, since);
    if calls == targets {
        return Ok(());
    }
    Err(Error::Elbow(format!(
        "calls of {action} with {calls:?} targets, where {targets:?} were due"
    )))
}
