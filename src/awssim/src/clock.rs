//! The simulator's time: real, shifted and scaled, or moved by hand.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How simulated time passes. Health, throttling, credentials and page markers follow it;
/// latency and held answers take real time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum ClockMode {
    /// Real time plus `offset`, passing `scale` times as fast from now on.
    Real {
        #[serde(default)]
        offset: SignedDuration,
        #[serde(default = "one")]
        scale: f64,
    },
    /// Stands still until it is advanced. Without `at` it stops at the present simulated time.
    Manual { at: Option<Timestamp> },
}

fn one() -> f64 {
    1.0
}

impl ClockMode {
    pub const REAL: Self = Self::Real {
        offset: SignedDuration::ZERO,
        scale: 1.0,
    };
}

/// Reads the machine's clocks once and counts monotonically from there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    started: Instant,
    started_at: Timestamp,
}

impl WallClock {
    pub(crate) fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the simulator stands alone and owns its clock; this is where it is read"
        )]
        let started_at = Timestamp::now();
        Self {
            started: Instant::now(),
            started_at,
        }
    }

    /// Wall-clock time that never goes backwards.
    pub(crate) fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}

#[derive(Debug)]
pub(crate) struct Clock {
    wall: WallClock,
    base_wall: Timestamp,
    base: Timestamp,
    scale: f64,
}

impl Clock {
    pub(crate) fn new(wall: WallClock, mode: &ClockMode) -> Self {
        let now = wall.now();
        let mut clock = Self {
            wall,
            base_wall: now,
            base: now,
            scale: 1.0,
        };
        clock.set(mode);
        clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        if self.scale == 0.0 {
            return self.base;
        }
        let passed = self.wall.now().duration_since(self.base_wall);
        self.base + passed.mul_f64(self.scale)
    }

    pub(crate) fn set(&mut self, mode: &ClockMode) {
        let (now, wall) = (self.now(), self.wall.now());
        (self.base, self.scale) = match mode {
            ClockMode::Real { offset, scale } => (wall + *offset, *scale),
            ClockMode::Manual { at } => (at.unwrap_or(now), 0.0),
        };
        self.base_wall = wall;
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.base += by;
    }

    pub(crate) fn is_manual(&self) -> bool {
        self.scale == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let mut clock = Clock::new(WallClock::start(), &ClockMode::Manual { at: Some(at) });
        assert_eq!(clock.now(), at);
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), at + SignedDuration::from_secs(5));
    }

    #[test]
    fn a_real_clock_keeps_its_offset_when_it_is_advanced() {
        let wall = WallClock::start();
        let offset = SignedDuration::from_hours(1);
        let mut clock = Clock::new(wall, &ClockMode::Real { offset, scale: 1.0 });
        clock.advance(Duration::from_mins(1));
        let ahead = clock.now().duration_since(wall.now());
        assert!(
            ahead >= SignedDuration::from_secs(3659) && ahead < SignedDuration::from_secs(3662),
            "{ahead}"
        );
    }
}
