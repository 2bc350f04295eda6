//! `cargo xtask bench NAME`: a measure on release binaries.

use anyhow::Result;

use crate::postgres::Source;
use crate::{command, control_plane, machine, postgres};

/// Takes the measure `name`, as the `tests` crate knows it.
pub(crate) fn run(name: &str) -> Result<()> {
    machine::check()?;
    command::run(command::cargo().args(["build", "--release", "--bins"]))?;
    let mut bench = command::cargo();
    bench.args(["bench", "--package", "tests", "--bench", "measures", "--", name]);
    bench.env("ELBOW_BIN", crate::demo::target()?.with_file_name("release"));
    bench.env("ELBOW_KUBE_BIN", control_plane::provide()?);
    if let Source::Folder(folder) = postgres::provide()? {
        bench.env("ELBOW_POSTGRES_BIN", folder);
    }
    command::run(&mut bench)
}
