//! The programs of a control plane with their flags.

use std::path::{Path, PathBuf};

use super::Binaries;
use super::credentials::{Credentials, Proof};
use crate::process::{Process, Program};
use crate::{Error, Result, free_port};

const NODE_STAGES: &str = include_str!("../../stages/node.yaml");
const POD_STAGES: &str = include_str!("../../stages/pod.yaml");

/// What every program of a control plane needs to know.
pub(super) struct Launch<'a> {
    pub(super) cluster: &'a str,
    pub(super) binaries: &'a Binaries,
    pub(super) credentials: &'a Credentials,
}

impl Launch<'_> {
    pub(super) fn etcd(&self, port: u16) -> Result<Process> {
        let client = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{}", free_port());
        self.component("etcd")
            .arguments(["--name=default", "--unsafe-no-fsync", "--log-level=warn"])
            .argument(flag("data-dir", &self.credentials.file("etcd")))
            .argument(format!("--listen-client-urls={client}"))
            .argument(format!("--advertise-client-urls={client}"))
            .argument(format!("--listen-peer-urls={peer}"))
            .argument(format!("--initial-advertise-peer-urls={peer}"))
            .argument(format!("--initial-cluster=default={peer}"))
            .start()
    }

    /// Without controllers nobody writes service accounts, so pods are admitted without one.
    pub(super) fn api_server(&self, port: u16, etcd: u16, alone: bool) -> Result<Process> {
        self.component("kube-apiserver")
            .argument(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
            .arguments(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .argument(format!("--secure-port={port}"))
            .argument(flag("cert-dir", &self.credentials.file("apiserver")))
            .argument(flag("tls-cert-file", &self.credentials.file("server.crt")))
            .argument(flag("tls-private-key-file", &self.credentials.file("server.key")))
            .argument(flag("client-ca-file", &self.credentials.file("ca.crt")))
            .argument(flag("token-auth-file", &self.credentials.file("tokens.csv")))
            .argument("--service-account-issuer=https://kubernetes.default.svc")
            .argument(flag(
                "service-account-key-file",
                &self.credentials.file("accounts.pub"),
            ))
            .argument(flag(
                "service-account-signing-key-file",
                &self.credentials.file("accounts.key"),
            ))
            .arguments([
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
            ])
            .arguments(["--profiling=false", "--endpoint-reconciler-type=none"])
            .arguments(alone.then_some("--disable-admission-plugins=ServiceAccount"))
            .start()
    }

    pub(super) fn controller_manager(&self) -> Result<Process> {
        self.controller("kube-controller-manager")?
            // Its controllers are users of their own, too; the manager itself may do next to nothing.
            .argument("--use-service-account-credentials=true")
            .argument(flag(
                "service-account-private-key-file",
                &self.credentials.file("accounts.key"),
            ))
            .argument(flag("root-ca-file", &self.credentials.file("ca.crt")))
            .start()
    }

    pub(super) fn scheduler(&self) -> Result<Process> {
        self.controller("kube-scheduler")?.start()
    }

    /// kwok in the place of all kubelets.
    pub(super) fn kubelets(&self, kubeconfig: &Path) -> Result<Process> {
        let program = self.binaries.kwok().ok_or_else(|| Error::Missing {
            tool: "kwok",
            remedy: "run `cargo xtask kubernetes`, which builds it".to_owned(),
        })?;
        let stages = self
            .credentials
            .write("stages.yaml", &format!("{NODE_STAGES}---\n{POD_STAGES}"))?;
        Program::new(format!("kwok of {}", self.cluster), program, self.log("kwok"))
            .arguments(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"])
            .argument(flag("kubeconfig", kubeconfig))
            .argument(flag("config", &stages))
            .start()
    }

    // Each controller is a user of its own, with the rights that Kubernetes gives to it by default.
    fn controller(&self, name: &'static str) -> Result<Program> {
        let user = format!("system:{name}");
        let kubeconfig = self.credentials.kubeconfig(
            name,
            &Proof::Certificate {
                user: &user,
                groups: &[],
            },
        )?;
        Ok(self
            .component(name)
            .arguments([
                "--leader-elect=false",
                "--profiling=false",
                "--bind-address=127.0.0.1",
            ])
            .argument(format!("--secure-port={}", free_port()))
            .argument(flag("kubeconfig", &kubeconfig))
            .argument(flag("cert-dir", &self.credentials.file(name))))
    }

    fn component(&self, name: &'static str) -> Program {
        let (program, component) = self.binaries.component(name);
        Program::new(format!("{name} of {}", self.cluster), program, self.log(name)).arguments(component)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.credentials.file(&format!("{name}.log"))
    }
}

fn flag(name: &str, path: &Path) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}
