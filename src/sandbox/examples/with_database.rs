//! Runs a command while `DATABASE_URL` names a throw-away database with the migrations of a folder applied, and
//! `ELBOW_TEST_DATABASE_URL` the server it is on, where tests make databases of their own:
//! `cargo run -p sandbox --example with_database -- migrations cargo check -p store`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use sandbox::postgres::{GIVEN_URL, Options, Postgres};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().context("name the folder of migrations first")?);
    let program = arguments
        .next()
        .context("name the command after the folder of migrations")?;

    let postgres = Postgres::start(Options::default()).await?;
    let url = postgres.fresh_database("with_database").await?;
    for file in migrations(&folder)? {
        let sql =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        sandbox::postgres::execute(&url, &sql)
            .await
            .with_context(|| format!("{} failed", file.display()))?;
    }
    let status = Command::new(&program)
        .args(arguments)
        .env("DATABASE_URL", &url)
        .env(GIVEN_URL, postgres.url())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

// Their names begin with their numbers.
fn migrations(folder: &PathBuf) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    Ok(files)
}
