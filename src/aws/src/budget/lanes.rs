//! Who is next: lanes in strict order, turns within a lane.

use std::collections::{HashMap, VecDeque};

/// What a call is for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Targets whose end is proven: clients get errors until they are out. May use the reserve.
    RemoveTerminating,
    /// New targets.
    Add,
    /// Other removals.
    RemoveOther,
    /// Rules and listeners.
    Rules,
    /// Tags.
    Tags,
    /// Reads.
    Describe,
}

impl Lane {
    /// In order.
    pub const ALL: [Self; 6] = [
        Self::RemoveTerminating,
        Self::Add,
        Self::RemoveOther,
        Self::Rules,
        Self::Tags,
        Self::Describe,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::RemoveTerminating => "remove_terminating",
            Self::Add => "add",
            Self::RemoveOther => "remove_other",
            Self::Rules => "rules",
            Self::Tags => "tags",
            Self::Describe => "describe",
        }
    }
}

/// A queue of `T`.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: [Turns<T>; Lane::ALL.len()],
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Turns::new()),
        }
    }

    pub(super) fn push(&mut self, lane: Lane, turn: &str, waiting: T) {
        self.lanes[lane as usize].push(turn, waiting);
    }

    /// The lane that is next.
    pub(super) fn first(&self) -> Option<Lane> {
        Lane::ALL
            .into_iter()
            .find(|lane| !self.lanes[*lane as usize].order.is_empty())
    }

    pub(super) fn pop(&mut self, lane: Lane) -> Option<T> {
        self.lanes[lane as usize].pop()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes
            .iter()
            .map(|lane| lane.waiting.values().map(VecDeque::len).sum::<usize>())
            .sum()
    }
}

/// One lane. Each turn is first come, first served; turns alternate, so that many of one do not keep out another.
#[derive(Debug)]
struct Turns<T> {
    /// Each turn in `waiting` once.
    order: VecDeque<String>,
    waiting: HashMap<String, VecDeque<T>>,
}

impl<T> Turns<T> {
    fn new() -> Self {
        Self {
            order: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }

    fn push(&mut self, turn: &str, waiting: T) {
        if let Some(queue) = self.waiting.get_mut(turn) {
            queue.push_back(waiting);
        } else {
            self.waiting.insert(turn.to_owned(), VecDeque::from([waiting]));
            self.order.push_back(turn.to_owned());
        }
    }

    fn pop(&mut self) -> Option<T> {
        let turn = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&turn)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&turn);
        } else {
            self.order.push_back(turn);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lanes: &mut Lanes<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lanes.first().and_then(|lane| lanes.pop(lane))).collect()
    }

    #[test]
    fn a_more_urgent_lane_goes_first() {
        let mut lanes = Lanes::new();
        for (n, lane) in (0..).zip(Lane::ALL.into_iter().rev()) {
            lanes.push(lane, "a", n);
        }
        assert_eq!(drain(&mut lanes), [5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn turns_alternate_so_that_many_of_one_do_not_keep_out_another() {
        let mut lanes = Lanes::new();
        for n in 0..4 {
            lanes.push(Lane::Add, "busy", n);
        }
        lanes.push(Lane::Add, "quiet", 100);
        assert_eq!(drain(&mut lanes), [0, 100, 1, 2, 3]);
    }
}
