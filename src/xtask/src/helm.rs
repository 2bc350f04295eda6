//! Helm, which renders the charts of `deploy/charts`: found, or built once from its Go module and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, command, go};

const PACKAGE: &str = "helm.sh/helm/v3";

/// Helm's program.
pub(crate) fn provide() -> Result<PathBuf> {
    let fits = |helm: &PathBuf| {
        command::output(Command::new(helm).args(["version", "--short"]))
            .is_some_and(|version| version.starts_with("v3."))
    };
    if let Some(helm) = command::on_path("helm").filter(fits) {
        return Ok(helm);
    }
    let module = cache::checkout().join("tests/helm");
    let home = cache::folder()?.join("helm");
    let folder = go::built(&module, &["go.mod", "go.sum"], &home, |go, into| {
        build(go, &module, into)
    })?;
    Ok(folder.join("helm"))
}

fn build(go: &Path, module: &Path, into: &Path) -> Result<()> {
    let version = go::version_of(PACKAGE, module)?;
    eprintln!(
        "Building Helm {version} from its Go modules (about 100 MB of sources from the Go proxy; 3 minutes on two cores, once): it renders the charts"
    );
    // Without its Kubernetes version Helm takes the cluster that it renders for to be v1.20.
    let client = go::version_of("k8s.io/client-go", module)?;
    let minor = client
        .split('.')
        .nth(1)
        .with_context(|| format!("{client} in go.mod is no version"))?;
    let capabilities = format!("{PACKAGE}/pkg/chartutil");
    let linker = format!(
        "-s -w -X {PACKAGE}/internal/version.version={version} -X {capabilities}.k8sVersionMajor=1 -X {capabilities}.k8sVersionMinor={minor}"
    );
    let mut command = Command::new(go);
    command
        .current_dir(module)
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags"])
        .arg(linker)
        .arg("-o")
        .arg(into.join("helm"))
        .arg(format!("{PACKAGE}/cmd/helm"));
    command::watch("building Helm", &mut command)
}

/// What a chart of `deploy/charts` becomes with these arguments.
pub(crate) fn template(arguments: &[&str]) -> Result<String> {
    let helm = provide()?;
    let mut template = Command::new(helm);
    template
        .current_dir(cache::checkout().join("deploy/charts"))
        .arg("template")
        .args(arguments);
    let output = template.output().context("cannot run helm")?;
    anyhow::ensure!(
        output.status.success(),
        "helm template {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
