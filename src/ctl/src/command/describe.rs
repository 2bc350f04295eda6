use clap::Args;
use serde_json::Value;

use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, Kind},
    manifest, output,
    output::text,
};

/// Shows everything about one resource, with what belongs to it.
#[derive(Args, Debug)]
pub(crate) struct Describe {
    /// The kind, as for `get`.
    #[arg(value_enum, ignore_case = true)]
    kind: Kind,
    /// The name. A binding is CLUSTER/NAMESPACE/NAME.
    name: String,
    #[command(flatten)]
    filter: Filter,
}

/// The last plans of a target group that are shown with it.
const PLANS: usize = 5;

impl Describe {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self { kind, name, filter } = self;
        let found = kind.get(client, &name, &filter).await?;
        console.print(&output::yaml(&manifest::of(kind, &found)))?;
        match kind {
            Kind::Clusters => {
                let of_cluster = Filter {
                    cluster: Some(name),
                    ..Filter::default()
                };
                section(
                    console,
                    Kind::Bindings,
                    &Kind::Bindings.list(client, &of_cluster).await?,
                )?;
                section(
                    console,
                    Kind::Holds,
                    &Kind::Holds.list(client, &of_cluster).await?,
                )
            }
            Kind::TargetGroups => {
                let reason = text(&found, "/status/managed/ready/reason");
                if !reason.is_empty() && reason != "Reconciled" {
                    let runbook = client.runbook("conditions", &reason);
                    console.line(format_args!("\nwhat {reason} means and what to do: {runbook}"))?;
                }
                let arn = text(&found, "/status/arn");
                if arn.is_empty() {
                    return Ok(());
                }
                let of_group = |resource: &Value, pointer: &str| text(resource, pointer) == arn;
                let mut bindings = Kind::Bindings.list(client, &Filter::default()).await?;
                bindings.retain(|binding| of_group(binding, "/status/targetGroupArn"));
                section(console, Kind::Bindings, &bindings)?;
                let mut holds = Kind::Holds.list(client, &Filter::default()).await?;
                holds.retain(|hold| of_group(hold, "/targetGroupArn"));
                section(console, Kind::Holds, &holds)?;
                let of_group = Filter {
                    target_group: Some(name),
                    ..Filter::default()
                };
                let mut plans = Kind::Plans.list(client, &of_group).await?;
                plans.truncate(PLANS);
                section(console, Kind::Plans, &plans)
            }
            Kind::Bindings => {
                let reason = text(&found, "/status/ready/reason");
                if reason != "Reconciled" {
                    let runbook = client.runbook("conditions", &reason);
                    console.line(format_args!("\nwhat {reason} means and what to do: {runbook}"))?;
                }
                let id = found["id"].clone();
                let mut holds = Kind::Holds.list(client, &Filter::default()).await?;
                holds.retain(|hold| {
                    hold["bindings"]
                        .as_array()
                        .is_some_and(|bindings| bindings.contains(&id))
                });
                section(console, Kind::Holds, &holds)
            }
            Kind::Holds => {
                let reason = text(&found, "/reason");
                let runbook = client.runbook("holds", &reason);
                console.line(format_args!("\nwhat {reason} means and what to do: {runbook}"))
            }
            Kind::SecurityGroups => {
                let of_group = Filter {
                    security_group: Some(name),
                    ..Filter::default()
                };
                let mut plans = Kind::Plans.list(client, &of_group).await?;
                plans.truncate(PLANS);
                section(console, Kind::Plans, &plans)
            }
            // Nothing belongs to the others.
            _ => Ok(()),
        }
    }
}

/// A table of what belongs to it; nothing where there is none.
fn section(console: &mut Console, kind: Kind, items: &[Value]) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let table = output::table(&kind.columns(), items, false, console.now);
    console.print(&format!("\n{}s:\n{table}", kind.singular()))
}
