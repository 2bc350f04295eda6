//! `cargo xtask gen`: everything that is generated and committed, in one list.

use anyhow::{Context, Result};

use crate::command;

struct Generator {
    what: &'static str,
    /// Cargo's arguments; `--check` is added for a run that only compares.
    cargo: &'static [&'static str],
}

const GENERATORS: [Generator; 1] = [Generator {
    what: "the protobuf code",
    cargo: &["run", "--quiet", "--package", "wire", "--example", "gen", "--"],
}];

pub(crate) fn run(check: bool) -> Result<()> {
    for Generator { what, cargo } in GENERATORS {
        command::run(command::cargo().args(cargo).args(check.then_some("--check"))).with_context(|| {
            if check {
                format!("{what} differs: run `cargo xtask gen` and commit")
            } else {
                format!("generating {what}")
            }
        })?;
    }
    Ok(())
}
