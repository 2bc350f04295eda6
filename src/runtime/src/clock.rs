//! Time as an argument.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Where a component gets the time from: the machine's clock, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real,
    Mock(MockClock),
}

impl Clock {
    pub fn real() -> Self {
        Self(Source::Real)
    }

    /// A clock that stands still, and the handle that moves it.
    pub fn mock(start: Timestamp) -> (Self, MockClock) {
        let mock = MockClock(Arc::new(Mutex::new(start)));
        (Self(Source::Mock(mock.clone())), mock)
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the wall clock"
            )]
            Source::Real => Timestamp::now(),
            Source::Mock(mock) => mock.now(),
        }
    }

    /// Monotonic time, for deadlines. A test moves it with tokio's paused clock.
    pub fn instant(&self) -> tokio::time::Instant {
        tokio::time::Instant::now()
    }
}

/// Moves a mock [`Clock`].
#[derive(Clone, Debug)]
pub struct MockClock(Arc<Mutex<Timestamp>>);

impl MockClock {
    pub fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn advance(&self, by: SignedDuration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}
