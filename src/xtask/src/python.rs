//! Python, and programs that come as Python packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, command, machine};

/// Python 3.9 or newer that can make virtual environments, or why there is none.
fn find() -> Result<PathBuf> {
    let usable = || {
        let python = command::on_path("python3")?;
        let check = "import sys, ensurepip, venv; assert sys.version_info >= (3, 9)";
        command::output(Command::new(&python).args(["-c", check])).map(|_| python)
    };
    if let Some(python) = usable() {
        return Ok(python);
    }
    if machine::may_install() {
        machine::install(
            &["python3", "python3-venv"],
            "10 MB",
            "programs that come as Python packages are needed",
        )?;
    }
    usable().context("Python 3.9 or newer with venv is missing: run `apt-get install python3 python3-venv`")
}

/// An environment in the cache with one package, announced before it is downloaded; answers its `site-packages`.
pub(crate) fn package(name: &str, size: &str, why: &str) -> Result<PathBuf> {
    let home = cache::folder()?.join("python").join(name);
    let announce = format!(
        "Downloading {name} ({size}) from PyPI into {}: {why}",
        home.display()
    );
    environment(&home, &announce, Command::new("pip").arg(name))?;
    site_packages(&home)
}

/// The Python of an environment with exactly these requirements.
pub(crate) fn requirements(file: &Path) -> Result<PathBuf> {
    let key = cache::key(&[file.to_owned()], &[])?;
    let home = cache::folder()?
        .join("python")
        .join(format!("requirements-{key}"));
    let announce = format!(
        "Downloading the packages of {} (100 MB) from PyPI: the contract suite",
        file.display()
    );
    environment(
        &home,
        &announce,
        Command::new("pip").arg("--requirement").arg(file),
    )?;
    Ok(home.join("bin/python"))
}

// A marker tells a finished environment from one that was cut off. `wanted` carries pip's arguments.
fn environment(home: &Path, announce: &str, wanted: &Command) -> Result<()> {
    let marker = home.join("complete");
    if marker.exists() {
        return Ok(());
    }
    let python = find()?;
    eprintln!("{announce}");
    let mut venv = Command::new(python);
    venv.args(["-m", "venv", "--clear"]).arg(home);
    command::watch("making a Python environment", &mut venv)?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(wanted.get_args());
    command::watch("pip install", &mut pip)
        .context("check the way to PyPI, or the index that pip is set up for")?;
    std::fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
}

fn site_packages(home: &Path) -> Result<PathBuf> {
    let lib = home.join("lib");
    std::fs::read_dir(&lib)
        .with_context(|| format!("cannot read {}", lib.display()))?
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .find(|path| path.is_dir())
        .with_context(|| format!("{} holds no packages: remove it and try again", home.display()))
}
