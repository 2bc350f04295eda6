//! `cargo xtask demo`: everything that the sandbox needs, then the sandbox.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::postgres::Source;
use crate::{cache, command, control_plane, machine, postgres};

/// The packages whose programs the demo starts, or hands to its user.
const PACKAGES: [&str; 4] = ["server", "agent", "ctl", "sandbox"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    machine::check()?;
    let postgres = postgres::provide()?;
    let kubernetes = control_plane::provide()?;
    eprintln!("Building Elbow (a few minutes the first time)");
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    command::run(command::cargo().args(["build", "--bins"]).args(packages))?;

    let programs = target()?;
    let mut sandbox = Command::new(programs.join("elbow-sandbox"));
    sandbox
        .arg("demo")
        .args(arguments)
        .env("ELBOW_BIN", &programs)
        .env("ELBOW_KUBE_BIN", kubernetes)
        .env("ELBOW_CACHE", cache::folder()?);
    if let Source::Folder(folder) = postgres {
        sandbox.env("ELBOW_POSTGRES_BIN", folder);
    }
    // In our place: signals and the exit status are the sandbox's own.
    Err(sandbox.exec()).context("cannot run elbow-sandbox")
}

/// The folder of the programs that `cargo build` makes.
pub(crate) fn target() -> Result<std::path::PathBuf> {
    let metadata = command::output(command::cargo().args(["metadata", "--no-deps", "--format-version=1"]))
        .context("cargo does not answer `cargo metadata`")?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    Ok(std::path::Path::new(target).join("debug"))
}
