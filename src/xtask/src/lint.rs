//! `cargo xtask lint`: format, lints, and the dependencies' licences and advisories.

use anyhow::{Result, bail};

use crate::{command, machine};

pub(crate) fn run() -> Result<()> {
    let format = format()?;
    let clippy = clippy()?;
    // It takes minutes to compile, so it is never demanded.
    tool("deny", &["check"], "cargo install cargo-deny")?;
    if machine::requires_everything() && !(format && clippy) {
        bail!("in CI rustfmt and clippy are required");
    }
    Ok(())
}

/// Whether rustfmt is there and has nothing to say.
pub(crate) fn format() -> Result<bool> {
    tool("fmt", &["--all", "--check"], "rustup component add rustfmt")
}

/// Whether clippy is there and has nothing to say.
pub(crate) fn clippy() -> Result<bool> {
    let arguments = [
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ];
    tool("clippy", &arguments, "rustup component add clippy")
}

fn tool(name: &str, arguments: &[&str], remedy: &str) -> Result<bool> {
    if command::output(command::cargo().args([name, "--version"])).is_none() {
        eprintln!("left out: cargo {name} is missing; run `{remedy}`");
        return Ok(false);
    }
    command::run(command::cargo().arg(name).args(arguments))?;
    Ok(true)
}
