use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context;
use api::Pem;
use clap::Args;

/// Where the process listens, and by what identity.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// REST.
    #[arg(long, env = "ELBOW_API_ADDRESS", default_value = "0.0.0.0:8443")]
    pub(crate) api_address: SocketAddr,
    /// gRPC, for agents, people and portals.
    #[arg(long, env = "ELBOW_AGENT_ADDRESS", default_value = "0.0.0.0:8444")]
    pub(crate) agent_address: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`, in plain HTTP.
    #[arg(long, env = "ELBOW_ADMIN_ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) admin_address: SocketAddr,
    /// The certificate chain of REST and gRPC, in PEM.
    #[arg(
        long,
        env = "ELBOW_TLS_CERT",
        requires = "tls_key",
        required_unless_present = "insecure_dev"
    )]
    tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, env = "ELBOW_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak plain text. Tokens can then be read on the way: never outside of one machine.
    #[arg(long, env = "ELBOW_INSECURE_DEV", conflicts_with_all = ["tls_cert", "tls_key"])]
    insecure_dev: bool,
}

impl Listen {
    /// The identity; `None`: plain text was asked for.
    pub(crate) fn identity(&self) -> anyhow::Result<Option<Pem>> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Some(Pem::new(read(cert)?, read(key)?)))
    }
}
