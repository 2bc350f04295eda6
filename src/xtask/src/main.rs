//! `cargo xtask …`: the one entry for chores.
//!
//! It finds or installs what the sandbox stands on (Postgres, Go, a Kubernetes control plane, Python), says so before
//! it does, and then hands over to cargo, to the sandbox and to pytest. It stays light, because a newcomer compiles
//! it first; it knows the workspace by names of packages alone and links none of them.

mod bench;
mod cache;
mod command;
mod control_plane;
mod demo;
mod generate;
mod go;
mod helm;
mod lint;
mod machine;
mod postgres;
mod promises;
mod python;
mod shipped;
mod skew;
mod soak;
mod test;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Chores of this repository",
    disable_help_subcommand = true
)]
enum Chore {
    /// Show Elbow at work: Postgres, AWS, Kubernetes clusters, servers and agents on loopback
    Demo {
        /// What the demo itself understands, for example `--once`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run all tests, and the contract suite against the simulated AWS
    Test(test::Test),
    /// Check format, lints and dependencies
    Lint,
    /// Regenerate what is generated and committed
    Gen {
        /// Change nothing; fail where the committed files differ
        #[arg(long)]
        check: bool,
    },
    /// Measure one promise of speed on release binaries
    Bench {
        /// The measure, for example `m1`
        name: String,
    },
    /// Take the protection of a promise away and demand that its test fails
    Sabotage {
        /// The promise, for example `S3`; all of them without it
        promise: Option<String>,
    },
    /// Run the tests that count histories or kills at their full size, for hours
    Soak {
        /// Which of them, for example `kills`; all of them without it
        name: Option<String>,
    },
    /// Run an older server, that of before the newest migration, on the schema of this one
    Skew {
        /// The commit of the older server, e.g. of a release, in place of the one before the newest migration
        #[arg(long)]
        older: Option<String>,
    },
    /// Build the Kubernetes control plane that the demo and the tests start
    Kubernetes,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Demo { arguments } => demo::run(&arguments),
        Chore::Test(test) => test.run(),
        Chore::Lint => lint::run(),
        Chore::Gen { check } => generate::run(check),
        Chore::Bench { name } => bench::run(&name),
        Chore::Sabotage { promise } => promises::run(promise.as_deref()),
        Chore::Soak { name } => soak::run(name.as_deref()),
        Chore::Skew { older } => skew::run(older),
        Chore::Kubernetes => {
            println!("{}", control_plane::provide()?.display());
            Ok(())
        }
    }
}
