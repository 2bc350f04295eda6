use clap::Args;
use serde_json::Value;

use super::plan::key;
use crate::{
    Console, Error,
    client::Client,
    output::{self, Format, Output, age, text, texts},
};

/// Says why targets are or are not registered.
///
/// For each: what the cluster states of it, the evidence if it vanished, the guard that holds it, the last plan with
/// AWS's request ids, its health, and what comes next.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// An IP address, `pod/NAMESPACE/NAME` or `binding/CLUSTER/NAMESPACE/NAME`.
    subject: String,
    /// Only the pod of this cluster.
    #[arg(long, short)]
    cluster: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Explain {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            subject,
            cluster,
            output,
        } = self;
        let mut query = vec![("subject", subject.clone())];
        query.extend(cluster.map(|cluster| ("cluster", cluster)));
        let answer = client.get(&["explanations"], query).await?;
        if matches!(output.format, Format::Json | Format::Yaml) {
            return output::value(console, output.format, &answer);
        }
        let explanations = items(&answer, "items");
        if explanations.is_empty() {
            return Err(Error::NothingKnown { subject });
        }
        explanations
            .iter()
            .try_for_each(|explanation| group(client, console, explanation))
    }
}

fn items(value: &Value, field: &str) -> Vec<Value> {
    value[field].as_array().cloned().unwrap_or_default()
}

fn group(client: &Client, console: &mut Console, explanation: &Value) -> Result<(), Error> {
    let name = match text(explanation, "/targetGroup") {
        name if name.is_empty() => "not declared".to_owned(),
        name => name,
    };
    console.line(format_args!(
        "target group {name} ({})",
        text(explanation, "/targetGroupArn")
    ))?;
    for binding in items(explanation, "bindings") {
        let [cluster, namespace, name] =
            ["cluster", "namespace", "name"].map(|field| text(&binding, &format!("/{field}")));
        console.line(format_args!(
            "  binding {cluster}/{namespace}/{name}: {}: {}",
            text(&binding, "/ready/reason"),
            text(&binding, "/ready/message")
        ))?;
        let reason = text(&binding, "/ready/reason");
        if reason != "Reconciled" {
            console.line(format_args!(
                "    runbook   {}",
                client.runbook("conditions", &reason)
            ))?;
        }
        console.line(format_args!(
            "    agent heard of {} ago",
            age(&binding, "/seenAt", console.now)
        ))?;
    }
    items(explanation, "targets")
        .iter()
        .try_for_each(|it| target(client, console, it))
}

fn target(client: &Client, console: &mut Console, target: &Value) -> Result<(), Error> {
    console.line(format_args!("  {}: {}", key(target), text(target, "/verdict")))?;
    for stated in items(target, "endpoints") {
        let [cluster, namespace, service] =
            ["cluster", "namespace", "service"].map(|field| text(&stated, &format!("/{field}")));
        let said = match (&stated["endpoint"], &stated["departure"]) {
            (Value::Object(_), _) => format!(
                "ready={} terminating={}{}",
                text(&stated, "/endpoint/ready"),
                text(&stated, "/endpoint/terminating"),
                of_pod(&stated["endpoint"]),
            ),
            (_, Value::Object(_)) => format!(
                "vanished {} ago, evidence {}{}",
                age(&stated, "/departure/at", console.now),
                text(&stated, "/departure/evidence"),
                of_pod(&stated["departure"]),
            ),
            _ => "in no slice".to_owned(),
        };
        console.line(format_args!(
            "    endpoint  {cluster}: service {namespace}/{service}: {said}"
        ))?;
    }
    let ledger = match text(target, "/ledger/state") {
        state if state.is_empty() => "not ours".to_owned(),
        state if target["ledger"]["claimed"] == true => format!("{state}, claimed: it was there before us"),
        state => state,
    };
    console.line(format_args!("    ledger    {ledger}"))?;
    let health = match text(target, "/health/state") {
        state if state.is_empty() => "AWS does not list it".to_owned(),
        state => [
            state,
            text(target, "/health/reason"),
            text(target, "/health/description"),
        ]
        .join(" ")
        .trim()
        .to_owned(),
    };
    let seen = match age(target, "/observedAt", console.now) {
        age if age.is_empty() => "AWS was not asked yet".to_owned(),
        age => format!("{health} ({age} ago)"),
    };
    console.line(format_args!("    AWS       {seen}"))?;
    for hold in items(target, "holds") {
        console.line(format_args!(
            "    held by   {}, released by {}",
            text(&hold, "/reason"),
            text(&hold, "/release")
        ))?;
        let runbook = client.runbook("holds", &text(&hold, "/reason"));
        console.line(format_args!("    runbook   {runbook}"))?;
    }
    if target["lastWrite"].is_object() {
        let outcome = match text(target, "/lastWrite/outcome") {
            outcome if outcome.is_empty() => "outcome not known".to_owned(),
            outcome => outcome,
        };
        console.line(format_args!(
            "    last      {} {outcome} {} ago, plan {}, AWS request {}",
            text(target, "/lastWrite/action"),
            age(target, "/lastWrite/at", console.now),
            text(target, "/lastWrite/plan"),
            match texts(target, "/lastWrite/requestIds") {
                ids if ids.is_empty() => "without an id".to_owned(),
                ids => ids,
            },
        ))?;
    }
    Ok(())
}

fn of_pod(stated: &Value) -> String {
    match text(stated, "/pod/name") {
        name if name.is_empty() => String::new(),
        name => format!(", pod {}/{name}", text(stated, "/pod/namespace")),
    }
}
