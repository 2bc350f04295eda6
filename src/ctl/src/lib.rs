//! `elbow`: the operator's command line.
//!
//! It speaks REST (`clients/openapi.json`) and nothing else, so that whatever it can do a portal can do too; it knows no
//! other crate of ours. What a kind of resource is called, where it is found and what a person wants to see of it is
//! [`kind`]; each command is a file of `command`; an answer stays the JSON that the service sent, so that `-o json` and
//! `-o yaml` lose nothing and a new field needs no new program. In the ring (see `src/README.md`) it stands outside, as
//! `kubectl` does.

mod client;
mod command;
mod config;
mod console;
mod error;
mod kind;
mod manifest;
mod output;

use clap::Parser;

pub use client::Connection;
use command::Command;
pub use console::Console;
pub use error::Error;

/// Shows and changes what Elbow does.
///
/// Exit codes: 0 done; 1 refused as invalid, or failed; 2 wrong command line; 3 not found; 4 conflict with what is there;
/// 5 not authenticated or not permitted; 6 the service or its database cannot be reached; 7 waited in vain.
#[derive(Debug, Parser)]
#[command(name = "elbow", version, verbatim_doc_comment)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// Does what the command line asks for.
pub async fn run(cli: Cli, console: &mut Console) -> Result<(), Error> {
    let Cli { connection, command } = cli;
    command.run(&connection, console).await
}
