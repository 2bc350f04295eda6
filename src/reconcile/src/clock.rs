//! Postgres's time on this machine. Stored times and the times of AWS's answers must be of one clock to be compared.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};

/// The machine's clock moved onto Postgres's. Clones share the offset.
#[derive(Clone, Debug)]
pub struct DatabaseClock {
    local: runtime::Clock,
    offset_micros: Arc<AtomicI64>,
}

impl DatabaseClock {
    /// A clock that goes as `local` until Postgres's time is known.
    pub fn new(local: runtime::Clock) -> Self {
        Self {
            local,
            offset_micros: Arc::default(),
        }
    }

    /// Now, on Postgres's clock. Never ahead of it by more than the drift since the last [`set`](Self::set).
    pub fn now(&self) -> Timestamp {
        self.local.now() + SignedDuration::from_micros(self.offset_micros.load(Ordering::Relaxed))
    }

    /// Postgres has just answered that its time was `database`. The answer was under way, so its clock shows more by
    /// now: the mapped time is late rather than early, and what AWS says seems older rather than newer than it is.
    pub(crate) fn set(&self, database: Timestamp) {
        let offset = database.duration_since(self.local.now()).as_micros();
        // Beyond 292,000 years of difference nothing can be compared anyway.
        self.offset_micros
            .store(i64::try_from(offset).unwrap_or_default(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_postgres_times_whatever_the_machine_says() {
        let (local, hand) = runtime::Clock::mock("2030-01-01T00:00:00Z".parse().unwrap());
        let clock = DatabaseClock::new(local);
        clock.set("2026-01-01T00:00:00Z".parse().unwrap());
        hand.advance(SignedDuration::from_secs(5));
        assert_eq!(clock.now(), "2026-01-01T00:00:05Z".parse().unwrap());
    }
}
