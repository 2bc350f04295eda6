//! Where the programs of a control plane are.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The variable that names the folder with our own build: `kubernetes` (all components) and `kwok`.
const BIN: &str = "ELBOW_KUBE_BIN";
/// The variable of the Kubernetes test kits: a folder with `etcd`, `kube-apiserver` and `kubectl`.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The programs of a control plane.
#[derive(Debug, Clone)]
pub struct Binaries(Layout);

#[derive(Debug, Clone)]
enum Layout {
    /// One program that is every component, chosen by its first argument; kwok stands beside it.
    Built(PathBuf),
    /// A program per component, enough for an API without controllers.
    Assets(PathBuf),
}

impl Binaries {
    /// Programs that can run everything: our own build.
    pub fn full() -> Result<Self> {
        std::env::var_os(BIN)
            .map(PathBuf::from)
            .or_else(|| cache().map(|cache| cache.join("kubernetes/current")))
            .filter(|folder| folder.join("kubernetes").is_file() && folder.join("kwok").is_file())
            .map(|folder| Self(Layout::Built(folder)))
            .ok_or_else(|| Error::Missing {
                tool: "A Kubernetes control plane",
                remedy: "run `cargo xtask kubernetes`, which builds one (it needs Go, or Python to fetch Go)"
                    .to_owned(),
            })
    }

    /// Programs that can at least run the API: the given assets, else our own build.
    pub fn api_only() -> Result<Self> {
        std::env::var_os(ASSETS)
            .map(PathBuf::from)
            .filter(|folder| {
                ["etcd", "kube-apiserver", "kubectl"]
                    .iter()
                    .all(|name| folder.join(name).is_file())
            })
            .map_or_else(Self::full, |folder| Ok(Self(Layout::Assets(folder))))
    }

    /// The program of a component, and the argument that comes before its flags.
    pub(super) fn component(&self, name: &'static str) -> (PathBuf, Option<&'static str>) {
        match &self.0 {
            Layout::Built(folder) => (folder.join("kubernetes"), Some(name)),
            Layout::Assets(folder) => (folder.join(name), None),
        }
    }

    /// kwok's program; only our own build has one.
    pub(super) fn kwok(&self) -> Option<PathBuf> {
        match &self.0 {
            Layout::Built(folder) => Some(folder.join("kwok")),
            Layout::Assets(_) => None,
        }
    }

    /// The folder of the programs.
    pub fn folder(&self) -> &Path {
        match &self.0 {
            Layout::Built(folder) | Layout::Assets(folder) => folder,
        }
    }
}

// The same place that `cargo xtask` builds into.
fn cache() -> Option<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    var("ELBOW_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|cache| cache.join("elbow")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/elbow")))
}
