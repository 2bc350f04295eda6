//! What this machine has, and what may be installed on it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// Whether a missing tool fails the run instead of leaving tests out: `CI=true`, as CI systems set it.
pub(crate) fn requires_everything() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
        || std::env::var("ELBOW_REQUIRE").is_ok_and(|what| what == "all")
}

/// What nothing can be built without.
pub(crate) fn check() -> Result<()> {
    for (program, package, why) in [
        // Without one xtask itself does not link, and `.cargo/rustc` says the same; this is for one that is built already.
        ("cc", "build-essential", "Rust links with it"),
        ("git", "git", "the checkout is a git repository"),
    ] {
        if command::on_path(program).is_none() {
            bail!("{program} is missing ({why}): run `apt-get install {package}`, or your system's equal");
        }
    }
    Ok(())
}

/// Whether this user may install the system's packages with apt.
pub(crate) fn may_install() -> bool {
    command::on_path("apt-get").is_some() && is_root()
}

pub(crate) fn is_root() -> bool {
    command::output(Command::new("id").arg("-u")).is_some_and(|id| id == "0")
}

/// Installs packages of the system, and says so before, with what has to be downloaded.
pub(crate) fn install(packages: &[&str], size: &str, why: &str) -> Result<()> {
    eprintln!(
        "Installing {} ({size}) from the system's packages: {why}",
        packages.join(", ")
    );
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    command::watch("apt-get update", apt().args(["update", "--quiet"]))?;
    let mut install = apt();
    install
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(packages);
    command::watch(&format!("apt-get install {}", packages.join(" ")), &mut install)
}
