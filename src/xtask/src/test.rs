//! `cargo xtask test`: everything that can be checked on this machine, and what could not be.

use anyhow::{Context, Result, bail};

use crate::postgres::Source;
use crate::{cache, command, control_plane, demo, generate, helm, lint, machine, postgres, python};

/// How many tests of a program run at once, as libtest calls it.
const THREADS: &str = "RUST_TEST_THREADS";

#[derive(clap::Args)]
pub(crate) struct Test {
    /// Only tests whose name contains one of these; the contract suite is left out then
    filter: Vec<String>,
    /// Leave out what needs a Kubernetes control plane
    #[arg(long)]
    no_kubernetes: bool,
}

/// What became of a part of the run.
enum Outcome {
    Passed,
    Failed(anyhow::Error),
    Skipped(String),
    /// By choice, or because a run without it is whole.
    LeftOut(String),
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        machine::check()?;
        let strict = machine::requires_everything();
        let mut report = Report {
            strict,
            lines: Vec::new(),
        };
        let environment = self.environment(&mut report)?;

        if self.filter.is_empty() {
            report.part("format", tool(lint::format(), "rustfmt", Outcome::Skipped));
            report.part("generated files", generate::run(true).into());
        }
        // Tests start the built programs, so these are there before.
        let mut build = command::cargo();
        build.args(["build", "--workspace", "--bins"]);
        command::run(&mut build)?;
        let mut tests = command::with_database();
        tests
            .args(["cargo", "test", "--workspace", "--no-fail-fast"])
            .envs(environment.iter().cloned());
        if std::env::var_os(THREADS).is_none() {
            tests.env(THREADS, threads().to_string());
        }
        if strict {
            tests.env("ELBOW_REQUIRE", "all");
        }
        tests
            .args((!self.filter.is_empty()).then_some("--"))
            .args(&self.filter);
        report.part("Rust tests", command::run(&mut tests).into());
        if self.filter.is_empty() {
            report.part("contract suite", contract(&environment));
        }
        // It checks every dependency once more, which is worth it where a change is to go in.
        if strict && self.filter.is_empty() {
            report.part("clippy", tool(lint::clippy(), "clippy", Outcome::LeftOut));
        }
        report.end()
    }

    fn environment(&self, report: &mut Report) -> Result<Vec<(&'static str, std::path::PathBuf)>> {
        let mut environment = vec![("ELBOW_CACHE", cache::folder()?), ("ELBOW_BIN", demo::target()?)];
        // Nothing but units runs without it.
        if let Source::Folder(folder) = postgres::provide()? {
            environment.push(("ELBOW_POSTGRES_BIN", folder));
        }
        if self.no_kubernetes {
            report.part("Kubernetes", Outcome::LeftOut("--no-kubernetes".to_owned()));
            // A folder without programs: what an older build left in the cache is not used either.
            environment.push(("ELBOW_KUBE_BIN", "/nonexistent".into()));
            return Ok(environment);
        }
        match python::requirements(&suite().join("requirements.txt")) {
            Ok(python) => environment.push(("ELBOW_MOTO_PYTHON", python)),
            Err(missing) => report.part("moto", Outcome::Skipped(format!("{missing:#}"))),
        }
        match helm::provide() {
            Ok(helm) => environment.push(("ELBOW_HELM", helm)),
            Err(missing) => report.part("charts", Outcome::Skipped(format!("{missing:#}"))),
        }
        match control_plane::provide() {
            Ok(folder) => environment.push(("ELBOW_KUBE_BIN", folder)),
            Err(missing) => report.part("Kubernetes", Outcome::Skipped(format!("{missing:#}"))),
        }
        Ok(environment)
    }
}

/// The tests that take longest wait more than they work: two for a core. Each may have a control plane, so there is an end.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).clamp(2, 8)
}

/// What a component of the toolchain said, or that it is missing.
fn tool(said: Result<bool>, component: &str, missing: fn(String) -> Outcome) -> Outcome {
    match said {
        Ok(true) => Outcome::Passed,
        Ok(false) => missing(format!("run `rustup component add {component}`")),
        Err(error) => Outcome::Failed(error),
    }
}

/// The contract suite. Its Python has moto, too.
fn suite() -> std::path::PathBuf {
    cache::checkout().join("tests/contract")
}

fn contract(environment: &[(&'static str, std::path::PathBuf)]) -> Outcome {
    let suite = suite();
    let python = match python::requirements(&suite.join("requirements.txt")) {
        Ok(python) => python,
        Err(missing) => return Outcome::Skipped(format!("{missing:#}")),
    };
    let run = || {
        let mut pytest = command::with_database();
        pytest
            .arg(python)
            .envs(environment.iter().cloned())
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .arg(&suite)
            .env("AWSSIM_BIN", demo::target()?.join("awssim"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command::run(&mut pytest).context("the contract suite")
    };
    run().into()
}

impl From<Result<()>> for Outcome {
    fn from(result: Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(error),
        }
    }
}

struct Report {
    strict: bool,
    lines: Vec<(&'static str, Outcome)>,
}

impl Report {
    fn part(&mut self, name: &'static str, outcome: Outcome) {
        self.lines.push((name, outcome));
    }

    fn end(self) -> Result<()> {
        let mut bad = 0;
        eprintln!();
        for (name, outcome) in self.lines {
            match outcome {
                Outcome::Passed => eprintln!("passed   {name}"),
                Outcome::Failed(error) => {
                    bad += 1;
                    eprintln!("FAILED   {name}: {error:#}");
                }
                Outcome::Skipped(why) => {
                    bad += usize::from(self.strict);
                    eprintln!("skipped  {name}: {why}");
                }
                Outcome::LeftOut(why) => eprintln!("left out {name}: {why}"),
            }
        }
        if bad > 0 {
            bail!("{bad} part(s) of the run are not green");
        }
        Ok(())
    }
}
