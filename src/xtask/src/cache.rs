//! Where things that outlive a checkout are kept.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The cache folder: `ELBOW_CACHE`, else the user's cache folder. The sandbox looks in the same place.
pub(crate) fn folder() -> Result<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = var("ELBOW_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|cache| cache.join("elbow")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/elbow")))
        .context("set ELBOW_CACHE to a folder for what is downloaded and built: there is no HOME")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// The checkout.
pub(crate) fn checkout() -> &'static Path {
    // Two folders up from `src/xtask`, where cargo compiled this.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is in src/xtask")
}

/// A short key of the content of these files and texts: what was built from them has it in its path.
pub(crate) fn key(files: &[PathBuf], texts: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        content.hash(&mut hasher);
    }
    texts.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}
