//! The tutorial, played: bind a Service to a target group, scale it, let it go, and look at the target group after each
//! step. What is shown is read from AWS's own state, never through Elbow.

use std::{io::Write, net::Ipv4Addr, time::Duration};

use awssim::{Handle, Running, Simulator, TargetState};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Error, Progress, Result, Wait,
    elbow::{self, Installation, Server},
    fixture::{self, Tutorial},
    kubernetes::{ControlPlane, Node, Options},
    postgres::{self, Postgres},
    process::Process,
    wait_until,
};

const CLUSTER: &str = "democluster";
const SETTLE: Duration = Duration::from_mins(2);

/// What the demo is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Play the tutorial and end; without it, everything stays up afterwards
    #[arg(long)]
    pub once: bool,
    /// Start everything and leave the tutorial to you
    #[arg(long, conflicts_with = "once")]
    pub bare: bool,
}

/// Everything that is up. Dropping it stops it.
pub struct Sandbox {
    /// The database server.
    pub postgres: Postgres,
    aws: Running,
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

/// Plays the demo.
pub async fn run(arguments: Arguments) -> Result<()> {
    let sandbox = Sandbox::start(progress()).await?;
    if !arguments.bare {
        sandbox.play().await?;
    }
    if arguments.once {
        say("Done. Without --once everything stays up and you go on with kubectl.");
        return Ok(());
    }
    sandbox.explain();
    tokio::signal::ctrl_c().await.map_err(Error::file(
        "waiting for Ctrl-C",
        std::path::Path::new("/dev/tty"),
    ))?;
    say("Stopping.");
    Ok(())
}

impl Sandbox {
    /// Starts a Postgres, an AWS, a cluster, the service and an agent.
    pub async fn start(progress: Progress) -> Result<Self> {
        Self::with(progress, &[]).await
    }

    /// The same with further options for the server.
    pub async fn with(progress: Progress, server_options: &[(&str, &str)]) -> Result<Self> {
        let options = Options::full(CLUSTER, nodes()).progress(progress.clone());
        let database = postgres::Options {
            progress: progress.clone(),
            ..postgres::Options::default()
        };
        let (postgres, plane) =
            tokio::try_join!(Postgres::start_own(database), ControlPlane::start(options))?;
        let aws = Simulator::builder()
            .start_local()
            .await
            .map_err(|error| Error::Aws(error.to_string()))?;
        let tutorial = fixture::tutorial(aws.handle())?;
        fixture::machines(aws.handle(), CLUSTER, &nodes())?;
        let database = postgres.fresh_database("elbow").await?;
        let installation = Installation::new(database, aws.url().to_owned(), progress.clone())?;
        let server = installation.server("server-1", server_options).await?;
        elbow::install(&plane)?;
        let token = server.register_cluster(CLUSTER, "full").await?;
        server
            .declare_target_group("test-tg-ip", &tutorial.target_group, &[CLUSTER])
            .await?;
        let agent = installation
            .agent(CLUSTER, "agent-1", &token, &plane, &[&server], &[])
            .await?;
        Ok(Self {
            postgres,
            aws,
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
        let range = ipnet::Ipv4Net::new(Ipv4Addr::new(192, 168, 64, 0), 18).expect("18 is a prefix length");
        let nodes = Node::spread(name, 2, range, &fixture::ZONES);
        let plane = ControlPlane::start(Options::full(name, nodes).progress(self.progress.clone())).await?;
        elbow::install(&plane)?;
        let token = self.server.register_cluster(name, "full").await?;
        self.server
            .declare_target_group("test-tg-ip", &self.tutorial.target_group, &[CLUSTER, name])
            .await?;
        let instance = format!("agent-of-{name}");
        let agent = self
            .installation
            .agent(name, &instance, &token, &plane, &[&self.server], &[])
            .await?;
        Ok((plane, agent))
    }

    /// The AWS that Elbow talks to.
    pub fn aws(&self) -> &Handle {
        self.aws.handle()
    }

    /// Its endpoint URL.
    pub fn aws_url(&self) -> &str {
        self.aws.url()
    }

    /// The tutorial's steps.
    async fn play(&self) -> Result<()> {
        say("\n1. A Deployment with one pod, a headless Service, and a TargetGroupBinding (kubectl apply)");
        elbow::apply(
            &self.plane,
            "nginx",
            include_str!("../../../tests/seed/nginx.yaml"),
        )?;
        elbow::apply(&self.plane, "tgb-alb-ip", &self.binding())?;
        self.show(1).await?;
        say("\n2. kubectl scale deployment nginx-deployment --replicas 4");
        self.scale(4)?;
        self.show(4).await?;
        say("\n3. kubectl scale deployment nginx-deployment --replicas 1");
        self.scale(1)?;
        self.show(1).await?;
        self.show_binding()?;
        say("\n4. kubectl delete targetgroupbinding my-tgb-alb-ip");
        elbow::done(
            &self
                .plane
                .kubectl(["delete", "targetgroupbinding", "my-tgb-alb-ip"])?,
        )?;
        self.show(0).await?;
        say("   The ALB, its listener and the target group are as somebody made them.");
        Ok(())
    }

    /// The tutorial's binding with this AWS's ids.
    pub fn binding(&self) -> String {
        include_str!("../../../tests/seed/tgb-alb-ip.yaml")
            .replace("<TG_IP_ARN>", &self.tutorial.target_group)
            .replace("<ALB_SG_ID>", fixture::ALB_SECURITY_GROUP)
    }

    /// `kubectl scale`.
    pub fn scale(&self, replicas: u32) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        elbow::done(
            &self
                .plane
                .kubectl(["scale", "deployment", "nginx-deployment", &replicas])?,
        )
    }

    /// Waits until AWS has exactly as many registered targets.
    pub async fn registered(&self, count: usize) -> Result<Vec<TargetState>> {
        let what = format!("{count} registered target(s) in test-tg-ip");
        wait_until(SETTLE, &what, &self.progress, async || {
            let all = self.targets().map_err(Wait::Never)?;
            let registered = all.iter().filter(|target| !is_draining(target)).count();
            if registered == count {
                Ok(all)
            } else {
                Err(Wait::not_yet(format!("{registered} registered")))
            }
        })
        .await
    }

    fn targets(&self) -> Result<Vec<TargetState>> {
        self.aws()
            .targets(&self.tutorial.target_group)
            .map_err(|error| Error::Aws(error.to_string()))
    }

    async fn show(&self, count: usize) -> Result<()> {
        let targets = self.registered(count).await?;
        say("   target group test-tg-ip");
        if targets.is_empty() {
            say("     (empty)");
        }
        for target in &targets {
            say(&format!(
                "     {:<22} {}",
                format!("{}:{}", target.id, target.port),
                words(target)
            ));
        }
        Ok(())
    }

    fn show_binding(&self) -> Result<()> {
        let table = self.plane.kubectl(["get", "targetgroupbindings"])?;
        for line in table.stdout.lines() {
            say(&format!("   {line}"));
        }
        elbow::done(&table)
    }

    fn explain(&self) {
        let token = self.installation.admin_token().expose_secret();
        say(&format!(
            "\nEverything is up until Ctrl-C.\n\
             \n  export KUBECONFIG={}\
             \n  kubectl: {}\
             \n  REST     {}/v1  (CA {})\
             \n  token    {token}\
             \n  AWS      AWS_ENDPOINT_URL={} AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=sandbox AWS_REGION={}\
             \n  group    {}\
             \n  logs     {}\n",
            self.plane.kubeconfig().display(),
            "any kubectl; the cluster is real",
            self.server.url,
            self.installation.authority().display(),
            self.aws.url(),
            fixture::ACCOUNT,
            fixture::REGION,
            self.tutorial.target_group,
            self.installation.folder().display(),
        ));
    }
}

fn nodes() -> Vec<Node> {
    let range = ipnet::Ipv4Net::new(Ipv4Addr::new(192, 168, 0, 0), 18).expect("18 is a prefix length");
    Node::spread(CLUSTER, 3, range, &fixture::ZONES)
}

fn is_draining(target: &TargetState) -> bool {
    target.state == awssim::HealthState::Draining
}

/// A target's state as DescribeTargetHealth would say it.
fn words(target: &TargetState) -> String {
    let state = serde_json::to_value(target.state).ok();
    let state = state
        .as_ref()
        .and_then(serde_json::Value::as_str)
        .unwrap_or("?")
        .to_owned();
    target
        .reason
        .iter()
        .fold(state, |state, reason| format!("{state} ({reason})"))
}

/// A line for the person who watches.
fn say(line: &str) {
    // Nobody watches any more: the demo goes on.
    writeln!(std::io::stdout(), "{line}").ok();
}

/// One line per thing that takes a while, and one more every five seconds.
fn progress() -> Progress {
    let start = std::time::Instant::now();
    Progress::new(move |what, elapsed| {
        if elapsed < Duration::from_millis(100) || elapsed.as_secs() % 5 == 0 {
            writeln!(
                std::io::stderr(),
                "[{:>3}s] waiting for {what}",
                start.elapsed().as_secs()
            )
            .ok();
        }
    })
}
