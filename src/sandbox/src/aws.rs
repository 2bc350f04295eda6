//! A simulated AWS as a process of its own, as the demo shows it and as crash tests need it: it outlives the servers.

use std::path::Path;
use std::time::Duration;

use crate::process::{Process, Program};
use crate::{Progress, Result, Scratch, free_port};

const START: Duration = Duration::from_secs(30);

/// A running `awssim`. Its world is gone when it is dropped.
#[derive(Debug)]
pub struct Aws {
    url: String,
    process: Process,
    _folder: Scratch,
}

impl Aws {
    /// Starts the program `awssim` with further arguments of its own and waits until it answers.
    pub async fn start<S: AsRef<std::ffi::OsStr>>(
        awssim: &Path,
        arguments: impl IntoIterator<Item = S>,
        progress: &Progress,
    ) -> Result<Self> {
        let folder = Scratch::new("aws")?;
        let port = free_port();
        let mut process = Program::new("awssim", awssim, folder.path().join("awssim.log"))
            .argument(format!("--listen=127.0.0.1:{port}"))
            .arguments(arguments)
            .start()?;
        let url = format!("http://127.0.0.1:{port}");
        process
            .wait_http(&format!("{url}/_awssim/health"), START, progress)
            .await?;
        Ok(Self {
            url,
            process,
            _folder: folder,
        })
    }

    /// Starts moto, an AWS that others made, by a Python that has it.
    pub async fn moto(python: &Path, progress: &Progress) -> Result<Self> {
        let folder = Scratch::new("moto")?;
        let port = free_port();
        let mut process = Program::new("moto", python, folder.path().join("moto.log"))
            .arguments(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .start()?;
        let url = format!("http://127.0.0.1:{port}");
        process
            .wait_http(&format!("{url}/moto-api/data.json"), START, progress)
            .await?;
        Ok(Self {
            url,
            process,
            _folder: folder,
        })
    }

    /// Its endpoint URL, for SDKs, and for its admin API below `/_awssim`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process, to freeze it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
