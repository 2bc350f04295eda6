//! The tutorial, played: bind Services to target groups, scale, let go, and then two clusters on one group. After each
//! step it shows the target group as AWS and `kubectl` tell it, never through Elbow.

mod explain;
mod guests;
mod house;
mod sharing;
mod stage;
mod tutorial;

use std::{future::Future, io::Write, path::PathBuf, time::Duration};

use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Progress, Result, kubernetes::ControlPlane, process::Process};

use explain::explain;
use house::House;
pub use house::Sandbox;
use sharing::Actor;
pub use sharing::{SOON_SILENT, stale};
pub use stage::Stage;
pub use tutorial::{bind, scale};

const SECOND_CLUSTER: &str = "secondcluster";

/// What the demo is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Play the tutorial and end; without it, everything stays up afterwards
    #[arg(long)]
    pub once: bool,
    /// Start everything and leave the tutorial to you
    #[arg(long, conflicts_with = "once")]
    pub bare: bool,
    /// A cluster of your own instead of the demo's; twice for two. The agent runs on this machine, and nothing is changed
    /// in the cluster but a namespace elbow-demo and, where there is none, the definition of TargetGroupBinding
    #[arg(long = "kubeconfig", value_name = "FILE")]
    pub kubeconfigs: Vec<PathBuf>,
    /// A Postgres of your own: an empty database, or an empty schema of one
    #[arg(
        long,
        value_name = "URL",
        env = "ELBOW_DEMO_DATABASE_URL",
        hide_env_values = true
    )]
    pub database_url: Option<SecretString>,
}

/// Plays the demo.
pub async fn run(arguments: Arguments) -> Result<()> {
    if arguments.kubeconfigs.is_empty() {
        on_own_clusters(&arguments).await?;
    } else {
        on_clusters_of_the_user(&arguments).await?;
    }
    if arguments.once {
        say("\nDone. Without --once everything stays up and you go on with kubectl.");
    }
    if arguments.database_url.is_some() {
        say("Your database keeps the tables of the demo: drop them, or the database, before the next one.");
    }
    Ok(())
}

async fn on_own_clusters(arguments: &Arguments) -> Result<()> {
    let sandbox = Sandbox::on(arguments.database_url.as_ref(), progress(), &SOON_SILENT).await?;
    let second = if arguments.bare {
        None
    } else {
        Some(play(&sandbox).await?)
    };
    if arguments.once {
        return Ok(());
    }
    let mut clusters = vec![(sandbox.plane.name(), sandbox.plane.as_ref())];
    clusters.extend(second.iter().map(|(plane, _)| (plane.name(), plane.as_ref())));
    let Sandbox {
        installation,
        server,
        tutorial,
        ..
    } = &sandbox;
    explain(installation, server, sandbox.aws_url(), tutorial, &clusters)?;
    interrupted().await;
    say("Stopping.");
    Ok(())
}

async fn on_clusters_of_the_user(arguments: &Arguments) -> Result<()> {
    let guests = guests::look(&arguments.kubeconfigs)?;
    let house = House::start(arguments.database_url.as_ref(), progress(), &SOON_SILENT).await?;
    let then = async |guests: &[guests::Guest]| {
        if arguments.once {
            return Ok(());
        }
        let clusters: Vec<_> = guests.iter().map(guests::Guest::as_shown).collect();
        let House {
            installation,
            server,
            tutorial,
            aws,
            ..
        } = &house;
        explain(installation, server, aws.url(), tutorial, &clusters)?;
        std::future::pending().await
    };
    guests::visit(&house, &guests, !arguments.bare, then).await
}

/// Waits for Ctrl-C, or for somebody who ends the demo in another way.
fn interrupted() -> impl Future<Output = ()> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
            // Without a way to hear of them they end the process as they do by default.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Plays the tutorial while a second cluster starts, and then with both.
async fn play(sandbox: &Sandbox) -> Result<(ControlPlane, Process)> {
    let stage = sandbox.stage();
    let binding = sandbox.binding();
    // What it waits for is of no interest while there is something to see.
    let silent = Progress::silent();
    let (plane, ()) = tokio::try_join!(
        house::second_plane(SECOND_CLUSTER, &silent),
        tutorial::play(&stage, sandbox.plane.as_ref(), &binding, true)
    )?;
    let mut agent = sandbox.admit(&plane).await?;
    let first = Actor {
        name: sandbox.plane.name(),
        access: sandbox.plane.as_ref(),
        binding: &binding,
    };
    let second = Actor {
        name: plane.name(),
        access: plane.as_ref(),
        binding: &binding,
    };
    sharing::play(&stage, &sandbox.server, &first, &second, &mut agent).await?;
    Ok((plane, agent))
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
