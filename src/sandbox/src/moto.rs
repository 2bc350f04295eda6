//! moto, an AWS that others made, as a process of its own.

use std::path::Path;
use std::time::Duration;

use crate::process::{Process, Program};
use crate::{Progress, Result, Scratch, free_port};

const START: Duration = Duration::from_secs(30);

/// A running moto. Its world is gone when it is dropped.
#[derive(Debug)]
pub struct Moto {
    url: String,
    _process: Process,
    _folder: Scratch,
}

impl Moto {
    /// Starts it by a Python that has it, and waits until it answers.
    pub async fn start(python: &Path, progress: &Progress) -> Result<Self> {
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
            _process: process,
            _folder: folder,
        })
    }

    /// Its endpoint URL, for SDKs.
    pub fn url(&self) -> &str {
        &self.url
    }
}
