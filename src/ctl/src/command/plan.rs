use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    Console, Error,
    client::Client,
    kind::arn_name,
    manifest,
    output::{self, Format, Output, text},
};

/// Shows what would be done now, on what is known. Nothing is done.
///
/// `elbow plan web` for a target group; `elbow plan -f FILE --cluster east` for TargetGroupBindings as kubectl takes
/// them. Manifests of Elbow's own are tried by `elbow apply --dry-run`.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// The name of a declared target group.
    #[arg(required_unless_present = "filename")]
    target_group: Option<String>,
    /// A file with TargetGroupBindings, or `-` for standard input.
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        conflicts_with = "target_group",
        requires = "cluster"
    )]
    filename: Option<PathBuf>,
    /// The cluster that they are meant for.
    #[arg(long, short, conflicts_with = "target_group")]
    cluster: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            target_group,
            filename,
            cluster,
            output,
        } = self;
        let preview = if let Some(path) = filename {
            let text = manifest::text(&path, console)?;
            let query = cluster.into_iter().map(|cluster| ("cluster", cluster));
            client.post_yaml(&["plans"], query.collect(), text).await?
        } else {
            let body = json!({ "targetGroup": target_group });
            client.post(&["plans"], Vec::new(), Some(&body)).await?
        };
        if matches!(output.format, Format::Json | Format::Yaml) {
            return output::value(console, output.format, &preview);
        }
        for object in items(&preview, "objects") {
            console.line(format_args!(
                "{}/{}: {}: {}",
                text(&object, "/namespace"),
                text(&object, "/name"),
                text(&object, "/ready/reason"),
                text(&object, "/ready/message")
            ))?;
        }
        items(&preview, "plans")
            .iter()
            .try_for_each(|plan| show(console, plan))
    }
}

fn items(value: &Value, field: &str) -> Vec<Value> {
    value[field].as_array().cloned().unwrap_or_default()
}

pub(super) fn show(console: &mut Console, plan: &Value) -> Result<(), Error> {
    let (steps, holds) = (items(plan, "steps"), items(plan, "holds"));
    console.line(format_args!("target group {}", arn_name(plan, "/targetGroupArn")))?;
    if steps.is_empty() {
        console.line("  nothing to do")?;
    }
    for step in &steps {
        for target in items(step, "targets") {
            let sign = match text(step, "/action").as_str() {
                "register" | "claim" => '+',
                "deregister" => '-',
                _ => '~',
            };
            let why = text(&target, "/why");
            console.line(format_args!(
                "  {sign} {} {}  {why}",
                text(step, "/action"),
                key(&target)
            ))?;
        }
    }
    for hold in &holds {
        let removals = items(hold, "removals")
            .into_iter()
            .map(|target| format!("-{}", key(&target)));
        let additions = items(hold, "additions")
            .into_iter()
            .map(|target| format!("+{}", key(&target)));
        let targets: Vec<_> = removals.chain(additions).collect();
        console.line(format_args!(
            "  held: {}  {}",
            text(hold, "/reason"),
            targets.join(" ")
        ))?;
        console.line(format_args!("        released by: {}", text(hold, "/release")))?;
    }
    Ok(())
}

/// `10.0.0.1:80`.
pub(crate) fn key(target: &Value) -> String {
    match text(target, "/id") {
        id if id.contains(':') && !id.starts_with("arn:") => format!("[{id}]:{}", text(target, "/port")),
        id => format!("{id}:{}", text(target, "/port")),
    }
}
