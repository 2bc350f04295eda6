//! The commands: one file each.

mod adopt;
mod apply;
mod cluster;
mod completion;
mod delete;
mod describe;
mod explain;
mod get;
mod pause;
mod plan;
mod release;
mod status;
mod token;
mod watch;

use clap::Subcommand;
pub(crate) use watch::summary;

use crate::{Connection, Console, Error};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show resources.
    Get(get::Get),
    /// Show everything about one resource, with what belongs to it.
    Describe(describe::Describe),
    /// Create or change what files declare.
    Apply(apply::Apply),
    /// Delete resources.
    Delete(delete::Delete),
    /// Show what would be done, and do nothing.
    Plan(plan::Plan),
    /// Take a binding over from the AWS Load Balancer Controller, or end a contest about its targets.
    Adopt(adopt::Adopt),
    /// Let go of what a guard holds back.
    #[command(subcommand)]
    Release(release::Release),
    /// Say why targets are or are not registered.
    Explain(explain::Explain),
    /// Follow what changes.
    Watch(watch::Watch),
    /// Stop all writes to AWS for the installation, a shard, a cluster or a binding.
    Pause(pause::Pause),
    /// Let writes to AWS go on.
    Resume(pause::Resume),
    /// Make and end the tokens of people and portals.
    #[command(subcommand)]
    Token(token::Token),
    /// Register clusters and give their agents tokens.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Print the completions of a shell.
    Completion(completion::Completion),
}

impl Command {
    pub(crate) async fn run(self, connection: &Connection, console: &mut Console) -> Result<(), Error> {
        match self {
            Self::Get(command) => command.run(&connection.open()?, console).await,
            Self::Describe(command) => command.run(&connection.open()?, console).await,
            Self::Apply(command) => command.run(&connection.open()?, console).await,
            Self::Delete(command) => command.run(&connection.open()?, console).await,
            Self::Plan(command) => command.run(&connection.open()?, console).await,
            Self::Adopt(command) => command.run(&connection.open()?, console).await,
            Self::Release(command) => command.run(&connection.open()?, console).await,
            Self::Explain(command) => command.run(&connection.open()?, console).await,
            Self::Watch(command) => command.run(&connection.open()?, console).await,
            Self::Pause(command) => command.run(&connection.open()?, console).await,
            Self::Resume(command) => command.run(&connection.open()?, console).await,
            Self::Token(command) => command.run(&connection.open()?, console).await,
            Self::Cluster(command) => command.run(&connection.open()?, console).await,
            Self::Completion(command) => command.run(console),
        }
    }
}

/// The one of several failures that the exit code tells; each was told when it happened.
#[derive(Default)]
struct Failures {
    all: usize,
    failed: usize,
    code: u8,
}

impl Failures {
    /// Counts what was done; tells what went wrong and goes on.
    fn note(&mut self, what: &str, done: Result<(), Error>) {
        self.all += 1;
        if let Err(error) = done {
            eprintln!("error: {what}: {error}");
            self.failed += 1;
            self.code = self.code.max(error.exit_code());
        }
    }

    fn end(self) -> Result<(), Error> {
        let Self { all, failed, code } = self;
        if failed == 0 {
            Ok(())
        } else {
            Err(Error::Some { failed, all, code })
        }
    }
}
