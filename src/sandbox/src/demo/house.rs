//! Everything that the demo and the tests start: Elbow, its Postgres and its AWS, and a cluster with its agent.

use std::net::Ipv4Addr;

use aws_sdk_elasticloadbalancingv2::Client;
use awssim::{Handle, Running, Simulator, TargetState};
use secrecy::{ExposeSecret, SecretString};

use super::Stage;
use crate::{
    Error, Progress, Result,
    elbow::{self, Installation, Server},
    fixture::{self, Tutorial},
    kubernetes::{ControlPlane, Node, Options},
    onlooker,
    postgres::{self, Postgres},
    process::Process,
};

const CLUSTER: &str = "democluster";

/// Elbow with its Postgres and its AWS, and no cluster yet.
pub(super) struct House {
    pub postgres: Postgres,
    pub aws: Running,
    pub elbv2: Client,
    pub tutorial: Tutorial,
    pub installation: Installation,
    pub server: Server,
    pub progress: Progress,
}

/// Everything that is up. Dropping it stops it.
pub struct Sandbox {
    /// The database server.
    pub postgres: Postgres,
    aws: Running,
    elbv2: Client,
    /// What somebody had made in AWS by hand.
    pub tutorial: Tutorial,
    /// The cluster.
    pub plane: ControlPlane,
    /// The service's programs.
    pub installation: Installation,
    /// Its replica.
    pub server: Server,
    /// The cluster's agent.
    pub agent: Process,
    agent_token: SecretString,
    progress: Progress,
}

impl House {
    /// Starts them. The database is a new one of the Postgres, or what this URL names.
    pub(super) async fn start(
        database: Option<&SecretString>,
        progress: Progress,
        server_options: &[(&str, &str)],
    ) -> Result<Self> {
        let (postgres, database) = if let Some(url) = database {
            let url = url.expose_secret();
            (Postgres::given(url)?, url.to_owned())
        } else {
            let options = postgres::Options {
                progress: progress.clone(),
                ..postgres::Options::default()
            };
            let postgres = Postgres::start_own(options).await?;
            let database = postgres.fresh_database("elbow").await?;
            (postgres, database)
        };
        let aws = Simulator::builder()
            .start_local()
            .await
            .map_err(|error| Error::Aws(error.to_string()))?;
        let tutorial = fixture::tutorial(aws.handle())?;
        let installation = Installation::new(database, aws.url().to_owned(), progress.clone())?;
        let server = installation.server("server-1", server_options).await?;
        Ok(Self {
            elbv2: onlooker::elbv2(aws.url()).await,
            postgres,
            aws,
            tutorial,
            installation,
            server,
            progress,
        })
    }

    /// What looks on.
    pub(super) fn stage(&self) -> Stage<'_> {
        Stage {
            aws: &self.aws,
            elbv2: &self.elbv2,
            tutorial: &self.tutorial,
            progress: &self.progress,
        }
    }
}

impl Sandbox {
    /// Starts a Postgres, an AWS, a cluster, the service and an agent.
    pub async fn start(progress: Progress) -> Result<Self> {
        Self::with(progress, &[]).await
    }

    /// The same with further options for the server.
    pub async fn with(progress: Progress, server_options: &[(&str, &str)]) -> Result<Self> {
        Self::on(None, progress, server_options).await
    }

    /// The same on the database that this URL names.
    pub(super) async fn on(
        database: Option<&SecretString>,
        progress: Progress,
        server_options: &[(&str, &str)],
    ) -> Result<Self> {
        let house = House::start(database, progress.clone(), server_options);
        let plane = ControlPlane::start(Options::full(CLUSTER, nodes()).progress(progress.clone()));
        let (house, plane) = tokio::try_join!(Box::pin(house), Box::pin(plane))?;
        let House {
            postgres,
            aws,
            elbv2,
            tutorial,
            installation,
            server,
            progress,
        } = house;
        fixture::machines(aws.handle(), CLUSTER, fixture::NODE_SECURITY_GROUP, &nodes())?;
        elbow::install(&plane)?;
        let token = server.register_cluster(CLUSTER, "full").await?;
        for arn in [&tutorial.target_group, &tutorial.instance_target_group] {
            server
                .declare_target_group(fixture::name(arn), arn, &[CLUSTER])
                .await?;
        }
        let agent = installation
            .agent(CLUSTER, "agent-1", &token, &plane, &[&server], &[])
            .await?;
        Ok(Self {
            postgres,
            aws,
            elbv2,
            tutorial,
            plane,
            installation,
            server,
            agent,
            agent_token: token,
            progress,
        })
    }

    /// Starts another replica of the agent, which knows these servers, with further options.
    pub async fn another_agent(
        &self,
        instance: &str,
        servers: &[&Server],
        options: &[(&str, &str)],
    ) -> Result<Process> {
        self.installation
            .agent(
                CLUSTER,
                instance,
                &self.agent_token,
                &self.plane,
                servers,
                options,
            )
            .await
    }

    /// Starts a second cluster in the same VPC, which the tutorial's target group admits, and its agent.
    pub async fn second_cluster(&self, name: &str) -> Result<(ControlPlane, Process)> {
        let plane = second_plane(name, &self.progress).await?;
        let agent = self.admit(&plane).await?;
        Ok((plane, agent))
    }

    /// Registers a second cluster and starts its agent.
    pub(super) async fn admit(&self, plane: &ControlPlane) -> Result<Process> {
        let name = plane.name();
        let group = fixture::SECOND_NODE_SECURITY_GROUP;
        fixture::machines(self.aws(), name, group, &nodes_of_second(name))?;
        elbow::install(plane)?;
        let token = self.server.register_cluster(name, "full").await?;
        let arn = &self.tutorial.target_group;
        self.server
            .declare_target_group(fixture::name(arn), arn, &[CLUSTER, name])
            .await?;
        let instance = format!("agent-of-{name}");
        self.installation
            .agent(name, &instance, &token, plane, &[&self.server], &[])
            .await
    }

    /// The AWS that Elbow talks to.
    pub fn aws(&self) -> &Handle {
        self.aws.handle()
    }

    /// Its endpoint URL.
    pub fn aws_url(&self) -> &str {
        self.aws.url()
    }

    /// What looks on.
    pub fn stage(&self) -> Stage<'_> {
        Stage {
            aws: &self.aws,
            elbv2: &self.elbv2,
            tutorial: &self.tutorial,
            progress: &self.progress,
        }
    }

    /// The tutorial's binding in ip mode with this AWS's ids.
    pub fn binding(&self) -> String {
        self.tutorial.ip_binding()
    }

    /// `kubectl scale`.
    pub fn scale(&self, replicas: u32) -> Result<()> {
        self.kubectl(&format!(
            "scale deployment nginx-deployment --replicas={replicas}"
        ))
    }

    /// `kubectl` in the cluster, with words that have no spaces in them.
    pub fn kubectl(&self, words: &str) -> Result<()> {
        self.plane.as_ref().run(words).map(drop)
    }

    /// Waits until AWS has exactly as many registered targets in `test-tg-ip`.
    pub async fn registered(&self, count: usize) -> Result<Vec<TargetState>> {
        self.stage().registered(&self.tutorial.target_group, count).await
    }
}

/// A control plane whose nodes have addresses of their own in the tutorial's VPC.
pub(super) async fn second_plane(name: &str, progress: &Progress) -> Result<ControlPlane> {
    ControlPlane::start(Options::full(name, nodes_of_second(name)).progress(progress.clone())).await
}

fn nodes() -> Vec<Node> {
    Node::spread(CLUSTER, 3, range(0), &fixture::ZONES)
}

fn nodes_of_second(name: &str) -> Vec<Node> {
    Node::spread(name, 2, range(64), &fixture::ZONES)
}

fn range(third: u8) -> ipnet::Ipv4Net {
    ipnet::Ipv4Net::new(Ipv4Addr::new(192, 168, third, 0), 18).expect("18 is a prefix length")
}
