//! One postmaster with its data.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Installation, Options, START, STOP, execute};
use crate::process::{Process, Program};
use crate::{Error, Progress, Result, Scratch, Wait, free_port, wait_until};

#[derive(Debug)]
pub(super) struct Server {
    port: u16,
    progress: Progress,
    data: PathBuf,
    // Before the folder, so that it ends before its data goes.
    process: Process,
    _folder: Scratch,
}

impl Server {
    pub(super) async fn start(installation: &Installation, options: Options) -> Result<Self> {
        let folder = Scratch::new("postgres")?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data).map_err(Error::file("creating", &data))?;
        let owner = Installation::owner()?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(&data, Some(uid.as_raw()), Some(gid.as_raw()))
                .map_err(Error::file("giving away", &data))?;
        }
        options
            .progress
            .tell("creating a Postgres", std::time::Duration::ZERO);
        initialize(installation, &data, owner)?;
        let port = free_port();
        let on = |yes: bool| if yes { "on" } else { "off" };
        let process = Program::new(
            "postgres",
            installation.program("postgres"),
            folder.path().join("postgres.log"),
        )
        .argument("-D")
        .argument(&data)
        .arguments([
            "-c".to_owned(),
            "listen_addresses=127.0.0.1".to_owned(),
            "-c".to_owned(),
            format!("port={port}"),
            "-c".to_owned(),
            format!("unix_socket_directories={}", data.display()),
            "-c".to_owned(),
            format!("max_connections={}", options.max_connections),
            "-c".to_owned(),
            format!("fsync={}", on(options.fsync)),
            "-c".to_owned(),
            format!("full_page_writes={}", on(options.fsync)),
        ])
        .env("LC_ALL", "C")
        .owner(owner)
        // An immediate shutdown: the postmaster ends its backends first, so that none is left behind.
        .ended_by(Signal::SIGQUIT)
        .start()?;
        let mut server = Self {
            port,
            progress: options.progress,
            data,
            process,
            _folder: folder,
        };
        server.wait_ready().await?;
        Ok(server)
    }

    pub(super) fn url(&self) -> reqwest::Url {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
            .parse()
            .expect("a URL with a number for its port")
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        // The "fast" shutdown; SIGTERM would wait for clients to leave.
        self.process.stop_by(Signal::SIGINT, STOP).await
    }

    pub(super) async fn kill(&mut self) -> Result<()> {
        let Some(postmaster) = self.process.id() else {
            return Ok(());
        };
        // Frozen first, so that it starts no more backends while they are listed; they are in sessions of their own.
        if self.process.is_running() {
            self.process.freeze()?;
        }
        let backends = children(postmaster);
        self.process.kill().await?;
        for backend in &backends {
            // One that is gone already is as good as killed.
            let _ = kill(*backend, Signal::SIGKILL);
        }
        // A new postmaster refuses to start while an old backend holds the shared memory.
        wait_until(
            STOP,
            "the end of Postgres's backends",
            &self.progress,
            async || match backends
                .iter()
                .find(|backend| kill(**backend, None) != Err(Errno::ESRCH) && !is_zombie(**backend))
            {
                Some(backend) => Err(Wait::not_yet(format!("{backend} is still there"))),
                None => Ok(()),
            },
        )
        .await
    }

    pub(super) async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process.restart().await?;
        self.wait_ready().await
    }

    pub(super) fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    pub(super) fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let url = self.url();
        let ask = async || {
            execute(url.as_str(), "SELECT 1")
                .await
                .map_err(|error| Wait::NotYet(cause(&error)))
        };
        self.process.wait_ready(START, &self.progress, ask).await
    }
}

fn initialize(
    installation: &Installation,
    data: &Path,
    owner: Option<(nix::unistd::Uid, nix::unistd::Gid)>,
) -> Result<()> {
    let program = installation.program("initdb");
    let mut command = Command::new(&program);
    command
        .arg("-D")
        .arg(data)
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ])
        .env("LC_ALL", "C")
        .current_dir("/");
    if let Some((uid, gid)) = owner {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    let output = command
        .output()
        .map_err(|source| Error::Spawn { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Ended {
        name: "initdb".to_owned(),
        status: output.status.to_string(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

// Linux lists them; elsewhere nothing is listed and backends end by themselves when they miss their postmaster.
fn children(parent: u32) -> Vec<Pid> {
    std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|id| id.parse().ok().map(Pid::from_raw))
        .collect()
}

// In a container without an init nobody collects orphans.
fn is_zombie(process: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
