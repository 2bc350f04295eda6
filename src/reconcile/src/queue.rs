//! Which group is next. Keys without payload: a group that is woken twice is looked at once, and one that is woken while
//! it is worked on is looked at again afterwards. Synchronous; the caller brings the time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use model::TargetGroupArn;
use tokio::time::Instant;

/// The groups of one shard that are to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<TargetGroupArn>,
    waiting: HashSet<TargetGroupArn>,
    in_flight: HashSet<TargetGroupArn>,
    again: HashSet<TargetGroupArn>,
    due: BTreeSet<(Instant, TargetGroupArn)>,
    due_of: HashMap<TargetGroupArn, Instant>,
}

impl Queue {
    /// Looks at the group as soon as there is room.
    pub(crate) fn wake(&mut self, arn: TargetGroupArn) {
        if self.in_flight.contains(&arn) {
            self.again.insert(arn);
        } else if self.waiting.insert(arn.clone()) {
            self.ready.push_back(arn);
        }
    }

    /// Looks at the group at `at`, or earlier if it was to be looked at earlier.
    pub(crate) fn wake_at(&mut self, arn: TargetGroupArn, at: Instant) {
        if let Some(before) = self.due_of.get(&arn) {
            if *before <= at {
                return;
            }
            self.due.remove(&(*before, arn.clone()));
        }
        self.due_of.insert(arn.clone(), at);
        self.due.insert((at, arn));
    }

    /// The next group, which is in flight from now on.
    pub(crate) fn take(&mut self) -> Option<TargetGroupArn> {
        let arn = self.ready.pop_front()?;
        self.waiting.remove(&arn);
        // The pass that begins sees everything that an earlier alarm was set for.
        if let Some(at) = self.due_of.remove(&arn) {
            self.due.remove(&(at, arn.clone()));
        }
        self.in_flight.insert(arn.clone());
        Some(arn)
    }

    /// The group's pass has ended.
    pub(crate) fn done(&mut self, arn: TargetGroupArn) {
        self.in_flight.remove(&arn);
        if self.again.remove(&arn) {
            self.wake(arn);
        }
    }

    /// Wakes what is due; returns when the next will be.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, arn)) = self.due.first().cloned() {
            if at > now {
                return Some(at);
            }
            self.due.pop_first();
            self.due_of.remove(&arn);
            self.wake(arn);
        }
        None
    }

    /// How many wait for room.
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arn(name: &str) -> TargetGroupArn {
        format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/{name}/1")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_group_that_is_woken_twice_is_looked_at_once() {
        let mut queue = Queue::default();
        queue.wake(arn("a"));
        queue.wake(arn("a"));
        assert_eq!(queue.take(), Some(arn("a")));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_group_that_is_woken_in_flight_is_looked_at_again_and_never_twice_at_once() {
        let mut queue = Queue::default();
        queue.wake(arn("a"));
        queue.take().unwrap();
        queue.wake(arn("a"));
        assert_eq!(queue.take(), None);
        queue.done(arn("a"));
        assert_eq!(queue.take(), Some(arn("a")));
        queue.done(arn("a"));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn the_earlier_alarm_counts() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        queue.wake_at(arn("a"), at(10));
        queue.wake_at(arn("a"), at(5));
        queue.wake_at(arn("a"), at(20));
        assert_eq!(queue.tick(at(4)), Some(at(5)));
        assert_eq!(queue.take(), None);
        assert_eq!(queue.tick(at(5)), None);
        assert_eq!(queue.take(), Some(arn("a")));
    }
}
