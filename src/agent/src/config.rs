//! Settings: command line and `ELBOW_AGENT_…`.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{CommandFactory, Parser};
use model::Name;
use runtime::telemetry::{LogFormat, LogLevel, Otlp};
use tonic::transport::Uri;

use crate::index::Namespaces;

const PREFIX: &str = "ELBOW_AGENT_";

/// Tells Elbow what this cluster's API server says, and writes Elbow's answers back.
#[derive(Clone, Debug, Parser)]
#[command(name = "elbow-agent", version)]
pub struct Config {
    /// The service's gRPC address, e.g. https://elbow.example.com:8444; several are tried in turn.
    #[arg(long = "server", env = "ELBOW_AGENT_SERVERS", value_delimiter = ',', required = true, value_parser = server)]
    pub servers: Vec<Uri>,

    /// The name by which this cluster is registered.
    #[arg(long, env = "ELBOW_AGENT_CLUSTER")]
    pub cluster: Name,

    /// The file with this cluster's token; read again at every connect.
    #[arg(long, env = "ELBOW_AGENT_TOKEN_FILE")]
    pub token_file: PathBuf,

    /// PEM certificates that the service's certificate must lead to; read again at every connect.
    #[arg(long, env = "ELBOW_AGENT_CA_FILE", required_unless_present = "insecure_dev")]
    pub ca_file: Option<PathBuf>,

    /// A kubeconfig; without it, the pod's service account.
    #[arg(long, env = "ELBOW_AGENT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// The namespaces to look at, if not all: what is in others is as if nobody could see it, and what Elbow registered for
    /// it stays.
    #[arg(long = "namespace", env = "ELBOW_AGENT_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<Name>,

    /// Tells the replicas of one agent apart: the pod's name.
    #[arg(long, env = "ELBOW_AGENT_INSTANCE")]
    pub instance: String,

    /// The namespace of the Lease that chooses the active replica.
    #[arg(long, env = "ELBOW_AGENT_LEASE_NAMESPACE", default_value = "elbow-system")]
    pub lease_namespace: String,

    /// The Lease that chooses the active replica.
    #[arg(long, env = "ELBOW_AGENT_LEASE_NAME", default_value = "elbow-agent")]
    pub lease_name: String,

    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "ELBOW_AGENT_ADMIN_LISTEN", default_value = "0.0.0.0:8081")]
    pub admin_listen: SocketAddr,

    /// `text` or `json`.
    #[arg(long, env = "ELBOW_AGENT_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// Which log lines and spans there are: a level, or levels by crate such as `info,agent=debug`.
    #[arg(long, env = "ELBOW_AGENT_LOG_LEVEL", default_value = "info")]
    pub log_level: LogLevel,

    /// Where traces are sent: an OTLP collector over gRPC, http://HOST:4317. Without it, none are. What share of them is
    /// said by `OTEL_TRACES_SAMPLER`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Allows http:// and no CA. The token travels in clear: for a machine of your own only.
    #[arg(long, env = "ELBOW_AGENT_INSECURE_DEV")]
    pub insecure_dev: bool,
}

fn server(text: &str) -> Result<Uri, String> {
    let uri: Uri = text
        .parse()
        .map_err(|error| format!("{error}: give a URL like https://host:port"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some() => Ok(uri),
        _ => Err("give a URL like https://host:port".to_owned()),
    }
}

impl Config {
    /// The namespaces to look at.
    pub fn namespaces(&self) -> Namespaces {
        if self.namespaces.is_empty() {
            Namespaces::All
        } else {
            Namespaces::These(self.namespaces.iter().map(Name::to_string).collect())
        }
    }

    /// What clap cannot say: `http://` needs `--insecure-dev`.
    pub fn check(&self) -> anyhow::Result<()> {
        for server in &self.servers {
            if server.scheme_str() != Some("https") && !self.insecure_dev {
                anyhow::bail!(
                    "the server {server} is not https; use https, or --insecure-dev on a machine of your own"
                );
            }
        }
        Ok(())
    }

    /// Where traces are sent, as whom.
    pub fn otlp(&self) -> Option<Otlp> {
        Some(Otlp {
            endpoint: self
                .otlp_endpoint
                .clone()
                .filter(|endpoint| !endpoint.is_empty())?,
            service: "elbow-agent",
            version: env!("CARGO_PKG_VERSION"),
            instance: format!("{}/{}", self.cluster, self.instance),
        })
    }

    /// A misspelt variable would silently leave a default in force.
    pub fn refuse_unknown_variables(present: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
        let command = Self::command();
        let known: Vec<_> = command
            .get_arguments()
            .filter_map(|argument| argument.get_env())
            .collect();
        for name in present {
            if name.to_string_lossy().starts_with(PREFIX) && !known.contains(&name.as_os_str()) {
                anyhow::bail!(
                    "{} is no setting of elbow-agent; see --help",
                    name.to_string_lossy()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &[&str]) -> Result<Config, clap::Error> {
        let base = [
            "elbow-agent",
            "--cluster",
            "east",
            "--token-file",
            "/t",
            "--instance",
            "pod-1",
        ];
        Config::try_parse_from(base.iter().chain(extra))
    }

    #[test]
    fn plain_http_needs_the_insecure_flag() {
        let config = parse(&["--server", "http://127.0.0.1:1", "--ca-file", "/ca"]).unwrap();
        assert!(config.check().is_err());
        let config = parse(&["--server", "http://127.0.0.1:1", "--insecure-dev"]).unwrap();
        assert!(config.check().is_ok());
    }

    #[test]
    fn a_ca_is_required() {
        assert!(parse(&["--server", "https://127.0.0.1:1"]).is_err());
    }

    #[test]
    fn namespaces_are_names_with_commas_between_them() {
        let given = |namespaces| {
            let config = parse(&[
                "--server",
                "https://127.0.0.1:1",
                "--ca-file",
                "/ca",
                "--namespace",
                namespaces,
            ]);
            config.map(|config| config.namespaces())
        };
        let two = Namespaces::These(["a-1", "b"].map(str::to_owned).into());
        assert_eq!(given("a-1,b").unwrap(), two);
        for bad in ["a,,b", "a, b", "-a", "A"] {
            assert!(given(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_refused_by_name() {
        let error = Config::refuse_unknown_variables(["ELBOW_AGENT_CLUSTR".into()]).unwrap_err();
        assert!(error.to_string().contains("ELBOW_AGENT_CLUSTR"));
        assert!(Config::refuse_unknown_variables(["ELBOW_AGENT_CLUSTER".into(), "PATH".into()]).is_ok());
    }
}
