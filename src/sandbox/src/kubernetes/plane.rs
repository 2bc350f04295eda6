//! The processes of one control plane.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node as NodeObject, ServiceAccount};
use kube::api::{Api, PostParams};
use secrecy::{ExposeSecret, SecretString};

use super::credentials::{Credentials, Proof};
use super::launch::Launch;
use super::{Access, Binaries, Kubectl, Node};
use crate::process::Process;
use crate::{Error, Progress, Result, Scratch, Wait, free_port, wait_until};

// Generous: a cold, busy two-core machine starts three control planes at once.
const START: Duration = Duration::from_mins(2);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's name, also the context's in its kubeconfigs.
    pub name: String,
    /// Its nodes; without any, only the API is started, and tests write what controllers would.
    pub nodes: Vec<Node>,
    /// Where to tell what is waited for.
    pub progress: Progress,
}

impl Options {
    /// etcd and the API server.
    pub fn api_only(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            nodes: Vec::new(),
            progress: Progress::silent(),
        }
    }

    /// All of it, with these nodes.
    pub fn full(name: impl Into<String>, nodes: Vec<Node>) -> Self {
        Self {
            name: name.into(),
            nodes,
            progress: Progress::silent(),
        }
    }

    /// Tells what is waited for.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }
}

/// A running control plane. Everything of it goes when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    name: String,
    url: String,
    admin: Access,
    token: SecretString,
    binaries: Binaries,
    progress: Progress,
    credentials: Credentials,
    // Clients before servers, so that nobody's last words are complaints.
    kubelets: Option<Process>,
    controllers: Vec<Process>,
    api_server: Process,
    etcd: Process,
    _folder: Scratch,
}

impl ControlPlane {
    /// Starts it and waits until it can be used: the API answers, and with nodes, they are ready and pods may be
    /// created in `default`.
    pub async fn start(options: Options) -> Result<Self> {
        let Options {
            name,
            nodes,
            progress,
        } = options;
        let binaries = if nodes.is_empty() {
            Binaries::api_only()?
        } else {
            Binaries::full()?
        };
        let folder = Scratch::new(&name)?;
        let port = free_port();
        let url = format!("https://127.0.0.1:{port}");
        let credentials = Credentials::create(&name, url.clone(), folder.path())?;
        let token = SecretString::from(format!("sandbox-admin-{}", uuid::Uuid::new_v4().simple()));
        let tokens = format!("{},admin,admin,\"system:masters\"\n", token.expose_secret());
        credentials.write("tokens.csv", &tokens)?;
        let admin = credentials.kubeconfig("admin", &Proof::Token(&token))?;

        let launch = Launch {
            cluster: &name,
            binaries: &binaries,
            credentials: &credentials,
        };
        let etcd_port = free_port();
        let mut etcd = launch.etcd(etcd_port)?;
        etcd.wait_http(&format!("http://127.0.0.1:{etcd_port}/readyz"), START, &progress)
            .await?;
        let api_server = launch.api_server(port, etcd_port, nodes.is_empty())?;
        let mut plane = Self {
            name: name.clone(),
            url,
            admin: Access::new(binaries.clone(), admin, folder.path()),
            token,
            binaries: binaries.clone(),
            progress,
            kubelets: None,
            controllers: Vec::new(),
            api_server,
            etcd,
            credentials,
            _folder: folder,
        };
        plane.wait_api().await?;
        if !nodes.is_empty() {
            plane.start_controllers()?;
            plane.join(&nodes).await?;
        }
        Ok(plane)
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// The PEM file of the authority behind the API server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.credentials.file("ca.crt")
    }

    /// The folder of its kubeconfigs, data and logs.
    pub fn folder(&self) -> &Path {
        self.admin.folder()
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<kube::Client> {
        self.credentials.client(self.kubeconfig()).await
    }

    /// Writes a kubeconfig for a user (by certificate), who has the rights that RBAC gives to it and its groups.
    pub fn kubeconfig_for_user(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.credentials
            .kubeconfig(&file_name(user), &Proof::Certificate { user, groups })
    }

    /// Writes a kubeconfig for an existing service account (by a token of its own), as a pod of it would have.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let day = TokenRequestSpec {
            expiration_seconds: Some(86_400),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec: day,
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(self.refused(&format!("a token for {namespace}/{name}")))?;
        let token = SecretString::from(answer.status.map(|status| status.token).unwrap_or_default());
        self.credentials
            .kubeconfig(&file_name(&format!("{namespace}-{name}")), &Proof::Token(&token))
    }

    /// Runs `kubectl` as the administrator.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Kubectl> {
        self.admin.kubectl(arguments)
    }

    /// The API server's process, to freeze it for a while or to read its log.
    pub fn api_server(&mut self) -> &mut Process {
        &mut self.api_server
    }

    /// The kubelets' process, if it has nodes: frozen, the nodes fall silent.
    pub fn kubelets(&mut self) -> Option<&mut Process> {
        self.kubelets.as_mut()
    }

    /// Kills the API server; etcd keeps what it knew.
    pub async fn kill_api_server(&mut self) -> Result<()> {
        self.api_server.kill().await
    }

    /// Starts the API server again on its port and waits until it answers.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.api_server.restart().await?;
        self.wait_api().await
    }

    /// Ends everything now. Nothing of a sandbox is worth an orderly end.
    pub async fn stop(&mut self) -> Result<()> {
        for process in self.kubelets.iter_mut().chain(&mut self.controllers) {
            process.kill().await?;
        }
        self.api_server.kill().await?;
        self.etcd.kill().await
    }

    async fn wait_api(&mut self) -> Result<()> {
        let client = self.credentials.client(self.kubeconfig()).await?;
        self.api_server
            .wait_ready(START, &self.progress, async || {
                let request = http::Request::get("/readyz")
                    .body(Vec::new())
                    .expect("a path is a valid URI");
                client
                    .request_text(request)
                    .await
                    .map(drop)
                    .map_err(Wait::not_yet)
            })
            .await
    }

    fn start_controllers(&mut self) -> Result<()> {
        let launch = Launch {
            cluster: &self.name,
            binaries: &self.binaries,
            credentials: &self.credentials,
        };
        self.controllers = vec![launch.controller_manager()?, launch.scheduler()?];
        self.kubelets = Some(launch.kubelets(self.admin.kubeconfig())?);
        Ok(())
    }

    async fn join(&mut self, nodes: &[Node]) -> Result<()> {
        let client = self.client().await?;
        let api: Api<NodeObject> = Api::all(client.clone());
        for node in nodes {
            let object = serde_json::from_value(node.manifest()).expect("the manifest is a Node");
            let action = format!("node {}", node.name);
            api.create(&PostParams::default(), &object)
                .await
                .map_err(self.refused(&action))?;
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        let what = format!("{} ready nodes of {}", nodes.len(), self.name);
        let (kubelets, controllers) = (&mut self.kubelets, &mut self.controllers);
        wait_until(START, &what, &self.progress, async || {
            for process in kubelets.iter_mut().chain(controllers.iter_mut()) {
                process.expect_running()?;
            }
            let list = api
                .list(&kube::api::ListParams::default())
                .await
                .map_err(Wait::not_yet)?;
            let ready = list.items.iter().filter(|node| is_ready(node)).count();
            if ready < nodes.len() {
                return Err(Wait::not_yet(format!("{ready} ready")));
            }
            // Written by a controller; no pod of the namespace is admitted before.
            accounts.get("default").await.map(drop).map_err(Wait::not_yet)
        })
        .await
    }

    fn refused(&self, action: &str) -> impl FnOnce(kube::Error) -> Error {
        let (cluster, action) = (self.name.clone(), action.to_owned());
        move |source| Error::Kubernetes {
            cluster,
            action,
            source: Box::new(source),
        }
    }
}

impl AsRef<Access> for ControlPlane {
    fn as_ref(&self) -> &Access {
        &self.admin
    }
}

// Users of Kubernetes have colons in their names, which not every file system likes.
fn file_name(user: &str) -> String {
    user.replace([':', '/'], "-")
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
