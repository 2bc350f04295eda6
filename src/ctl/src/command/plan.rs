use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, Kind, arn_name},
    manifest,
    output::{self, Format, Output, text},
};

/// Shows what would be done now, on what is known. Nothing is done.
///
/// `elbow plan web` for a target group; `elbow plan sg-0123456789abcdef0` for a security group's rules, as its writer last
/// saw them, with what is held back and by whom; `elbow plan -f FILE --cluster east` for TargetGroupBindings as kubectl takes
/// them. Manifests of Elbow's own are tried by `elbow apply --dry-run`.
#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// The name of a declared target group, or the id of a security group.
    #[arg(
        value_name = "TARGET_GROUP|SECURITY_GROUP",
        required_unless_present = "filename"
    )]
    of: Option<String>,
    /// A file with TargetGroupBindings, or `-` for standard input.
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        conflicts_with = "of",
        requires = "cluster"
    )]
    filename: Option<PathBuf>,
    /// The cluster that they are meant for.
    #[arg(long, short, conflicts_with = "of")]
    cluster: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            of,
            filename,
            cluster,
            output,
        } = self;
        if let Some(id) = of.as_deref().filter(|of| of.starts_with("sg-")) {
            let group = Kind::SecurityGroups.get(client, id, &Filter::default()).await?;
            if matches!(output.format, Format::Json | Format::Yaml) {
                return output::value(console, output.format, &group["plan"]);
            }
            return rules(console, &group);
        }
        let preview = if let Some(path) = filename {
            let text = manifest::text(&path, console)?;
            let query = cluster.into_iter().map(|cluster| ("cluster", cluster));
            client.post_yaml(&["plans"], query.collect(), text).await?
        } else {
            let body = json!({ "targetGroup": &of });
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
            .try_for_each(|plan| show(console, plan))?;
        if let (Some(name), false) = (of, preview["managed"].is_null()) {
            let status = &preview["managed"];
            let [reason, message] = ["/ready/reason", "/ready/message"].map(|field| text(status, field));
            console.line(format_args!("managed target group {name}: {reason}: {message}"))?;
            managed(console, status)?;
        }
        Ok(())
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

/// What is left to do with a target group itself.
pub(super) fn managed(console: &mut Console, status: &Value) -> Result<(), Error> {
    for step in items(status, "steps") {
        console.line(format_args!("  {}", change(&step)))?;
    }
    for drift in items(status, "drift") {
        let [setting, declared, observed] =
            ["/setting", "/declared", "/observed"].map(|field| text(&drift, field));
        console.line(format_args!("  drift: {setting}={observed}, declared {declared}"))?;
    }
    for hold in items(status, "holds") {
        console.line(format_args!(
            "  held: {}  {}",
            text(&hold, "/reason"),
            change(&hold["step"])
        ))?;
        console.line(format_args!("        released by: {}", text(&hold, "/release")))?;
    }
    Ok(())
}

/// `~ modify healthCheck.path=/ready`.
fn change(step: &Value) -> String {
    let action = text(step, "/action");
    let sign = match action.as_str() {
        "create" | "adopt" => '+',
        "delete" | "release" => '-',
        _ => '~',
    };
    let settings = step["settings"].as_object().into_iter().flatten();
    let set = settings.map(|(setting, value)| format!(" {setting}={}", value.as_str().unwrap_or_default()));
    let removed = items(step, "removed");
    let gone = removed.iter().map(|setting| format!(" -{}", text(setting, "")));
    format!("{sign} {action}{}", set.chain(gone).collect::<String>())
}

/// What is left to do with the rules of a security group.
fn rules(console: &mut Console, group: &Value) -> Result<(), Error> {
    console.line(format_args!("security group {}", text(group, "/id")))?;
    let plan = &group["plan"];
    let steps = items(plan, "steps");
    if plan.is_null() {
        console.line("  its writer has not looked at it yet")?;
    } else if steps.is_empty() {
        console.line("  nothing to do")?;
    }
    for step in &steps {
        let action = text(step, "/action");
        let sign = match action.as_str() {
            "authorize" => '+',
            "revoke" => '-',
            _ => '~',
        };
        for rule in items(step, "rules") {
            let why = text(&rule, "/why");
            console.line(format_args!(
                "  {sign} {action} {}  {why}",
                permission(&rule["permission"])
            ))?;
        }
    }
    for hold in items(plan, "holds") {
        let all = |field| items(&hold, field).iter().map(permission).collect::<Vec<_>>();
        let gone = all("revocations").into_iter().map(|rule| format!("-{rule}"));
        let made = all("authorizations").into_iter().map(|rule| format!("+{rule}"));
        let rules: Vec<_> = gone.chain(made).collect();
        console.line(format_args!(
            "  held: {}  {}",
            text(&hold, "/reason"),
            rules.join(", ")
        ))?;
        for pause in items(&hold, "pauses") {
            let [by, reason] = ["/pausedBy", "/reason"].map(|field| text(&pause, field));
            console.line(format_args!("        paused by {by}: {reason}"))?;
        }
        console.line(format_args!("        released by: {}", text(&hold, "/release")))?;
    }
    Ok(())
}

/// `TCP 80 from sg-0123456789abcdef0`.
fn permission(permission: &Value) -> String {
    let [protocol, from, to, peer] =
        ["/protocol", "/fromPort", "/toPort", "/peer"].map(|field| text(permission, field));
    if from == to {
        format!("{protocol} {from} from {peer}")
    } else {
        format!("{protocol} {from}-{to} from {peer}")
    }
}

/// `10.0.0.1:80`.
pub(crate) fn key(target: &Value) -> String {
    match text(target, "/id") {
        id if id.contains(':') && !id.starts_with("arn:") => format!("[{id}]:{}", text(target, "/port")),
        id => format!("{id}:{}", text(target, "/port")),
    }
}
