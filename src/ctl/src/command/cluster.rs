use clap::Subcommand;
use serde_json::{Value, json};

use super::status;
use crate::{
    Console, Error,
    client::Client,
    kind::Kind,
    output::{self, Format, Output, text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Register a cluster and print how its agent is installed, with its token.
    Add {
        name: String,
        /// The AWS account, twelve digits.
        #[arg(long)]
        account: String,
        #[arg(long)]
        region: String,
        /// The VPC that the cluster's pods live in.
        #[arg(long)]
        vpc_id: String,
        /// What may be done for it: `observe` plans only, `add-only` never removes.
        #[arg(long, value_parser = ["observe", "add-only", "full"])]
        mode: String,
        /// Which of its TargetGroupBindings are served: `labelled` are those with the label elbow.dev/serve: "true".
        #[arg(long, value_parser = ["none", "labelled", "all"], default_value = "labelled")]
        serve: String,
        /// Let its objects bind target groups of its own account, region and VPC that nobody declared.
        #[arg(long)]
        bind_undeclared: bool,
        /// Say what would be, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Tell how a cluster is: its agent, its shard, and what keeps its bindings back.
    Status { name: String },
    /// Set a cluster aside: it adds no new target, and its silence does not count.
    Cordon {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Take a cluster back that was set aside.
    Uncordon {
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new token for a cluster's agent; those made before end after a time.
    RotateToken {
        name: String,
        /// For how long the former tokens stay valid, so that the agent can take the new one.
        #[arg(long, default_value = "24h")]
        overlap: String,
        #[command(flatten)]
        output: Output,
    },
}

impl Cluster {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        match self {
            Self::Add {
                name,
                account,
                region,
                vpc_id,
                mode,
                serve,
                bind_undeclared,
                dry_run,
                output,
            } => {
                let spec = json!({
                    "account": account, "region": region, "vpcId": vpc_id, "mode": mode, "serve": serve,
                    "bindUndeclared": bind_undeclared,
                });
                refuse_other(client, &name, &spec).await?;
                let query = dry_run
                    .then(|| ("dryRun", "true".to_owned()))
                    .into_iter()
                    .collect();
                let (created, cluster) = client
                    .put(&["clusters", &name], query, None, &json!({ "spec": spec }))
                    .await?;
                if output.format != Format::Table {
                    return output::one(console, output.format, Kind::Clusters, &cluster);
                }
                let Some(token) = cluster["agentToken"].as_str() else {
                    let said = match (created, dry_run) {
                        (true, _) => "would be registered (dry run)",
                        (false, true) => "is registered already (dry run)",
                        (false, false) => {
                            "was registered before; `elbow cluster rotate-token` makes a new token"
                        }
                    };
                    console.line(format_args!("cluster/{name} {said}"))?;
                    return leftovers(console, &cluster);
                };
                console.line(format_args!("cluster/{name} registered"))?;
                console.print(&install(&name, token))
            }
            Self::Status { name } => status::run(client, console, &name).await,
            Self::Cordon { name, output } => set(client, console, &name, "cordon", output).await,
            Self::Uncordon { name, output } => set(client, console, &name, "uncordon", output).await,
            Self::RotateToken {
                name,
                overlap,
                output,
            } => {
                let query = vec![("overlap", overlap.clone())];
                let path = ["clusters", &name, "token"];
                let answer = client.post(&path, query, None).await?;
                if output.format != Format::Table {
                    return output::value(console, output.format, &answer);
                }
                let token = answer["token"].as_str().unwrap_or_default();
                console.print(&rotate(token, &overlap))
            }
        }
    }
}

/// To add is not to change: what a line leaves out would be set back to its default.
async fn refuse_other(client: &Client, name: &str, spec: &Value) -> Result<(), Error> {
    let registered = match client.get(&["clusters", name], Vec::new()).await {
        Ok(cluster) => cluster,
        // It is not registered, or the answer to the registration says what is wrong.
        Err(Error::Problem(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    match difference(&registered["spec"], spec) {
        None => Ok(()),
        Some(difference) => Err(Error::Conflict(format!(
            "cluster/{name} is registered already, and {difference}: to change it, change what `elbow get cluster {name} -o \
             yaml` writes and apply that"
        ))),
    }
}

/// What a registered cluster has otherwise than this.
fn difference(registered: &Value, wanted: &Value) -> Option<String> {
    let fields = wanted.as_object()?.iter();
    let mut others = fields.filter(|(field, value)| registered[*field] != **value);
    let (field, value) = others.next()?;
    Some(format!("its {field} is {} and not {value}", registered[field]))
}

/// What the AWS Load Balancer Controller left behind that refuses writes of TargetGroupBindings, as far as an agent saw.
fn leftovers(console: &mut Console, cluster: &Value) -> Result<(), Error> {
    let webhooks = cluster.pointer("/status/lbc/webhooks").and_then(Value::as_array);
    let running = cluster.pointer("/status/lbc/running") == Some(&Value::Bool(true));
    for webhook in webhooks.into_iter().flatten().filter(|_| !running) {
        console.line(format_args!(
            "webhooks that the AWS Load Balancer Controller left behind refuse writes of TargetGroupBindings; remove them: {}",
            text(webhook, "/removal")
        ))?;
    }
    Ok(())
}

/// Cordons or uncordons.
async fn set(
    client: &Client,
    console: &mut Console,
    name: &str,
    action: &str,
    output: Output,
) -> Result<(), Error> {
    let cluster = client.post(&["clusters", name, action], Vec::new(), None).await?;
    if output.format != Format::Table {
        return output::one(console, output.format, Kind::Clusters, &cluster);
    }
    console.line(format_args!("cluster/{name} {action}ed"))
}

/// How the agent comes into its cluster; the token is shown this once.
fn install(name: &str, token: &str) -> String {
    format!(
        "
Install its agent; the token is shown this once:

  kubectl create namespace elbow-system
  kubectl -n elbow-system create secret generic elbow-agent \\
    --from-literal=token={token} --from-file=ca.pem=CA_FILE
  helm install elbow-agent deploy/charts/elbow-agent --namespace elbow-system \\
    --set cluster={name} --set 'servers[0]=https://HOST:8444' --set image.repository=IMAGE

CA_FILE holds the certificate that signed the service's, HOST:8444 is its gRPC address, IMAGE the agent's (deploy/images).
"
    )
}

/// A secret's new value reaches the pods by itself.
fn rotate(token: &str, overlap: &str) -> String {
    format!(
        "
The new token, shown this once; the former ones end in {overlap}:

  kubectl -n elbow-system patch secret elbow-agent -p '{{\"stringData\": {{\"token\": \"{token}\"}}}}'

The agent reads its file anew when it connects; it needs no restart.
"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn what_was_registered_otherwise_is_named_and_what_the_line_cannot_say_does_not_count() {
        let registered = json!({"mode": "full", "serve": "all", "roles": [{"arn": "x"}]});
        assert_eq!(
            difference(&registered, &json!({"mode": "full", "serve": "all"})),
            None
        );
        assert_eq!(
            difference(&registered, &json!({"mode": "full", "serve": "labelled"})).as_deref(),
            Some("its serve is \"all\" and not \"labelled\"")
        );
    }
}
