//! `cargo xtask sabotage`: each promise's test, with the protection that it tests taken away.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use crate::postgres::Source;
use crate::{command, control_plane, postgres};

struct Promise {
    name: &'static str,
    /// Arguments of `cargo test` that choose exactly the tests of this promise.
    tests: &'static [&'static str],
}

/// Every promise whose protection has a switch (`model::sabotage`).
const PROMISES: [Promise; 20] = [
    planner("S1"),
    planner("S2"),
    planner("S3"),
    planner("S6"),
    planner("S7"),
    planner("S10"),
    planner("S12"),
    planner("S20"),
    Promise {
        name: "S4",
        tests: &["--package", "wire", "--test", "strict"],
    },
    Promise {
        name: "S5",
        tests: &["--package", "agent", "--test", "index"],
    },
    Promise {
        name: "S8",
        tests: &["--package", "store", "--test", "store", "lease"],
    },
    Promise {
        name: "S11",
        tests: &["--package", "reconcile", "--test", "reconcile", "traced"],
    },
    Promise {
        name: "S16",
        tests: &["--package", "reconcile", "--test", "reconcile", "isolation"],
    },
    Promise {
        name: "S17",
        tests: &["--package", "reconcile", "--test", "reconcile", "quotas"],
    },
    Promise {
        name: "S18",
        tests: &["--package", "aws", "--lib", "budget"],
    },
    Promise {
        name: "S19",
        tests: &["--package", "api", "--test", "suite"],
    },
    Promise {
        name: "S22",
        tests: &["--package", "reconcile", "--test", "reconcile", "traced"],
    },
    Promise {
        name: "S23",
        tests: &["--package", "reconcile", "--test", "reconcile", "crashes"],
    },
    Promise {
        name: "S24",
        tests: &["--package", "api", "--test", "suite", "--", "hostile", "matrix"],
    },
    // No number of its own: that an answer which does not say what happened is taken as one.
    Promise {
        name: "faults",
        tests: &["--package", "reconcile", "--test", "reconcile", "faults"],
    },
];

/// Promises that random histories of a cluster are judged by.
const fn planner(name: &'static str) -> Promise {
    Promise {
        name,
        tests: &["--package", "planner", "--test", "planner"],
    }
}

pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let chosen: Vec<_> = PROMISES
        .iter()
        .filter(|promise| only.is_none_or(|only| only == promise.name))
        .collect();
    if chosen.is_empty() {
        bail!(
            "no promise with a switch is called {}",
            only.unwrap_or("anything")
        );
    }
    let mut environment = vec![("ELBOW_KUBE_BIN", control_plane::provide()?)];
    if let Source::Folder(folder) = postgres::provide()? {
        environment.push(("ELBOW_POSTGRES_BIN", folder));
    }
    let (mut unnoticed, mut green) = (Vec::new(), BTreeSet::new());
    for Promise { name, tests } in chosen {
        // Green first: a test that fails anyhow would notice everything.
        if green.insert(*tests) {
            command::run(
                command::with_database()
                    .args(["cargo", "test"])
                    .args(*tests)
                    .envs(environment.iter().cloned()),
            )
            .with_context(|| format!("{name} is not even kept without sabotage"))?;
        }
        let mut sabotaged = command::with_database();
        sabotaged
            .args(["cargo", "test"])
            .args(*tests)
            .envs(environment.iter().cloned())
            .env("ELBOW_SABOTAGE", name);
        match command::run(&mut sabotaged) {
            Ok(()) => unnoticed.push(*name),
            Err(_) => eprintln!("{name}: its test notices"),
        }
    }
    if !unnoticed.is_empty() {
        bail!(
            "nobody noticed that these were switched off: {}",
            unnoticed.join(", ")
        );
    }
    Ok(())
}
