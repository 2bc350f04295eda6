use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use super::{Failures, plan};
use crate::{
    Console, Error,
    client::Client,
    kind::Kind,
    manifest::{self, Manifest},
    output::text,
};

/// Creates or changes what files declare.
///
/// A file holds Cluster, TargetGroup and Binding manifests of `elbow.dev/v1`, in YAML or JSON, one or many:
///
///   apiVersion: elbow.dev/v1
///   kind: Binding
///   metadata: {cluster: east, namespace: shop, name: web}
///   spec: {targetGroup: web, service: web, port: "80"}
///
/// A binding names its target group as it is declared, or by `targetGroupArn`.
/// A TargetGroup with `spec.managed` is made, changed and deleted in AWS by Elbow; one without is somebody else's, named by
/// `spec.arn`. `elbow get KIND NAME -o yaml` writes this form. `metadata.version`, if given, must be what is stored. Documents are
/// applied in their order; one that is refused stops none of the others.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Apply {
    /// A file with manifests, or `-` for standard input; can be given several times.
    #[arg(long = "filename", short = 'f', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Say what would be, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait until bindings are ready, for at most this long, e.g. `60s`.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s", require_equals = true, value_parser = seconds)]
    wait: Option<Duration>,
}

/// `30s`, `2m`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let factor = match unit {
        "s" => Some(1),
        "m" => Some(60),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    match (number, factor) {
        (Some(number), Some(factor)) if number <= 86_400 => Ok(Duration::from_secs(number * factor)),
        _ => Err("say e.g. `30s` or `2m`".to_owned()),
    }
}

impl Apply {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self { files, dry_run, wait } = self;
        let manifests = manifest::own(&files, console)?;
        let deadline = wait.map(|wait| Instant::now() + wait);
        let mut failures = Failures::default();
        let mut bindings = Vec::new();
        for manifest in &manifests {
            let what = format!("{}/{}", manifest.kind.singular(), manifest.name);
            let done = put(client, console, manifest, dry_run, &what).await;
            if done.is_ok() && manifest.kind == Kind::Bindings && !dry_run {
                bindings.push((what.clone(), manifest));
            }
            failures.note(&what, done);
        }
        if let Some(deadline) = deadline {
            for (what, manifest) in bindings {
                let ready = ready(client, console, manifest, &what, deadline).await;
                failures.note(&what, ready);
            }
        }
        failures.end()
    }
}

async fn put(
    client: &Client,
    console: &mut Console,
    manifest: &Manifest,
    dry_run: bool,
    what: &str,
) -> Result<(), Error> {
    let query = dry_run
        .then(|| ("dryRun", "true".to_owned()))
        .into_iter()
        .collect();
    let before = client.get(&manifest.path(), origin(manifest)).await;
    let before = match before {
        Err(error) if error.is_not_found() => None,
        before => Some(before?["version"].clone()),
    };
    let (created, answer) = client
        .put(&manifest.path(), query, manifest.version, &manifest.body)
        .await?;
    let done = match (created, before == Some(answer["version"].clone())) {
        (true, _) => "created",
        (false, true) => "unchanged",
        (false, false) => "configured",
    };
    console.line(format_args!(
        "{what} {done}{}",
        if dry_run { " (dry run)" } else { "" }
    ))?;
    if dry_run && manifest.kind == Kind::TargetGroups {
        plan::managed(console, &answer["status"]["managed"])?;
    }
    if let Some(token) = answer["agentToken"].as_str() {
        console.line(format_args!("the token of its agent, shown this once: {token}"))?;
    }
    Ok(())
}

/// A binding of this name may also be an object's: what is applied is the API's.
fn origin(manifest: &Manifest) -> crate::client::Query<'static> {
    match manifest.kind {
        Kind::Bindings => vec![("origin", "api".to_owned())],
        _ => Vec::new(),
    }
}

/// Waits in the service, not here: it answers as soon as the binding is ready.
async fn ready(
    client: &Client,
    console: &mut Console,
    manifest: &Manifest,
    what: &str,
    deadline: Instant,
) -> Result<(), Error> {
    let waiting = console.wait(format!("{what}: is looked at"));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut query = origin(manifest);
        query.push(("wait", format!("{}s", left.as_secs().min(25))));
        let binding = client.get(&manifest.path(), query).await?;
        if binding.pointer("/status/ready/status").and_then(Value::as_str) == Some("True") {
            drop(waiting);
            return console.line(format_args!("{what} ready"));
        }
        let told = format!(
            "{what}: {}: {}",
            text(&binding, "/status/ready/reason"),
            text(&binding, "/status/ready/message")
        );
        if left < Duration::from_secs(1) {
            return Err(Error::InVain(format!("not ready: {told}")));
        }
        waiting.say(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_seconds_or_minutes() {
        assert_eq!(seconds("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "s", "30", "1h", "-1s", "ü", "99999999999999999999s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
