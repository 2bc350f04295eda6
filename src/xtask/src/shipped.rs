//! What is shipped and follows from something else that is shipped.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cache, helm};

/// The partitions beside `aws` whose policies are shipped.
const PARTITIONS: [&str; 1] = ["aws-cn"];

/// `deploy/iam/aws-…`: as in `deploy/iam/aws`, with the ARNs of the partition.
pub(crate) fn policies(check: bool) -> Result<()> {
    let iam = cache::checkout().join("deploy/iam");
    let source = iam.join("aws");
    let entries = std::fs::read_dir(&source).with_context(|| format!("cannot read {}", source.display()))?;
    for entry in entries {
        let path = entry?.path();
        let policy =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for partition in PARTITIONS {
            let copy = iam.join(partition).join(path.file_name().unwrap_or_default());
            settle(
                &copy,
                &policy.replace("arn:aws:", &format!("arn:{partition}:")),
                check,
            )?;
        }
    }
    Ok(())
}

/// `deploy/agent/rbac.yaml`: what the chart gives to the agent, for the sandbox and for those without Helm.
pub(crate) fn rights(check: bool) -> Result<()> {
    let rendered = helm::template(&[
        "elbow-agent",
        "elbow-agent",
        "--namespace=elbow-system",
        "--set=namespace.create=true,crds.install=never",
        "--set=cluster=any,servers[0]=https://any:8444,image.repository=any",
        "--show-only=templates/namespace.yaml",
        "--show-only=templates/serviceaccount.yaml",
        "--show-only=templates/rbac.yaml",
    ])?;
    let said = "# From deploy/charts/elbow-agent by `cargo xtask gen`: change the chart.\n";
    settle(
        &cache::checkout().join("deploy/agent/rbac.yaml"),
        &format!("{said}{rendered}"),
        check,
    )
}

/// Writes the file, or demands that it is so already.
fn settle(path: &Path, content: &str, check: bool) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if check {
        bail!("{} differs", path.display());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
