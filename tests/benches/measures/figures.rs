//! How a figure is told: with its parameters, the machine, the build, and the incumbent's figure beside it.

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
    time::Duration,
};

/// Durations of one kind, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of all do not exceed, in milliseconds.
    pub(crate) fn at(&self, percent: usize) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    }
}

/// What LBC took, in milliseconds: at the median and for 99 of 100.
#[derive(Clone, Copy)]
pub(crate) struct Lbc {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Tells times, with LBC's beside them where LBC was measured.
pub(crate) fn times(measure: &str, parameters: &str, times: &Times, lbc: impl Into<Option<Lbc>>) {
    let mut figure = format!(
        "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms of {}",
        times.at(50),
        times.at(99),
        times.at(100),
        times.len()
    );
    if let Some(Lbc { p50, p99 }) = lbc.into() {
        write!(
            figure,
            "; LBC {p50:.0} / {p99:.0} ms, ours ÷ LBC {:.2} / {:.2}",
            times.at(50) / p50,
            times.at(99) / p99
        )
        .expect("a string takes all");
    }
    tell(measure, parameters, &figure);
}

/// Tells one figure.
pub(crate) fn tell(measure: &str, parameters: &str, figure: &dyn Display) {
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    writeln!(
        std::io::stdout(),
        "{measure}: {figure} ({parameters}; {build} build, {cores} cores)"
    )
    .expect("somebody reads the figures");
}

/// One count over another.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^52"
)]
pub(crate) fn ratio(of: usize, over: usize) -> f64 {
    of as f64 / over as f64
}
