//! `cargo xtask lint`: format, lints, and the dependencies' licences and advisories.

use anyhow::{Result, bail};

use crate::{command, machine};

pub(crate) fn run() -> Result<()> {
    let mut missing = Vec::new();
    for (tool, arguments, remedy) in [
        ("fmt", &["--all", "--check"][..], "rustup component add rustfmt"),
        (
            "clippy",
            &["--workspace", "--all-targets", "--", "--deny", "warnings"][..],
            "rustup component add clippy",
        ),
        ("deny", &["check"][..], "cargo install cargo-deny"),
    ] {
        if command::output(command::cargo().args([tool, "--version"])).is_none() {
            eprintln!("left out: cargo {tool} is missing; run `{remedy}`");
            missing.push(tool);
            continue;
        }
        command::run(command::cargo().arg(tool).args(arguments))?;
    }
    // cargo-deny takes minutes to compile, so it is never demanded.
    if machine::requires_everything() && missing.iter().any(|tool| *tool != "deny") {
        bail!("in CI rustfmt and clippy are required");
    }
    Ok(())
}
