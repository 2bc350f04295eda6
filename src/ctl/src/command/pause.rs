use clap::Args;
use serde_json::{Value, json};

use crate::{
    Console, Error,
    client::{Client, Query},
    kind::Kind,
    output::{self, Format, Output},
};

/// Stops all writes to AWS for a subject, within a second. Observing and planning go on.
///
/// `elbow pause installation --reason "AWS event"`, `elbow pause cluster east --reason …`.
#[derive(Args, Debug)]
pub(crate) struct Pause {
    #[command(flatten)]
    subject: Subject,
    /// Why, for whoever finds it paused.
    #[arg(long)]
    reason: String,
    /// Say what is paused now, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

/// Lets writes to AWS for a subject go on.
#[derive(Args, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    subject: Subject,
    /// Say what is paused now, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
struct Subject {
    /// `installation`, `shard PARTITION/ACCOUNT/REGION`, `cluster NAME` or `binding CLUSTER/NAMESPACE/NAME`.
    #[arg(required = true, num_args = 1..=2)]
    subject: Vec<String>,
}

impl Subject {
    fn query(&self, dry_run: bool) -> Query<'static> {
        let mut query = vec![("subject", self.subject.join("/"))];
        query.extend(dry_run.then(|| ("dryRun", "true".to_owned())));
        query
    }
}

impl Pause {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            subject,
            reason,
            dry_run,
            output,
        } = self;
        let body = json!({ "reason": reason });
        let (_, pauses) = client
            .put(&["pauses"], subject.query(dry_run), None, &body)
            .await?;
        show(console, output.format, &pauses)
    }
}

impl Resume {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            subject,
            dry_run,
            output,
        } = self;
        let pauses = client.delete(&["pauses"], subject.query(dry_run)).await?;
        show(console, output.format, &pauses)
    }
}

/// What is paused now.
fn show(console: &mut Console, format: Format, pauses: &Value) -> Result<(), Error> {
    let pauses = pauses["items"].as_array().cloned().unwrap_or_default();
    if pauses.is_empty() && format == Format::Table {
        return console.line("nothing is paused");
    }
    output::list(console, format, Kind::Pauses, &pauses)
}
