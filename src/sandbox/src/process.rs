//! A supervised process: a program with its log, its readiness and its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid};

use crate::{Error, Progress, Result, Wait, guardian, wait_until};

const LOG_LINES: usize = 25;
// A killed process is gone as soon as the kernel has taken it apart; a big one takes a moment.
const END_OF_KILLED: Duration = Duration::from_secs(10);

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    owner: Option<(Uid, Gid)>,
    end: Signal,
    log: PathBuf,
}

impl Program {
    /// The program at `path`, called `name` in messages, writing its output to the file `log`.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            owner: None,
            end: Signal::SIGKILL,
            log: log.into(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs as another user; only root can.
    #[must_use]
    pub(crate) fn owner(mut self, owner: Option<(Uid, Gid)>) -> Self {
        self.owner = owner;
        self
    }

    /// The signal that a dropped process gets, instead of SIGKILL. It must end the program for certain.
    #[must_use]
    pub(crate) fn ended_by(mut self, signal: Signal) -> Self {
        self.end = signal;
        self
    }

    /// Starts it. The log is appended to, so that a restart keeps what was said before.
    pub fn start(self) -> Result<Process> {
        let child = self.spawn()?;
        Ok(Process {
            program: self,
            child: Some(child),
        })
    }

    fn spawn(&self) -> Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::file("opening the log", &self.log))?;
        let errors = log
            .try_clone()
            .map_err(Error::file("opening the log", &self.log))?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        if let Some((uid, gid)) = self.owner {
            // The working folder may be closed to that user.
            command.uid(uid.as_raw()).gid(gid.as_raw()).current_dir("/");
        }
        let child = command.spawn().map_err(|source| Error::Spawn {
            program: self.path.clone(),
            source,
        })?;
        guardian::watch_group(group(&child).as_raw());
        Ok(child)
    }
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("Linux's and macOS's process ids are below 2^22"))
}

/// A running (or ended) process. It is killed with all its group when it is dropped, and when this process ends in
/// whatever way.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Option<Child>,
}

impl Process {
    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its process id, while it has one.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The file that its output goes to.
    pub fn log(&self) -> &Path {
        &self.program.log
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.program.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Whether it still runs. Collects its exit status when it does not.
    pub fn is_running(&mut self) -> bool {
        matches!(self.exit_status(), Ok(None)) && self.child.is_some()
    }

    /// An error with the end of the log when it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.exit_status()? {
            None if self.child.is_some() => Ok(()),
            status => Err(Error::Ended {
                name: self.program.name.clone(),
                status: status.map_or_else(|| String::from("stopped"), |status| status.to_string()),
                log: self.log_tail(),
            }),
        }
    }

    /// Waits until `ready` holds; fails at once when the process ends, and at the deadline with the end of its log.
    pub async fn wait_ready(
        &mut self,
        limit: Duration,
        progress: &Progress,
        mut ready: impl AsyncFnMut() -> Result<(), Wait>,
    ) -> Result<()> {
        let what = format!("readiness of {}", self.program.name);
        let waited = wait_until(limit, &what, progress, async || {
            self.expect_running()?;
            ready().await
        })
        .await;
        match waited {
            Err(Error::Deadline { what, limit, last }) => {
                let last = format!("{last}; the end of its log:\n{}", self.log_tail());
                Err(Error::Deadline { what, limit, last })
            }
            other => other,
        }
    }

    /// Waits until it answers this URL with success.
    pub async fn wait_http(&mut self, url: &str, limit: Duration, progress: &Progress) -> Result<()> {
        let client = reqwest::Client::new();
        self.wait_ready(limit, progress, async || {
            match client
                .get(url)
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
            {
                Ok(_) => Ok(()),
                Err(error) => Err(Wait::not_yet(error)),
            }
        })
        .await
    }

    /// Waits until it accepts connections on this loopback port.
    pub async fn wait_tcp(&mut self, port: u16, limit: Duration, progress: &Progress) -> Result<()> {
        self.wait_ready(limit, progress, async || {
            let address = (std::net::Ipv4Addr::LOCALHOST, port);
            tokio::net::TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(Wait::not_yet)
        })
        .await
    }

    /// Waits until it has ended by itself.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.program.name);
        wait_until(limit, &what, &Progress::silent(), async || {
            match self.exit_status()? {
                Some(status) => Ok(status),
                None => Err(Wait::not_yet("still running")),
            }
        })
        .await
    }

    /// Asks it to end (SIGTERM) and waits; kills it when it does not end in time.
    pub async fn stop(&mut self, limit: Duration) -> Result<()> {
        self.stop_by(Signal::SIGTERM, limit).await
    }

    pub(crate) async fn stop_by(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal)?;
        match self.wait_exit(limit).await {
            Err(Error::Deadline { .. }) => {
                tracing::warn!(
                    process = self.program.name,
                    ?limit,
                    "does not end by itself: killed"
                );
                self.kill().await
            }
            other => other.map(drop),
        }
    }

    /// Ends it at this instant (SIGKILL), with its process group, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        if self.is_running() {
            self.signal(Signal::SIGKILL)?;
            self.wait_exit(END_OF_KILLED).await?;
        }
        Ok(())
    }

    /// Freezes it (SIGSTOP): it keeps its sockets and says nothing.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen one go on (SIGCONT).
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Starts the ended program again, with the same arguments and log.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.child = Some(self.program.spawn()?);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        killpg(group(child), signal).map_err(|source| Error::Signal {
            name: self.program.name.clone(),
            source,
        })
    }

    // The group is forgotten as soon as its leader is collected: from then on its number may be somebody else's.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let status = child.try_wait().map_err(|source| Error::Spawn {
            program: self.program.path.clone(),
            source,
        })?;
        if let Some(status) = status {
            guardian::forget_group(group(child).as_raw());
            if let Some(signal) = status.signal() {
                tracing::debug!(process = self.program.name, signal, "ended by a signal");
            }
        }
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        // A frozen process hears nothing but SIGKILL until it goes on.
        match self.signal(self.program.end).and_then(|()| self.thaw()) {
            Ok(())
            | Err(Error::Signal {
                source: Errno::ESRCH, ..
            }) => {}
            Err(error) => tracing::warn!(%error, "a process of the sandbox may be left"),
        }
        if let Some(mut child) = self.child.take() {
            let group = group(&child);
            // Collected, so that a long test run gathers no zombies.
            let _ = child.wait();
            guardian::forget_group(group.as_raw());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    fn shell(scratch: &Scratch, script: &str) -> Process {
        Program::new("shell", "/bin/sh", scratch.path().join("log"))
            .arguments(["-c", script])
            .start()
            .unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_before_it_is_ready_is_reported_with_its_log() {
        let scratch = Scratch::new("process").unwrap();
        let mut process = shell(&scratch, "echo no such port; exit 3");
        let error = process
            .wait_tcp(1, Duration::from_secs(10), &Progress::silent())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("no such port"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_process_that_ignores_the_request_to_end_is_killed() {
        let scratch = Scratch::new("process").unwrap();
        let mut process = shell(&scratch, "trap '' TERM; echo trapped; while :; do sleep 1; done");
        let log = process.log().to_owned();
        process
            .wait_ready(Duration::from_secs(10), &Progress::silent(), async || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                if said.contains("trapped") {
                    Ok(())
                } else {
                    Err(Wait::not_yet(said))
                }
            })
            .await
            .unwrap();
        process.stop(Duration::from_millis(50)).await.unwrap();
        assert!(!process.is_running());
    }

    #[tokio::test]
    async fn dropping_a_process_ends_its_children_too() {
        let scratch = Scratch::new("process").unwrap();
        let process = shell(&scratch, "sleep 1000 & echo $!; wait");
        let log = process.log().to_owned();
        let child = wait_until(
            Duration::from_secs(10),
            "the child's id",
            &Progress::silent(),
            async || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                said.trim().parse::<i32>().map_err(Wait::not_yet)
            },
        )
        .await
        .unwrap();
        drop(process);
        wait_until(
            Duration::from_secs(10),
            "the child's end",
            &Progress::silent(),
            async || {
                match nix::sys::signal::kill(Pid::from_raw(child), None) {
                    Err(Errno::ESRCH) => Ok(()),
                    other => {
                        // Nobody collects an orphan in a container without an init: dead is what counts.
                        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
                        if stat.contains(") Z ") {
                            Ok(())
                        } else {
                            Err(Wait::not_yet(format!("{other:?}")))
                        }
                    }
                }
            },
        )
        .await
        .unwrap();
    }
}
