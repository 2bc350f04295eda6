//! What a writer remembers of a group between passes. All of it can be lost: it is read or asked again.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use model::{BindingId, condition::BindingStatus, plan::Hold};
use planner::Seen;
use runtime::backoff::Backoff;

use crate::heard::Heard;

/// What is remembered of one target group.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Whether what a former writer stored about the group was read.
    pub(crate) recalled: bool,
    pub(crate) seen: Seen,
    pub(crate) backoff: Backoff,
    /// What was reported last: the same is not written again.
    pub(crate) statuses: BTreeMap<BindingId, BindingStatus>,
    pub(crate) holds: Option<Vec<Hold>>,
    /// Whether gates may be on their way to clusters; `None`: a former writer's.
    pub(crate) gates: Option<bool>,
    /// Events that no call has followed yet.
    pub(crate) heard: Heard,
    /// When AWS was last asked how long deregistered targets may go on.
    pub(crate) delay_asked: Option<Timestamp>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            recalled: false,
            seen: Seen::default(),
            backoff: backoff(),
            statuses: BTreeMap::new(),
            holds: None,
            gates: None,
            heard: Heard::default(),
            delay_asked: None,
        }
    }
}

/// How long a pass that failed waits before the next.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_mins(1))
}

/// How long until time alone may change a plan that was made at `now`.
pub(crate) fn wake_in(now: Timestamp, wake_at: Option<Timestamp>) -> Option<Duration> {
    // A millisecond late rather than a microsecond early.
    let left = wake_at?.duration_since(now) + SignedDuration::from_millis(1);
    Some(Duration::try_from(left).unwrap_or(Duration::from_millis(1)))
}

impl Memory {
    /// Whether AWS was not asked since `since`.
    pub(crate) fn is_older_than(&self, since: Timestamp) -> bool {
        self.seen.facts.at().is_none_or(|at| at < since) || self.is_health_older_than(since)
    }

    /// Whether AWS was not asked about the targets since `since`.
    pub(crate) fn is_health_older_than(&self, since: Timestamp) -> bool {
        self.seen.targets.at().is_none_or(|at| at < since)
    }
}
