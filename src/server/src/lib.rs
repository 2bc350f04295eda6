//! `elbow-server`: the service as one process.
//!
//! It owns the command line and the composition: which component gets which settings, in which order they start and how
//! the process ends. It holds no behaviour of its own. It is the one place where both halves of the ring (see
//! `src/README.md`) meet in a process: `api` over `control` on one side, `reconcile` over `aws` on the other.

mod options;
mod serve;
mod token;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use runtime::telemetry::Registry;
use store::Store;

use options::{Database, ServeOptions};
use token::CreateToken;

/// Puts the endpoints of many Kubernetes clusters into AWS target groups.
#[derive(Debug, Parser)]
#[command(name = "elbow-server", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(Box<ServeOptions>),
    /// Bring the database's schema up to date.
    Migrate(Migrate),
    /// Print the OpenAPI document of the REST API.
    Openapi,
    /// Make tokens.
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Args)]
struct Migrate {
    #[command(flatten)]
    database: Database,
    /// Refuse a schema that holds anything, an Elbow, too
    #[arg(long)]
    empty: bool,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token for a person or a portal and print it, this once.
    Create(CreateToken),
}

/// Does what the command line asks for.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(options) => Box::pin(serve::serve(*options)).await,
        Command::Migrate(options) => migrate(&options).await,
        Command::Openapi => {
            print!("{}", api::rest::openapi::document());
            Ok(())
        }
        Command::Token(TokenCommand::Create(options)) => token::create(options).await,
    }
}

async fn migrate(options: &Migrate) -> anyhow::Result<()> {
    let Migrate { database, empty } = options;
    let store = connect(database, &mut Registry::default()).await?;
    let migrated = if *empty {
        store.migrate_empty().await
    } else {
        store.migrate().await
    };
    migrated.context("the schema was not brought up to date")?;
    println!("the schema is at version {}", Store::wanted_schema_version());
    Ok(())
}

async fn connect(database: &Database, registry: &mut Registry) -> anyhow::Result<Store> {
    let metrics = store::Metrics::new(registry);
    Store::connect(database.url(), database.pool(), metrics)
        .await
        .context("cannot connect to the database")
}

/// Refuses a database whose schema is not this build's: a process must not change it behind the operator's back.
async fn require_schema(store: &Store) -> anyhow::Result<()> {
    let (found, wanted) = (store.schema_version().await?, Store::wanted_schema_version());
    let found_text = found.map_or_else(
        || "no schema".to_owned(),
        |version| format!("schema version {version}"),
    );
    // A newer schema serves this build too: migrations only add until nobody needs the old.
    ensure!(
        found.is_some_and(|found| found >= wanted),
        "the database has {found_text}, but this build needs {wanted}: run `elbow-server migrate` first"
    );
    Ok(())
}
