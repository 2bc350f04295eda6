//! `elbow cluster status`: everything that keeps a cluster's targets from following its pods, on one screen.

use serde_json::Value;

use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, Kind},
    output::{self, age, text},
};

/// What the cluster's status is told from.
struct Report {
    cluster: Value,
    /// Those that are not `Reconciled`, or have a warning, first told.
    bindings: Vec<Value>,
    /// Of the cluster, and of its bindings.
    holds: Vec<Value>,
    /// That say something of the cluster, its shard or all.
    pauses: Vec<Value>,
    /// `None`: not to be told to this token.
    shard: Option<Value>,
    fleet: Option<Value>,
}

/// Tells how the cluster is.
pub(super) async fn run(client: &Client, console: &mut Console, name: &str) -> Result<(), Error> {
    let report = gather(client, name).await?;
    report.agent(console, name)?;
    report.shard(console)?;
    report.bindings(client, console)?;
    if report.holds.is_empty() {
        return Ok(());
    }
    let table = output::table(&Kind::Holds.columns(), &report.holds, false, console.now);
    console.print(&format!("\nholds:\n{table}"))
}

async fn gather(client: &Client, name: &str) -> Result<Report, Error> {
    let all = Filter::default();
    let of_cluster = Filter {
        cluster: Some(name.to_owned()),
        ..Filter::default()
    };
    let cluster = Kind::Clusters.get(client, name, &all).await?;
    let bindings = Kind::Bindings.list(client, &of_cluster).await?;
    let ids: Vec<_> = bindings.iter().map(|binding| &binding["id"]).collect();
    let mut holds = permitted(Kind::Holds.list(client, &all).await)?.unwrap_or_default();
    holds.retain(|hold| {
        let held = hold["bindings"].as_array();
        hold["cluster"] == name || held.is_some_and(|held| held.iter().any(|id| ids.contains(&id)))
    });
    let shards = permitted(Kind::Shards.list(client, &all).await)?.unwrap_or_default();
    let place = ["account", "region"].map(|part| text(&cluster, &format!("/spec/{part}")));
    let shard = shards
        .into_iter()
        .find(|shard| text(shard, "/name").ends_with(&format!("/{}", place.join("/"))));
    let mut pauses = permitted(Kind::Pauses.list(client, &all).await)?.unwrap_or_default();
    let of_shard = shard
        .as_ref()
        .map(|shard| format!("shard/{}", text(shard, "/name")));
    pauses.retain(|pause| {
        let subject = text(pause, "/subject");
        subject == "installation"
            || Some(&subject) == of_shard.as_ref()
            || subject == format!("cluster/{name}")
            || subject.starts_with(&format!("binding/{name}/"))
    });
    let fleet = permitted(Kind::Fleet.list(client, &all).await)?.and_then(|fleet| fleet.into_iter().next());
    Ok(Report {
        cluster,
        bindings,
        holds,
        pauses,
        shard,
        fleet,
    })
}

/// What a token with a narrow scope may not see is left out.
fn permitted<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_forbidden() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Report {
    fn agent(&self, console: &mut Console, name: &str) -> Result<(), Error> {
        let (cluster, now) = (&self.cluster, console.now);
        let status = &cluster["status"];
        let state = match (status["seenAt"].is_null(), status["stale"] == true) {
            (true, _) => {
                "its agent was never heard of: install it (`elbow cluster rotate-token` makes a token)"
            }
            (false, true) => "silent: what it stated is kept, and nothing unproven is removed for it",
            (false, false) => "connected",
        };
        console.line(format_args!("cluster {name}: {state}"))?;
        let line = |console: &mut Console, what: &str, said: String| {
            if said.is_empty() {
                Ok(())
            } else {
                console.line(format_args!("  {what:<10} {said}"))
            }
        };
        let heard = match age(cluster, "/status/seenAt", now) {
            age if age.is_empty() => String::new(),
            age => format!(
                "{}, stream {}, heard of {age} ago",
                text(cluster, "/status/agentInstance"),
                text(cluster, "/status/epoch")
            ),
        };
        line(console, "agent", heard)?;
        let synced = match age(cluster, "/status/syncedAt", now) {
            age if age.is_empty() => "never listed completely".to_owned(),
            age => format!("last listed completely {age} ago"),
        };
        line(console, "objects", synced)?;
        for (kind, reason) in status["unsynced"].as_object().into_iter().flatten() {
            let reason = reason.as_str().unwrap_or_default();
            line(console, "cannot see", format!("{kind}: {reason}"))?;
        }
        let serve = match text(cluster, "/spec/serve") {
            serve if serve == "labelled" => "labelled objects alone".to_owned(),
            serve => format!("{serve} of its objects"),
        };
        line(
            console,
            "mode",
            format!("{}, serves {serve}", text(cluster, "/spec/mode")),
        )?;
        if !status["cordonedAt"].is_null() {
            let since = age(cluster, "/status/cordonedAt", now);
            line(console, "cordoned", format!("{since} ago: it adds no new target"))?;
        }
        line(console, "leaving", text(cluster, "/status/leaving"))?;
        if status["lbc"]["running"] == true {
            let lease = text(cluster, "/status/lbc/lease");
            line(
                console,
                "LBC",
                format!("the AWS Load Balancer Controller runs (Lease {lease})"),
            )?;
        }
        Ok(())
    }

    fn shard(&self, console: &mut Console) -> Result<(), Error> {
        let now = console.now;
        if let Some(shard) = &self.shard {
            let name = text(shard, "/name");
            let state = match text(shard, "/holder") {
                holder if holder.is_empty() => "nobody writes there".to_owned(),
                holder => format!("written by {holder}"),
            };
            console.line(format_args!("  {:<10} {name}: {state}", "shard"))?;
            let restored = age(shard, "/restoredAt", now);
            if !restored.is_empty() {
                console.line(format_args!(
                    "  {:<10} the database went back in time {restored} ago: nothing is removed until `elbow release shard {name}`",
                    "restored"
                ))?;
            }
        }
        for pause in &self.pauses {
            let [subject, by, reason] =
                ["subject", "pausedBy", "reason"].map(|of| text(pause, &format!("/{of}")));
            let since = age(pause, "/since", now);
            console.line(format_args!(
                "  {:<10} {subject} by {by} {since} ago: {reason}",
                "paused"
            ))?;
        }
        match &self.fleet {
            Some(fleet) if fleet["frozen"] == true => console.line(format_args!(
                "  {:<10} {} of {} clusters are silent: nothing unproven is removed anywhere",
                "fleet",
                text(fleet, "/silent"),
                text(fleet, "/clusters")
            )),
            _ => Ok(()),
        }
    }

    fn bindings(&self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let reason = |binding: &Value| text(binding, "/status/ready/reason");
        let is_well = |binding: &&Value| reason(binding) == "Reconciled";
        let well = self.bindings.iter().filter(is_well).count();
        console.line(format_args!(
            "  {:<10} {well} of {} reconciled",
            "bindings",
            self.bindings.len()
        ))?;
        for binding in &self.bindings {
            let message = text(binding, "/status/ready/message");
            // What is wrong with a text that is served all the same is told in the message.
            if is_well(&binding) && !message.contains("warning: ") {
                continue;
            }
            let [namespace, name] = ["namespace", "name"].map(|of| text(binding, &format!("/{of}")));
            let reason = reason(binding);
            console.line(format_args!("    {namespace}/{name}: {reason}: {message}"))?;
            if !is_well(&binding) {
                console.line(format_args!("      {}", client.runbook("conditions", &reason)))?;
            }
        }
        Ok(())
    }
}
