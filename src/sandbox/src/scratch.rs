//! Throw-away folders.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{Error, Result, guardian};

/// A folder under the system's temporary one that goes with its owner, and also when the process is killed.
///
/// Kept for reading when the owner goes in a panic (a failed test) or `ELBOW_KEEP_SCRATCH` is set.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// A new empty folder whose name begins with `elbow-` and `name`. Other users may pass through it, since
    /// Postgres runs as another one when we are root.
    pub fn new(name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("elbow-{name}-"))
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .map_err(Error::file("creating a folder", std::env::temp_dir()))?;
        if std::env::var_os("ELBOW_KEEP_SCRATCH").is_none() {
            guardian::watch_folder(folder.path());
        }
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        guardian::forget_folder(self.path());
        if std::thread::panicking() || std::env::var_os("ELBOW_KEEP_SCRATCH").is_some() {
            eprintln!("kept {}", self.path().display());
            self.0.disable_cleanup(true);
        }
    }
}
