//! Which group is next. Keys without payload: a group that is woken twice is looked at once, and one that is woken while
//! it is worked on is looked at again afterwards. Synchronous; the caller brings the time.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    hash::Hash,
};

use tokio::time::Instant;

/// The groups of one shard that are to be looked at.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    in_flight: HashSet<K>,
    again: HashSet<K>,
    due: BTreeSet<(Instant, K)>,
    due_of: HashMap<K, Instant>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            in_flight: HashSet::new(),
            again: HashSet::new(),
            due: BTreeSet::new(),
            due_of: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// Looks at the group as soon as there is room.
    pub(crate) fn wake(&mut self, key: K) {
        if self.in_flight.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Looks at the group at `at`, or earlier if it was to be looked at earlier.
    pub(crate) fn wake_at(&mut self, key: K, at: Instant) {
        if let Some(before) = self.due_of.get(&key) {
            if *before <= at {
                return;
            }
            self.due.remove(&(*before, key.clone()));
        }
        self.due_of.insert(key.clone(), at);
        self.due.insert((at, key));
    }

    /// The next group, which is in flight from now on.
    pub(crate) fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        // The pass that begins sees everything that an earlier alarm was set for.
        if let Some(at) = self.due_of.remove(&key) {
            self.due.remove(&(at, key.clone()));
        }
        self.in_flight.insert(key.clone());
        Some(key)
    }

    /// The group's pass has ended.
    pub(crate) fn done(&mut self, key: K) {
        self.in_flight.remove(&key);
        if self.again.remove(&key) {
            self.wake(key);
        }
    }

    /// Wakes what is due; returns when the next will be.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, key)) = self.due.first().cloned() {
            if at > now {
                return Some(at);
            }
            self.due.pop_first();
            self.due_of.remove(&key);
            self.wake(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_group_that_is_woken_twice_is_looked_at_once() {
        let mut queue = Queue::default();
        queue.wake("a");
        queue.wake("a");
        assert_eq!(queue.take(), Some("a"));
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn a_group_that_is_woken_in_flight_is_looked_at_again_and_never_twice_at_once() {
        let mut queue = Queue::default();
        queue.wake("a");
        queue.take().unwrap();
        queue.wake("a");
        assert_eq!(queue.take(), None);
        queue.done("a");
        assert_eq!(queue.take(), Some("a"));
        queue.done("a");
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn the_earlier_alarm_counts() {
        let mut queue = Queue::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        queue.wake_at("a", at(10));
        queue.wake_at("a", at(5));
        queue.wake_at("a", at(20));
        assert_eq!(queue.tick(at(4)), Some(at(5)));
        assert_eq!(queue.take(), None);
        assert_eq!(queue.tick(at(5)), None);
        assert_eq!(queue.take(), Some("a"));
    }
}
