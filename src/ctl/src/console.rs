//! Where a command writes, and what it shows while it waits.

use std::{
    fmt,
    io::{self, IsTerminal, Read, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::Error;

/// The outside of a command. Results go to `out`; what is only for the person who waits goes to standard error.
pub struct Console {
    out: Box<dyn Write + Send>,
    input: Box<dyn Read + Send>,
    /// Whether a person watches standard error.
    watched: bool,
    /// The time by which ages are told.
    pub(crate) now: Timestamp,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Console {
    /// The standard streams.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program's own edge: everything below is given this time"
    )]
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            input: Box::new(io::stdin()),
            watched: io::stderr().is_terminal(),
            now: Timestamp::now(),
        }
    }

    /// Writes to `out`, reads `input`, and shows no progress.
    pub fn new(out: impl Write + Send + 'static, input: impl Read + Send + 'static, now: Timestamp) -> Self {
        Self {
            out: Box::new(out),
            input: Box::new(input),
            watched: false,
            now,
        }
    }

    pub(crate) fn print(&mut self, text: &str) -> Result<(), Error> {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        match written {
            // Whoever reads has read enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Error::file("writing the result")),
        }
    }

    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        self.print(&format!("{text}\n"))
    }

    pub(crate) fn read_input(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        self.input
            .read_to_string(&mut text)
            .map_err(Error::file("reading standard input"))?;
        Ok(text)
    }

    /// Says that something is waited for until it is dropped.
    pub(crate) fn wait(&self, what: impl Into<String>) -> Waiting {
        let bar = if self.watched {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("the template is well-formed"),
        );
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Waiting(bar)
    }
}

/// A spinner that goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(ProgressBar);

impl Waiting {
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
