//! The measures of speed and cost, on built programs: `cargo xtask bench NAME`.
//!
//! Each starts at a write to a real API server and ends at the journal of a simulated AWS. Figures are of one machine and
//! one build: quote ratios. LBC is the AWS Load Balancer Controller v3.5, measured likewise on two cores.
#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

mod changes;
mod figures;
mod m1;
mod m13;
mod m2;
mod m8;
mod restart;
mod slices;
mod world;

use clap::{Parser, ValueEnum};
use jiff::Timestamp;

#[derive(Parser)]
struct Arguments {
    measure: Measure,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Measure {
    /// Time to register and to deregister, also in a group that has just changed
    #[value(alias = "m3")]
    M1,
    /// Time to register when many groups change at once
    M2,
    /// Calls for a rolling restart
    M4,
    /// Rolling restarts of a whole fleet
    M5,
    /// All agents of a fleet reconnect at once
    M8,
    /// The agent's footprint in a large cluster
    M13,
}

#[tokio::main]
async fn main() {
    let Arguments { measure, bench: _ } = Arguments::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    match measure {
        Measure::M1 => m1::run().await,
        Measure::M2 => m2::run().await,
        Measure::M4 => restart::m4().await,
        Measure::M5 => restart::m5().await,
        Measure::M8 => m8::run().await,
        Measure::M13 => m13::run().await,
    }
}

/// The journal tells real time, and so must what is compared with it.
#[expect(clippy::disallowed_methods, reason = "nothing here is tested at another time")]
fn now() -> Timestamp {
    Timestamp::now()
}
