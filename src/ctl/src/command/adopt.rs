use clap::Args;
use serde_json::Value;

use super::plan;
use crate::{
    Console, Error,
    client::Client,
    kind::{Filter, binding_name},
    output::{self, Format, Output, text},
};

/// Takes a binding over from the AWS Load Balancer Controller, or ends a contest about its targets.
///
/// Its targets that AWS has and that are wanted become ours, and none leaves. Refused while that controller runs.
#[derive(Args, Debug)]
pub(crate) struct Adopt {
    /// The binding: CLUSTER/NAMESPACE/NAME.
    name: String,
    /// The cluster, for a binding that is named without.
    #[arg(long, short)]
    cluster: Option<String>,
    /// The namespace, for a binding that is named without.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Your word that the AWS Load Balancer Controller does not act on the object, where the agent cannot say so.
    #[arg(long)]
    lbc_is_gone: bool,
    /// Show the plan, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

impl Adopt {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            name,
            cluster,
            namespace,
            lbc_is_gone,
            dry_run,
            output,
        } = self;
        let filter = Filter {
            cluster,
            namespace,
            ..Filter::default()
        };
        let [cluster, namespace, name] = binding_name(&name, &filter)?;
        let given = [("dryRun", dry_run), ("lbcIsGone", lbc_is_gone)];
        let query = given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| (name, "true".to_owned()))
            .collect();
        let path = ["clusters", &cluster, "bindings", &namespace, &name, "adopt"];
        let adoption = client.post(&path, query, None).await?;
        if output.format != Format::Table {
            return output::value(console, output.format, &adoption);
        }
        let done = if dry_run { "would be adopted" } else { "adopted" };
        console.line(format_args!("binding/{cluster}/{namespace}/{name} {done}"))?;
        plan::show(console, &adoption["plan"])?;
        let webhooks = adoption["webhooks"].as_array();
        webhooks
            .into_iter()
            .flatten()
            .try_for_each(|webhook| in_the_way(console, webhook))
    }
}

fn in_the_way(console: &mut Console, webhook: &Value) -> Result<(), Error> {
    console.line(format_args!(
        "the webhooks `{}` may refuse what the agent writes into the object; once their controller is gone: {}",
        text(webhook, "/name"),
        text(webhook, "/removal")
    ))
}
