//! A cluster as `kubectl` sees it: one of the sandbox's own, or anybody's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;

use super::Binaries;
use crate::{Error, Result, elbow};

/// A kubeconfig, and the `kubectl` that uses it.
#[derive(Debug, Clone)]
pub struct Access {
    binaries: Binaries,
    kubeconfig: PathBuf,
    namespace: Option<String>,
    folder: PathBuf,
}

/// What `kubectl` said.
#[derive(Debug, Clone)]
pub struct Kubectl {
    /// How it ended.
    pub status: ExitStatus,
    /// Its output.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
}

impl Access {
    /// By this kubeconfig; what `kubectl` keeps and reads goes into `folder`.
    pub(crate) fn new(binaries: Binaries, kubeconfig: PathBuf, folder: &Path) -> Self {
        Self {
            binaries,
            kubeconfig,
            namespace: None,
            folder: folder.to_owned(),
        }
    }

    /// The same with all that names no namespace in this one.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The namespace of all that names none, if it is not the kubeconfig's.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Where files for `kubectl` may be put.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The words with which somebody at a shell would begin.
    pub fn shell(&self) -> String {
        let (program, component) = self.binaries.component("kubectl");
        [program.display().to_string()]
            .into_iter()
            .chain(component.map(str::to_owned))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs `kubectl`.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Kubectl> {
        let (program, component) = self.binaries.component("kubectl");
        let namespace = self.namespace.iter().map(|name| format!("--namespace={name}"));
        let output = Command::new(&program)
            .args(component)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(namespace)
            .args(arguments)
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .output()
            .map_err(|source| Error::Spawn { program, source })?;
        Ok(Kubectl {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `kubectl` with these words, which must succeed.
    pub fn run(&self, words: &str) -> Result<Kubectl> {
        let said = self.kubectl(words.split(' '))?;
        elbow::done(&said)?;
        Ok(said)
    }

    /// What `kubectl get …` says.
    pub fn get(&self, what: &str) -> Result<Value> {
        let words = ["get"].into_iter().chain(what.split(' ')).chain(["-o", "json"]);
        let said = self.kubectl(words)?;
        elbow::done(&said)?;
        serde_json::from_str(&said.stdout)
            .map_err(|error| Error::Elbow(format!("kubectl get {what} answered no JSON: {error}")))
    }
}

impl AsRef<Self> for Access {
    fn as_ref(&self) -> &Self {
        self
    }
}
