//! Where Postgres's programs are, and as whom they may run.

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use crate::{Error, Result};

/// The variable that names the folder of `initdb` and `postgres`.
const BIN: &str = "ELBOW_POSTGRES_BIN";

/// The folders that packages of Linux and macOS use; `*` is a version.
const USUAL: [&str; 6] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
];

/// A folder with Postgres's server programs.
#[derive(Debug, Clone)]
pub struct Installation {
    bin: PathBuf,
}

impl Installation {
    /// The one that the environment names, else the first on `PATH`, else the newest in the usual folders.
    pub fn find() -> Result<Self> {
        let named = std::env::var_os(BIN).map(PathBuf::from);
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        named
            .into_iter()
            .chain(std::env::split_paths(&on_path))
            .chain(USUAL.iter().flat_map(|pattern| expand(pattern)))
            .find_map(|folder| Self::at(&folder))
            .ok_or_else(|| Error::Missing {
                tool: "Postgres",
                remedy: format!(
                    "run `apt-get install postgresql` (or your system's equal), or point {BIN} to the folder of initdb"
                ),
            })
    }

    fn at(folder: &Path) -> Option<Self> {
        // Postgres finds its libraries from where its programs really are, so links are followed.
        let initdb = folder.join("initdb").canonicalize().ok()?;
        let bin = initdb.parent()?.to_owned();
        bin.join("postgres").is_file().then_some(Self { bin })
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// As whom to run it: Postgres refuses root, so root becomes `postgres`, or `nobody` where that does not exist.
    pub(super) fn owner() -> Result<Option<(Uid, Gid)>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Some((user.uid, user.gid)))
            .ok_or_else(|| Error::Missing {
                tool: "An unprivileged user",
                remedy: String::from("Postgres refuses to run as root: add a user called postgres"),
            })
    }
}

// The version is the only wildcard, and the newest comes first: 9.6 < 15 as numbers, not as text.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').expect("the patterns are absolute");
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            let major = version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
                .unwrap_or(0);
            Some((major, entry.path().join(after.trim_start_matches('/'))))
        })
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, path)| path).collect()
}
