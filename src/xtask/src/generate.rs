//! `cargo xtask gen`: everything that is generated and committed, in one list.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::postgres::Source;
use crate::{cache, command, postgres, shipped};

struct Generator {
    what: &'static str,
    run: fn(check: bool) -> Result<()>,
}

const GENERATORS: [Generator; 5] = [
    Generator {
        what: "the protobuf code (src/wire/src/gen)",
        run: protobuf,
    },
    Generator {
        what: "what Postgres says of the queries (src/store/.sqlx)",
        run: queries,
    },
    Generator {
        what: "the agent's rights (deploy/agent/rbac.yaml)",
        run: shipped::rights,
    },
    Generator {
        what: "the IAM policies of the other partitions (deploy/iam)",
        run: shipped::policies,
    },
    Generator {
        what: "the OpenAPI document (clients/openapi.json)",
        run: openapi,
    },
];

pub(crate) fn run(check: bool) -> Result<()> {
    for Generator { what, run } in GENERATORS {
        run(check).with_context(|| {
            let remedy = if check {
                "run `cargo xtask gen` and commit"
            } else {
                "read the cause"
            };
            format!("{what} is not as it should be: {remedy}")
        })?;
    }
    Ok(())
}

fn protobuf(check: bool) -> Result<()> {
    let mut generator = command::cargo();
    generator.args(["run", "--quiet", "--package", "wire", "--example", "gen", "--"]);
    command::run(generator.args(check.then_some("--check")))
}

fn openapi(check: bool) -> Result<()> {
    let mut generator = command::cargo();
    generator.args(["run", "--quiet", "--package", "api", "--example", "openapi", "--"]);
    command::run(generator.args(check.then_some("--check")))
}

// sqlx asks Postgres about each query while the crate is compiled, and writes the answers down.
fn queries(check: bool) -> Result<()> {
    let store = cache::checkout().join("src/store");
    let committed = store.join(".sqlx");
    let fresh = cache::folder()?.join(format!("sqlx-{}", std::process::id()));
    std::fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;

    // Only a crate that is compiled writes.
    command::run(Command::new("touch").arg(store.join("src/lib.rs")))?;
    let mut asked = command::with_database();
    asked
        .args(["cargo", "check", "--quiet", "--package", "store"])
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &fresh);
    if let Source::Folder(folder) = postgres::provide()? {
        asked.env("ELBOW_POSTGRES_BIN", folder);
    }
    let outcome = command::run(&mut asked).and_then(|()| {
        let (new, old) = (files(&fresh)?, files(&committed)?);
        match (new == old, check) {
            (true, _) => Ok(()),
            (false, true) => bail!("{} of {} queries are as committed", same(&new, &old), new.len()),
            (false, false) => replace(&committed, &new),
        }
    });
    std::fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    outcome
}

type Files = BTreeMap<std::ffi::OsString, Vec<u8>>;

fn files(folder: &Path) -> Result<Files> {
    let read = |entry: std::fs::DirEntry| Ok((entry.file_name(), std::fs::read(entry.path())?));
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| read(entry?))
            .collect::<std::io::Result<_>>()
            .with_context(|| format!("cannot read {}", folder.display())),
        Err(_) => Ok(Files::new()),
    }
}

fn same(new: &Files, old: &Files) -> usize {
    new.iter()
        .filter(|(name, content)| old.get(*name) == Some(*content))
        .count()
}

fn replace(folder: &Path, files: &Files) -> Result<()> {
    let write = || {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        files
            .iter()
            .try_for_each(|(name, content)| std::fs::write(folder.join(name), content))
    };
    write().with_context(|| format!("cannot write {}", folder.display()))
}
