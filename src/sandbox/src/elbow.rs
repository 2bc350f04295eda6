//! Elbow itself: its built programs as processes, with TLS, tokens and a registered cluster, as an operator would
//! start them.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    Error, Progress, Result, Scratch, Wait,
    certificates::Authority,
    free_port, iam,
    kubernetes::{Access, ControlPlane, Kubectl},
    process::{Process, Program},
    wait_until,
};

const START: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_mins(1);
const ADMIN_TOKEN: &str = "admin.token";

/// The folder of the built programs: `ELBOW_BIN`, else that of this program.
pub fn programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ELBOW_BIN") {
        return Ok(folder.into());
    }
    let own =
        std::env::current_exe().map_err(Error::file("finding the programs", Path::new("/proc/self/exe")))?;
    // Tests run from `deps`, one level below.
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("elbow-server").is_file());
    folder.map(Path::to_path_buf).ok_or_else(|| {
        Error::Elbow(
            "elbow-server is not built: run `cargo build --workspace --bins`, or set ELBOW_BIN".to_owned(),
        )
    })
}

/// What all replicas of the service share.
pub struct Installation {
    folder: Scratch,
    programs: PathBuf,
    database: String,
    aws: String,
    authority: Authority,
    admin_token: SecretString,
    /// Whether the AWS is told the shipped IAM policies, to hold Elbow to them.
    policies: bool,
    progress: Progress,
}

/// One replica of the service.
pub struct Server {
    /// Its process.
    pub process: Process,
    /// The base URL of REST.
    pub url: String,
    /// The gRPC URL for agents.
    pub agents: String,
    /// The admin port's base URL.
    pub admin: String,
    client: reqwest::Client,
    token: SecretString,
}

impl Installation {
    /// Migrates the database, which must be empty, and makes the first token. `aws` is the endpoint of AWS.
    pub fn new(database: String, aws: String, progress: Progress) -> Result<Self> {
        let folder = Scratch::new("elbow")?;
        let programs = programs()?;
        let authority = Authority::new("sandbox")?;
        let server = programs.join("elbow-server");
        let said = run(Command::new(&server)
            .args(["migrate", "--empty"])
            .env("ELBOW_DATABASE_URL", &database))?;
        drop(said);
        let mut create = Command::new(&server);
        create
            .args(["token", "create", "--role", "admin", "--name", "sandbox"])
            .env("ELBOW_DATABASE_URL", &database);
        let admin_token = SecretString::from(run(&mut create)?.trim().to_owned());
        write(&folder.path().join("ca.pem"), authority.pem())?;
        write(&folder.path().join(ADMIN_TOKEN), admin_token.expose_secret())?;
        Ok(Self {
            folder,
            programs,
            database,
            aws,
            authority,
            admin_token,
            policies: true,
            progress,
        })
    }

    /// The same on an AWS that knows no policies.
    #[must_use]
    pub fn without_policies(mut self) -> Self {
        self.policies = false;
        self
    }

    /// The URL of the database that all replicas share.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> &SecretString {
        &self.admin_token
    }

    /// The file that it is in.
    pub fn admin_token_file(&self) -> PathBuf {
        self.folder.path().join(ADMIN_TOKEN)
    }

    /// The certificate that everybody here trusts.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Where logs and credentials of this installation lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a replica, under the shipped IAM policies, and waits until it takes work.
    pub async fn server(&self, replica: &str, options: &[(&str, &str)]) -> Result<Server> {
        self.server_of(&self.programs, replica, options).await
    }

    /// The same of the programs in another folder.
    pub async fn server_of(
        &self,
        programs: &Path,
        replica: &str,
        options: &[(&str, &str)],
    ) -> Result<Server> {
        if self.policies {
            iam::enforce(&self.aws).await?;
        }
        let certificate = self.authority.server(&["elbow"])?;
        let (cert, key) = (
            self.file(&format!("{replica}.pem")),
            self.file(&format!("{replica}-key.pem")),
        );
        write(&cert, &certificate.pem)?;
        write(&key, certificate.key.expose_secret())?;
        let (rest, agents, admin) = (free_port(), free_port(), free_port());
        let program = Program::new(
            replica,
            programs.join("elbow-server"),
            self.file(&format!("{replica}.log")),
        )
        .argument("serve")
        .arguments(["--api-address", &format!("127.0.0.1:{rest}")])
        .arguments(["--agent-address", &format!("127.0.0.1:{agents}")])
        .arguments(["--admin-address", &format!("127.0.0.1:{admin}")])
        .arguments(["--aws-endpoint-url", &self.aws, "--replica-id", replica])
        .arguments([Path::new("--tls-cert"), &cert, Path::new("--tls-key"), &key])
        .env("ELBOW_DATABASE_URL", &self.database)
        .env("AWS_ACCESS_KEY_ID", crate::fixture::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", "sandbox")
        // Nothing leaves loopback.
        .env("AWS_EC2_METADATA_DISABLED", "true");
        let mut process = with_options(program, options).start()?;
        let admin = format!("http://127.0.0.1:{admin}");
        process
            .wait_http(&format!("{admin}/readyz"), START, &self.progress)
            .await?;
        let trust = reqwest::Certificate::from_pem(self.authority.pem().as_bytes());
        let client = trust.and_then(|trust| {
            reqwest::Client::builder()
                .tls_certs_only([trust])
                .timeout(Duration::from_secs(30))
                .build()
        });
        let client = client.map_err(|error| Error::Elbow(format!("no REST client: {error}")))?;
        Ok(Server {
            process,
            url: format!("https://localhost:{rest}"),
            agents: format!("https://localhost:{agents}"),
            admin,
            client,
            token: self.admin_token.clone(),
        })
    }

    /// Starts the agent of a registered cluster under the rights of the shipped manifests, with further options.
    pub async fn agent(
        &self,
        cluster: &str,
        instance: &str,
        token: &SecretString,
        plane: &ControlPlane,
        servers: &[&Server],
        options: &[(&str, &str)],
    ) -> Result<Process> {
        let kubeconfig = plane
            .kubeconfig_for_service_account("elbow-system", "elbow-agent")
            .await?;
        self.agent_as(cluster, instance, token, &kubeconfig, servers, options)
            .await
    }

    /// The same under the rights of a kubeconfig.
    pub async fn agent_as(
        &self,
        cluster: &str,
        instance: &str,
        token: &SecretString,
        kubeconfig: &Path,
        servers: &[&Server],
        options: &[(&str, &str)],
    ) -> Result<Process> {
        let token_file = self.file(&format!("{cluster}.token"));
        write(&token_file, token.expose_secret())?;
        let urls: Vec<_> = servers.iter().map(|server| server.agents.as_str()).collect();
        let chosen = options.iter().find(|(name, _)| *name == "--admin-listen");
        let admin = chosen.map_or_else(
            || format!("127.0.0.1:{}", free_port()),
            |(_, at)| (*at).to_owned(),
        );
        let further: Vec<_> = options
            .iter()
            .copied()
            .filter(|option| Some(option) != chosen)
            .collect();
        let program = Program::new(
            instance,
            self.programs.join("elbow-agent"),
            self.file(&format!("{instance}.log")),
        )
        .arguments([
            "--server",
            &urls.join(","),
            "--cluster",
            cluster,
            "--instance",
            instance,
        ])
        .arguments([
            Path::new("--token-file"),
            &token_file,
            Path::new("--ca-file"),
            &self.authority(),
        ])
        .arguments([Path::new("--kubeconfig"), kubeconfig])
        .arguments(["--admin-listen", &admin, "--log-format", "text"]);
        let mut process = with_options(program, &further).start()?;
        process
            .wait_http(&format!("http://{admin}/livez"), START, &self.progress)
            .await?;
        Ok(process)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Server {
    /// Sends a request to REST as the administrator and answers its JSON; what is no success is an error that tells
    /// the problem.
    pub async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.try_call(method.clone(), path, body).await?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(Error::Elbow(format!("{method} {path}: {status}: {answer}")))
    }

    /// As [`call`](Self::call), whatever the status.
    pub async fn try_call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(reqwest::StatusCode, Value)> {
        let url = format!("{}{path}", self.url);
        let mut request = self
            .client
            .request(method, &url)
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| Error::Elbow(format!("{path}: {error}"));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Waits until REST answers what fits.
    pub async fn answers(
        &self,
        path: &str,
        what: &str,
        progress: &Progress,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait_until(ANSWER, what, progress, async || {
            let told = self.call(reqwest::Method::GET, path, None).await?;
            if fits(&told) {
                Ok(told)
            } else {
                Err(Wait::not_yet(told))
            }
        })
        .await
    }

    /// Registers a cluster in the tutorial's VPC and answers its agent's token.
    pub async fn register_cluster(&self, name: &str, mode: &str) -> Result<SecretString> {
        self.register_cluster_in(crate::fixture::VPC, name, mode).await
    }

    /// Registers a cluster and answers its agent's token.
    pub async fn register_cluster_in(&self, vpc: &str, name: &str, mode: &str) -> Result<SecretString> {
        let spec = json!({"spec": {
            "account": crate::fixture::ACCOUNT,
            "region": crate::fixture::REGION,
            "vpcId": vpc,
            "mode": mode,
            "serve": "all",
            "bindUndeclared": true,
        }});
        let answer = self
            .call(reqwest::Method::PUT, &format!("/v1/clusters/{name}"), Some(&spec))
            .await?;
        let token = answer["agentToken"]
            .as_str()
            .map(|token| SecretString::from(token.to_owned()));
        token.ok_or_else(|| Error::Elbow(format!("cluster `{name}` was there before: {answer}")))
    }

    /// Declares an external target group for these clusters.
    pub async fn declare_target_group(&self, name: &str, arn: &str, clusters: &[&str]) -> Result<Value> {
        let spec = json!({"spec": {"arn": arn, "clusters": clusters}});
        self.call(
            reqwest::Method::PUT,
            &format!("/v1/target-groups/{name}"),
            Some(&spec),
        )
        .await
    }
}

fn with_options(program: Program, options: &[(&str, &str)]) -> Program {
    options
        .iter()
        .fold(program, |program, (name, value)| program.arguments([name, value]))
}

/// Applies the shipped CRD and the agent's rights.
pub fn install(cluster: &impl AsRef<Access>) -> Result<()> {
    define(cluster)?;
    apply(cluster, "rights", include_str!("../../../deploy/agent/rbac.yaml"))
}

/// Applies the shipped CRD.
pub(crate) fn define(cluster: &impl AsRef<Access>) -> Result<()> {
    let definition = include_str!("../../../deploy/crds/targetgroupbindings.elbv2.k8s.aws.yaml");
    apply(cluster, "CRD", definition)?;
    let established = "wait --for=condition=Established crd/targetgroupbindings.elbv2.k8s.aws --timeout=60s";
    cluster.as_ref().run(established).map(drop)
}

/// `kubectl apply` of a manifest.
pub fn apply(cluster: &impl AsRef<Access>, name: &str, manifest: &str) -> Result<()> {
    let cluster = cluster.as_ref();
    let file = cluster.folder().join(format!("{name}.yaml"));
    write(&file, manifest)?;
    done(&cluster.kubectl(["apply".as_ref(), "-f".as_ref(), file.as_os_str()])?)
}

/// Nothing, or what kubectl said went wrong.
pub fn done(said: &Kubectl) -> Result<()> {
    if said.status.success() {
        Ok(())
    } else {
        Err(Error::Elbow(format!("kubectl: {}", said.stderr.trim())))
    }
}

fn run(command: &mut Command) -> Result<String> {
    let program = PathBuf::from(command.get_program());
    let output = command
        .output()
        .map_err(|source| Error::Spawn { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Elbow(format!(
        "elbow-server: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// For this user alone: tokens and keys are among what is written.
fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::file("writing", path))
}
