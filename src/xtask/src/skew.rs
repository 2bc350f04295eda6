//! `cargo xtask skew`: older servers, those of before the newest migration, on the schema of this one.
//!
//! Not a part of `cargo xtask test`, since it builds the programs of another commit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, command, control_plane, demo, machine, postgres, postgres::Source};

pub(crate) fn run(commit: Option<String>) -> Result<()> {
    machine::check()?;
    let kubernetes = control_plane::provide()?;
    let postgres = postgres::provide()?;
    let target = demo::target()?;
    let commit = commit.map_or_else(before_migration, Ok)?;
    let older = older(
        target.parent().context("the target folder has no parent")?,
        &commit,
    )?;
    command::run(command::cargo().args(["build", "--workspace", "--bins"]))?;
    let mut test = command::with_database();
    test.args([
        "cargo",
        "test",
        "--package",
        "tests",
        "--test",
        "suite",
        "skew",
        "--",
        "--ignored",
    ])
    .env("ELBOW_REQUIRE", "all")
    .env("ELBOW_BIN", target)
    .env("ELBOW_OLDER_BIN", older)
    .env("ELBOW_KUBE_BIN", kubernetes);
    if let Source::Folder(folder) = postgres {
        test.env("ELBOW_POSTGRES_BIN", folder);
    }
    command::run(&mut test)
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(cache::checkout());
    git
}

/// The commit before the newest migration.
fn before_migration() -> Result<String> {
    let newest = newest_migration(cache::checkout())?;
    let born = ["log", "--diff-filter=A", "--format=%H", "-1", "--", &newest];
    let born = command::output(git().args(born))
        .filter(|commit| !commit.is_empty())
        .with_context(|| {
            format!("{newest} is in no commit of this clone: commit it, or fetch the history")
        })?;
    Ok(format!("{born}^"))
}

/// Builds the server of a commit, in a folder of its own, and answers where it is.
fn older(target: &Path, commit: &str) -> Result<PathBuf> {
    let (source, build) = (target.join("skew/source"), target.join("skew/build"));
    // What an older run left behind is of another commit maybe.
    if source.exists() {
        std::fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    }
    std::fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    let packed = target.join("skew/source.tar");
    command::run(git().args(["archive", "--output"]).arg(&packed).arg(commit))?;
    command::run(Command::new("tar").arg("-xf").arg(&packed).arg("-C").arg(&source))?;
    let what = format!("Building the server of {commit}");
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "server", "--bins", "--target-dir"]);
    command::watch(&what, cargo.arg(&build).current_dir(&source))?;
    Ok(build.join("debug"))
}

fn newest_migration(checkout: &Path) -> Result<String> {
    let folder = checkout.join("migrations");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let newest = names
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "sql"))
        .max();
    let newest = newest.context("there is no migration")?;
    Ok(format!("migrations/{newest}"))
}
