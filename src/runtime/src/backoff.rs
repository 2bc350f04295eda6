//! Waiting longer after each failure, with full jitter, so that many who failed together do not come back together.

use std::time::Duration;

use rand::Rng;

/// Delays that double from `min` to `max`; each is drawn between half of it and all of it.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (self.next * 2).min(self.max);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// The attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum_and_start_again_after_a_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(min, max);
        let delays: Vec<_> = (0..6).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] <= min && delays[0] >= min / 2, "{delays:?}");
        assert!(delays[5] <= max && delays[5] >= max / 2, "{delays:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= min);
    }
}
