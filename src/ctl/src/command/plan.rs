use clap::Args;
use serde_json::{Value, json};

use crate::{
    Console, Error,
    client::Client,
    kind::arn_name,
    output::{self, Format, Output, text},
};

/// Shows what would be done to a target group now, on what is known. Nothing is done.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// The name of a declared target group.
    target_group: String,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self { target_group, output } = self;
        let plan = client
            .post(
                &["plans"],
                Vec::new(),
                Some(&json!({ "targetGroup": target_group })),
            )
            .await?;
        show(console, output.format, &plan)
    }
}

/// A plan for people, or as the service sent it.
pub(crate) fn show(console: &mut Console, format: Format, plan: &Value) -> Result<(), Error> {
    if matches!(format, Format::Json | Format::Yaml) {
        return output::value(console, format, plan);
    }
    let items = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
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
