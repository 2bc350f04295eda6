//! The Kubernetes control plane: built once from Go modules, kept in the cache.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, command, go};

const FILES: [&str; 4] = ["go.mod", "go.sum", "main.go", "kwok/main.go"];

/// The folder with `kubernetes` and `kwok`: the given one, the cached one, or a new build.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ELBOW_KUBE_BIN").map(PathBuf::from) {
        return Ok(folder);
    }
    let module = cache::checkout().join("tests/kubernetes");
    let home = cache::folder()?.join("kubernetes");
    let folder = go::built(&module, &FILES, &home, |go, unfinished| {
        build(go, &module, unfinished)?;
        symlink("kubernetes", unfinished.join("kubectl")).context("cannot link kubectl")
    })?;
    point_current_at(&home, &folder)?;
    Ok(folder)
}

fn build(go: &Path, module: &Path, into: &Path) -> Result<()> {
    let kubernetes = go::version_of("k8s.io/kubernetes", module)?;
    let (major, minor) = kubernetes
        .trim_start_matches('v')
        .split_once('.')
        .and_then(|(major, rest)| Some((major, rest.split_once('.')?.0)))
        .with_context(|| format!("{kubernetes} in go.mod is no version"))?;
    // Without its version an API server calls itself v0.0.0, and kubectl refuses it.
    let server = "k8s.io/component-base/version";
    let client = "k8s.io/client-go/pkg/version";
    let values = [
        format!("{server}.gitVersion={kubernetes}"),
        format!("{server}.gitMajor={major}"),
        format!("{server}.gitMinor={minor}"),
        format!("{client}.gitVersion={kubernetes}"),
        format!("{client}.gitMajor={major}"),
        format!("{client}.gitMinor={minor}"),
    ];
    let linker = values
        .iter()
        .fold("-s -w".to_owned(), |flags, value| format!("{flags} -X {value}"));
    eprintln!(
        "Building Kubernetes {kubernetes} from its Go modules (about 250 MB of sources from the Go proxy; 7 minutes on two cores, once)"
    );
    let mut command = Command::new(go);
    command
        .current_dir(module)
        .args([
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &linker,
            "-o",
        ])
        // With a slash at its end it is a folder for both programs.
        .arg(into.join(""))
        .args([".", "./kwok"]);
    command::watch("building a Kubernetes control plane", &mut command)
}

// For those who start tests by `cargo test` alone: the sandbox looks here.
fn point_current_at(home: &Path, folder: &Path) -> Result<()> {
    let current = home.join("current");
    if std::fs::read_link(&current).is_ok_and(|target| target == folder) {
        return Ok(());
    }
    let fresh = home.join(format!("current-{}", std::process::id()));
    symlink(folder, &fresh)
        .and_then(|()| std::fs::rename(&fresh, &current))
        .with_context(|| format!("cannot point {} at the build", current.display()))
}
