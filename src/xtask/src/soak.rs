//! `cargo xtask soak`: the tests that count histories or wait out times, at their full size. The suite runs them small.

use anyhow::{Result, bail};

use crate::{command, postgres::Source};
use crate::{control_plane, demo, machine, postgres};

struct Soak {
    name: &'static str,
    /// Arguments of `cargo test` that choose its tests.
    tests: &'static [&'static str],
    /// The variables by which they grow.
    size: &'static [(&'static str, &'static str)],
}

const SOAKS: [Soak; 4] = [
    Soak {
        name: "histories",
        tests: &["--package", "planner", "--test", "planner", "histories"],
        size: &[("ELBOW_HISTORIES", "100000")],
    },
    Soak {
        name: "kills",
        tests: &["--package", "reconcile", "--test", "reconcile", "crashes"],
        size: &[("ELBOW_KILLS", "10000")],
    },
    Soak {
        name: "traced",
        tests: &["--package", "reconcile", "--test", "reconcile", "traced"],
        size: &[("ELBOW_SHOWN", "10000"), ("ELBOW_TRACED", "640")],
    },
    Soak {
        name: "programs",
        tests: &["--package", "tests", "--test", "suite", "nothing_is_lost"],
        size: &[
            ("ELBOW_PROGRAM_KILLS", "500"),
            // More than a minute without Postgres.
            ("ELBOW_OUTAGE_ATTEMPTS", "40"),
        ],
    },
];

pub(crate) fn run(only: Option<&str>) -> Result<()> {
    machine::check()?;
    let chosen: Vec<_> = SOAKS
        .iter()
        .filter(|soak| only.is_none_or(|only| only == soak.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = SOAKS.iter().map(|soak| soak.name).collect();
        bail!(
            "nothing to soak is called {}; there are: {}",
            only.unwrap_or("anything"),
            names.join(", ")
        );
    }
    let kubernetes = control_plane::provide()?;
    let postgres = postgres::provide()?;
    command::run(command::cargo().args(["build", "--workspace", "--bins"]))?;
    for Soak { name, tests, size } in chosen {
        eprintln!("soaking: {name}");
        let mut test = command::with_database();
        test.args(["cargo", "test"])
            .args(*tests)
            .args(["--", "--nocapture"])
            .envs(size.iter().copied())
            .env("ELBOW_REQUIRE", "all")
            .env("ELBOW_BIN", demo::target()?)
            .env("ELBOW_KUBE_BIN", &kubernetes);
        if let Source::Folder(folder) = &postgres {
            test.env("ELBOW_POSTGRES_BIN", folder);
        }
        command::run(&mut test)?;
    }
    Ok(())
}
