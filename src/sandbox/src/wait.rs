//! The one place that waits: for a condition, with a deadline, telling what it waits for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{Error, Result};

const POLL: Duration = Duration::from_millis(20);

/// Where the launchers tell what they are doing. Called at the start of each wait and then about once a second.
#[derive(Clone)]
pub struct Progress(Arc<Tell>);

type Tell = dyn Fn(&str, Duration) + Send + Sync;

impl Progress {
    /// Says nothing.
    pub fn silent() -> Self {
        Self::new(|_, _| ())
    }

    /// Calls `tell` with what is waited for and for how long it has been.
    pub fn new(tell: impl Fn(&str, Duration) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells one thing now.
    pub fn tell(&self, what: &str, elapsed: Duration) {
        (self.0)(what, elapsed);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::silent()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Asks `condition` every few milliseconds until it answers `Ok`, and fails when `limit` has passed.
///
/// `Err(Wait::NotYet)` carries what was seen instead, for the message of the deadline; `Err(Wait::Never)` ends the
/// wait at once.
pub async fn wait_until<T>(
    limit: Duration,
    what: &str,
    progress: &Progress,
    mut condition: impl AsyncFnMut() -> Result<T, Wait>,
) -> Result<T> {
    let start = Instant::now();
    let mut told = None;
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::from("nothing yet");
    loop {
        ticks.tick().await;
        let second = start.elapsed().as_secs();
        if told != Some(second) {
            told = Some(second);
            progress.tell(what, start.elapsed());
        }
        // A condition that hangs is a condition that is not met.
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Wait::Never(error))) => return Err(error),
            Ok(Err(Wait::NotYet(seen))) => last = seen,
            Err(_) => {}
        }
        if start.elapsed() >= limit {
            return Err(Error::Deadline {
                what: what.to_owned(),
                limit,
                last,
            });
        }
    }
}

/// Why a condition is not met.
#[derive(Debug)]
pub enum Wait {
    /// It may still come; this was seen instead.
    NotYet(String),
    /// It cannot come any more.
    Never(Error),
}

impl Wait {
    /// It may still come; this was seen instead.
    pub fn not_yet(seen: impl fmt::Display) -> Self {
        Self::NotYet(seen.to_string())
    }
}

impl From<Error> for Wait {
    fn from(error: Error) -> Self {
        Self::Never(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_its_condition_holds() {
        let mut asked = 0;
        let answer = wait_until(
            Duration::from_secs(1),
            "the third try",
            &Progress::silent(),
            async || {
                asked += 1;
                if asked == 3 {
                    Ok(asked)
                } else {
                    Err(Wait::not_yet(asked))
                }
            },
        )
        .await;
        assert_eq!(answer.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missed_deadline_says_what_was_seen_instead() {
        let error = wait_until::<()>(
            Duration::from_secs(1),
            "a flying pig",
            &Progress::silent(),
            async || Err(Wait::not_yet("a walking one")),
        )
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "a flying pig did not happen within 1s; last seen: a walking one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_hangs_misses_the_deadline() {
        let hung = wait_until::<()>(
            Duration::from_secs(1),
            "an answer",
            &Progress::silent(),
            async || std::future::pending().await,
        )
        .await;
        assert!(matches!(hung, Err(Error::Deadline { .. })));
    }
}
