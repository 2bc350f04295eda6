//! The fleet freeze: when many clusters fall silent at once, more is wrong than a few agents.

use jiff::Timestamp;
use model::{fleet::Fleet, guard::Guards};

use crate::observe::later;

/// Whether removals without proof are to wait everywhere: more than a share of the clusters, and at least a few, fell
/// silent within one window. They thaw the freeze by coming back, one after the other, and an operator by saying that
/// they will not.
pub fn is_frozen(fleet: &Fleet, guards: &Guards) -> bool {
    let Fleet {
        now,
        last_seen,
        released_at,
    } = fleet;
    let counts = |seen: &Timestamp| {
        *now > later(*seen, guards.silent_after) && released_at.is_none_or(|released| *seen > released)
    };
    let mut silent: Vec<_> = last_seen.iter().copied().filter(counts).collect();
    silent.sort_unstable();
    // Each window that begins with one of them.
    let most = silent.iter().enumerate().map(|(first, from)| {
        let until = later(*from, guards.fleet_window);
        silent[first..].partition_point(|seen| *seen <= until)
    });
    most.max().is_some_and(|most| {
        most >= guards.fleet_least as usize
            && most * 100 > last_seen.len() * usize::from(guards.fleet_percent)
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    /// A fleet whose clusters were last heard of so many seconds ago.
    fn fleet(ago: &[i64]) -> Fleet {
        let at = |seconds: &i64| now() - SignedDuration::from_secs(*seconds);
        Fleet {
            now: now(),
            last_seen: ago.iter().map(at).collect(),
            released_at: None,
        }
    }

    fn frozen(silent: &[i64], heard: usize) -> bool {
        let ago: Vec<_> = silent
            .iter()
            .copied()
            .chain(std::iter::repeat_n(1, heard))
            .collect();
        is_frozen(&fleet(&ago), &Guards::default())
    }

    #[test]
    fn a_share_and_a_few_of_them_must_be_silent() {
        assert!(!frozen(&[], 20));
        assert!(!frozen(&[40, 41], 0), "two are too few, even if they are all");
        assert!(frozen(&[40, 41, 42], 0));
        assert!(frozen(&[40, 41, 42], 16), "3 of 19");
        assert!(!frozen(&[40, 41, 42], 17), "3 of 20 are 15 % and not more");
        assert!(!frozen(&[30, 30, 30], 0), "not silent yet");
    }

    #[test]
    fn only_those_count_together_that_fell_silent_together() {
        assert!(frozen(&[40, 70, 100], 10));
        assert!(!frozen(&[40, 71, 101], 10), "61 s apart");
        assert!(!frozen(&[40, 4000, 400_000], 0), "three old stories");
    }

    #[test]
    fn those_who_return_thaw_it() {
        assert!(frozen(&[600; 4], 16));
        assert!(!frozen(&[600; 3], 17));
    }

    #[test]
    fn an_operator_may_give_up_on_those_that_are_silent_by_then() {
        let mut fleet = fleet(&[600, 600, 600, 1, 1]);
        assert!(is_frozen(&fleet, &Guards::default()));
        fleet.released_at = Some(now() - SignedDuration::from_secs(300));
        assert!(!is_frozen(&fleet, &Guards::default()));
        fleet.last_seen.extend([now() - SignedDuration::from_secs(60); 3]);
        assert!(is_frozen(&fleet, &Guards::default()), "these fell silent later");
    }
}
