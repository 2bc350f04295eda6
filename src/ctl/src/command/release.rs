use clap::Subcommand;

use crate::{
    Console, Error,
    client::Client,
    kind::Kind,
    output::{self, Format, Output, count, text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Do the removals that a hold lists.
    Hold {
        /// Its id, as `elbow get holds` shows it.
        id: String,
        /// Show the hold, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Give up on the clusters that are silent now: they no longer keep removals elsewhere back.
    Fleet {
        /// Show the fleet as it would be, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Let a shard remove targets again after the database was restored from a backup.
    Shard {
        /// PARTITION/ACCOUNT/REGION, as `elbow get shards` shows it.
        name: String,
        /// Show the shard, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
}

impl Release {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        match self {
            Self::Hold { id, dry_run, output } => {
                let query = dry_run
                    .then(|| ("dryRun", "true".to_owned()))
                    .into_iter()
                    .collect();
                let hold = client.post(&["holds", &id, "release"], query, None).await?;
                if output.format != Format::Table {
                    return output::one(console, output.format, Kind::Holds, &hold);
                }
                let what = format!("{} of {}", count(&hold, "/removals"), text(&hold, "/reason"));
                let done = if dry_run { "would release" } else { "released" };
                console.line(format_args!("{done} hold/{id}: removals: {what}"))
            }
            Self::Fleet { dry_run, output } => {
                let query = dry_run
                    .then(|| ("dryRun", "true".to_owned()))
                    .into_iter()
                    .collect();
                let fleet = client.post(&["fleet", "release"], query, None).await?;
                if output.format != Format::Table {
                    return output::value(console, output.format, &fleet);
                }
                let done = if dry_run { "would release" } else { "released" };
                console.line(format_args!("{done} fleet: silent: {}", text(&fleet, "/silent")))
            }
            Self::Shard {
                name,
                dry_run,
                output,
            } => {
                let query = dry_run
                    .then(|| ("dryRun", "true".to_owned()))
                    .into_iter()
                    .collect();
                let [partition, account, region] = shard(&name)?;
                let path = ["shards", partition, account, region, "release"];
                let shard = client.post(&path, query, None).await?;
                if output.format != Format::Table {
                    return output::one(console, output.format, Kind::Shards, &shard);
                }
                let done = if dry_run { "would release" } else { "released" };
                console.line(format_args!("{done} shard/{name}"))
            }
        }
    }
}

/// The parts of `PARTITION/ACCOUNT/REGION`.
pub(crate) fn shard(name: &str) -> Result<[&str; 3], Error> {
    let parts: Vec<_> = name.split('/').collect();
    parts.try_into().map_err(|_| {
        Error::usage(format!(
            "`{name}` is no shard: write PARTITION/ACCOUNT/REGION, e.g. aws/123456789012/eu-central-1"
        ))
    })
}
