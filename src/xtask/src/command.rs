//! Running other programs so that one sees what goes on.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

const TELL_EVERY: Duration = Duration::from_secs(15);
const KEPT_LINES: usize = 40;

/// Runs it with this terminal and demands success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// What it prints, when it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs it while showing `what`, the time and its last line; the end of its output is shown when it fails.
pub(crate) fn watch(what: &str, command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let bar = std::io::stderr().is_terminal().then(spinner);
    if bar.is_none() {
        eprintln!("{what} …");
    }
    let start = Instant::now();
    let (said, writer) = std::io::pipe().context("cannot make a pipe")?;
    let twin = writer.try_clone().context("cannot make a pipe")?;
    let child = command.stdin(Stdio::null()).stdout(twin).stderr(writer).spawn();
    // The command keeps its ends of the pipe, which would never end then.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.with_context(|| format!("cannot run {shown}"))?;
    let mut told = Instant::now();
    let (mut count, mut kept) = (0_usize, Vec::new());
    for line in BufReader::new(said).lines() {
        let line = line.with_context(|| format!("cannot read what {shown} says"))?;
        count += 1;
        match &bar {
            Some(bar) => bar.set_message(format!("{what} ({count}): {line}")),
            None if told.elapsed() >= TELL_EVERY => {
                told = Instant::now();
                eprintln!("{what}: {} s, step {count}: {line}", start.elapsed().as_secs());
            }
            None => {}
        }
        if kept.len() == KEPT_LINES {
            kept.remove(0);
        }
        kept.push(line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !status.success() {
        bail!("{shown} failed ({status}):\n{}", kept.join("\n"));
    }
    eprintln!("{what}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The first folder of `PATH` that has this program.
pub(crate) fn on_path(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// Cargo, in the checkout. Queries are checked against the committed answers of Postgres, whatever database the
/// user's environment may name.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(crate::cache::checkout())
        .env("SQLX_OFFLINE", "true");
    cargo
}

/// What runs the command given as further arguments beside a throw-away database, which `DATABASE_URL` and
/// `ELBOW_TEST_DATABASE_URL` name.
pub(crate) fn with_database() -> Command {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "sandbox",
        "--example",
        "with_database",
        "--",
        "migrations",
    ]);
    command
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {wide_msg}");
    let bar = ProgressBar::new_spinner().with_style(style.expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let arguments = command
        .get_args()
        .take(4)
        .map(|argument| argument.to_string_lossy());
    std::iter::once(program.to_string_lossy())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
