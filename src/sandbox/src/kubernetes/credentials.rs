//! Who may talk to a sandbox's API server, and the kubeconfigs by which they do.

use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use rcgen::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::certificates::Authority;
use crate::{Error, Result};

/// Everything that the API server and its first users trust, as files in one folder.
#[derive(Debug)]
pub(super) struct Credentials {
    cluster: String,
    url: String,
    folder: PathBuf,
    authority: Authority,
}

/// How a user of the API proves who it is.
pub(super) enum Proof<'a> {
    Token(&'a SecretString),
    Certificate { user: &'a str, groups: &'a [&'a str] },
}

impl Credentials {
    pub(super) fn create(cluster: &str, url: String, folder: &Path) -> Result<Self> {
        let authority = Authority::new(&format!("sandbox {cluster}"))?;
        let server = authority.server(&["kubernetes", "kubernetes.default", "kubernetes.default.svc"])?;
        let failed = |source| Error::Certificate {
            subject: "service accounts".to_owned(),
            source,
        };
        let accounts = KeyPair::generate().map_err(failed)?;
        let this = Self {
            cluster: cluster.to_owned(),
            url,
            folder: folder.to_owned(),
            authority,
        };
        this.write("ca.crt", this.authority.pem())?;
        this.write("server.crt", &server.pem)?;
        this.write("server.key", server.key.expose_secret())?;
        this.write("accounts.key", &accounts.serialize_pem())?;
        this.write("accounts.pub", &accounts.public_key_pem())?;
        Ok(this)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::write(&path, content).map_err(Error::file("writing", &path))?;
        Ok(path)
    }

    /// Writes the kubeconfig of `name` and answers its path.
    pub(super) fn kubeconfig(&self, name: &str, proof: &Proof<'_>) -> Result<PathBuf> {
        let user = match proof {
            Proof::Token(token) => json!({ "token": token.expose_secret() }),
            Proof::Certificate { user, groups } => {
                let certificate = self.authority.client(user, groups)?;
                let pem = self.write(&format!("{name}.crt"), &certificate.pem)?;
                let key = self.write(&format!("{name}.key"), certificate.key.expose_secret())?;
                json!({ "client-certificate": pem, "client-key": key })
            }
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.cluster,
            "clusters": [{
                "name": self.cluster,
                "cluster": { "server": self.url, "certificate-authority": self.file("ca.crt") },
            }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": self.cluster, "context": { "cluster": self.cluster, "user": name } }],
        });
        // JSON is YAML, which is all that a kubeconfig has to be.
        self.write(&format!("{name}.kubeconfig"), &format!("{config:#}"))
    }

    /// A client that uses a kubeconfig of ours.
    pub(super) async fn client(&self, kubeconfig: &Path) -> Result<kube::Client> {
        let failed = |source| Error::Kubeconfig {
            cluster: self.cluster.clone(),
            source,
        };
        let config = Kubeconfig::read_from(kubeconfig).map_err(failed)?;
        let config =
            kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
                .await
                .map_err(failed)?;
        kube::Client::try_from(config).map_err(|source| Error::Kubernetes {
            cluster: self.cluster.clone(),
            action: "a client".to_owned(),
            source: Box::new(source),
        })
    }
}
