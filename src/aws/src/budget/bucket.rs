//! A token bucket that learns from being throttled. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::{Learning, Rate};

#[derive(Debug)]
pub(super) struct Bucket {
    capacity: f64,
    set_rate: f64,
    /// At most `set_rate`; less after throttling.
    rate: f64,
    tokens: f64,
    at: Instant,
    learning: Learning,
    shrunk_at: Option<Instant>,
}

impl Bucket {
    pub(super) fn full(rate: Rate, headroom: f64, learning: Learning, now: Instant) -> Self {
        // However small the burst, one call must fit.
        let capacity = (rate.burst - headroom).max(1.0);
        Self {
            capacity,
            set_rate: rate.per_second,
            rate: rate.per_second,
            tokens: capacity,
            at: now,
            learning,
            shrunk_at: None,
        }
    }

    pub(super) fn empty(rate: Rate, headroom: f64, learning: Learning, now: Instant) -> Self {
        Self {
            tokens: 0.0,
            ..Self::full(rate, headroom, learning, now)
        }
    }

    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// A call that was paid for and not sent.
    pub(super) fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.capacity);
    }

    /// How long until `tokens` are there, at the present rate.
    pub(super) fn until(&mut self, tokens: f64, now: Instant) -> Duration {
        self.refill(now);
        let missing = tokens.min(self.capacity) - self.tokens;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        // A rate of 0 is a bucket that is never refilled; ask again now and then.
        Duration::try_from_secs_f64(missing / self.rate)
            .unwrap_or(Duration::MAX)
            .min(Duration::from_mins(1))
    }

    /// 0 to 1, as if the calls that wait had been made.
    pub(super) fn level(&mut self, waiting: usize, now: Instant) -> f64 {
        self.refill(now);
        #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
        let waiting = waiting as f64;
        ((self.tokens - waiting) / self.capacity).clamp(0.0, 1.0)
    }

    /// Calls a second, as of the last question.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// AWS throttled a call: its bucket is empty, whatever ours said, so someone else draws from it or it is smaller.
    pub(super) fn throttled(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = 0.0;
        let counted = self
            .shrunk_at
            .is_some_and(|at| now.duration_since(at) < self.learning.once_per);
        if !counted {
            self.rate = (self.rate * self.learning.decrease).max(self.set_rate * self.learning.floor);
            self.shrunk_at = Some(now);
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let before = self.rate;
        self.rate = (before + self.set_rate * self.learning.recovery_per_second * passed).min(self.set_rate);
        // The mean of a rate that grew linearly; a little less than the truth once it is capped, which is the safe side.
        self.tokens = (self.tokens + f64::midpoint(before, self.rate) * passed).min(self.capacity);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(now: Instant) -> Bucket {
        Bucket::full(Rate::new(20.0, 4.0), 1.0, Learning::default(), now)
    }

    fn drain(bucket: &mut Bucket, now: Instant) -> usize {
        let mut taken = 0;
        while bucket.until(1.0, now).is_zero() {
            bucket.take();
            taken += 1;
        }
        taken
    }

    #[test]
    fn the_burst_without_its_headroom_then_the_rate() {
        let start = Instant::now();
        let mut bucket = bucket(start);
        assert_eq!(drain(&mut bucket, start), 19);
        assert_eq!(bucket.until(1.0, start), Duration::from_millis(250));
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(2)), 8);
        assert_eq!(drain(&mut bucket, start + Duration::from_secs(100)), 19);
    }

    #[test]
    fn throttling_drains_and_slows_and_the_rate_comes_back() {
        let start = Instant::now();
        let mut bucket = bucket(start);
        bucket.throttled(start);
        bucket.throttled(start + Duration::from_millis(10));
        assert!(bucket.until(1.0, start + Duration::from_millis(20)) > Duration::ZERO);
        let rate = bucket.rate;
        assert!(
            (2.79..2.81).contains(&rate),
            "calls under way together count once: {rate}"
        );

        bucket.throttled(start + Duration::from_secs(2));
        assert!((1.9..2.1).contains(&bucket.rate), "{}", bucket.rate);

        bucket.until(1.0, start + Duration::from_mins(5));
        assert!(
            (bucket.rate - 4.0).abs() < 1e-9,
            "back to what is set and no further: {}",
            bucket.rate
        );
    }

    #[test]
    fn the_rate_never_falls_to_zero() {
        let start = Instant::now();
        let mut bucket = bucket(start);
        for second in 0..100 {
            bucket.throttled(start + Duration::from_secs(second));
        }
        assert!(bucket.rate >= 4.0 * 0.05);
    }
}
