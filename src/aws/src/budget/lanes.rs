//! Who is next: lanes in strict order, tenants in turn within a lane, and turns within a tenant.

use std::collections::{HashMap, VecDeque};

use model::sabotage;
use tokio::time::Instant;

/// What a call is for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Targets whose end is proven: clients get errors until they are out. May use the reserve.
    RemoveTerminating,
    /// New targets.
    Add,
    /// Other removals.
    RemoveOther,
    /// What is deleted on purpose. May use the reserve: a full quota is emptied by deleting.
    Delete,
    /// Rules, listeners and target groups.
    Rules,
    /// Tags.
    Tags,
    /// Reads.
    Describe,
}

impl Lane {
    /// In order.
    pub const ALL: [Self; 7] = [
        Self::RemoveTerminating,
        Self::Add,
        Self::RemoveOther,
        Self::Delete,
        Self::Rules,
        Self::Tags,
        Self::Describe,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::RemoveTerminating => "remove_terminating",
            Self::Add => "add",
            Self::RemoveOther => "remove_other",
            Self::Delete => "delete",
            Self::Rules => "rules",
            Self::Tags => "tags",
            Self::Describe => "describe",
        }
    }
}

/// Whose turn a call is. Within a lane tenants alternate, and the turns of a tenant among themselves, so that neither a
/// tenant with many groups nor a group with many calls keeps out another.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// On whose behalf.
    pub tenant: &'a str,
    /// Which of the tenant's, e.g. for which target group.
    pub name: &'a str,
}

/// A tenant of its own.
impl<'a> From<&'a str> for Turn<'a> {
    fn from(name: &'a str) -> Self {
        Self { tenant: name, name }
    }
}

/// A queue of `T`.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: [Rotation<Rotation<VecDeque<T>>>; Lane::ALL.len()],
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Rotation::default()),
        }
    }

    pub(super) fn push(&mut self, lane: Lane, turn: Turn<'_>, waiting: T) {
        let tenant = if sabotage::is_on("S18") {
            turn.name
        } else {
            turn.tenant
        };
        let tenants = &mut self.lanes[lane as usize];
        tenants.of(tenant).of(turn.name).push_back(waiting);
    }

    /// Who is next: of the tenants that are rested the one that rests for longest, and else whoever's turn it is in the
    /// most urgent lane. Whoever has just called lets others go first, also with what is more urgent.
    pub(super) fn first(&self, rested: impl Fn(&str) -> Option<Rested>) -> Option<Next> {
        let waiting = Lane::ALL.into_iter().flat_map(|lane| {
            let tenants = &self.lanes[lane as usize].order;
            tenants.iter().map(move |tenant| (lane, tenant))
        });
        let rested = waiting
            .clone()
            .filter_map(|(lane, tenant)| rested(tenant).map(|rest| (rest, lane, tenant)))
            .min_by_key(|(rest, lane, _)| (*rest, *lane));
        let (next, rested) = match rested {
            Some((_, lane, tenant)) => ((lane, tenant), true),
            None => (waiting.into_iter().next()?, false),
        };
        Some(Next {
            lane: next.0,
            tenant: next.1.clone(),
            rested,
        })
    }

    pub(super) fn pop(&mut self, Next { lane, tenant, .. }: &Next) -> Option<T> {
        let tenants = &mut self.lanes[*lane as usize];
        tenants.prefer(tenant);
        tenants.pop()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(Line::len).sum()
    }

    /// Everybody who waits, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let tenants = self.lanes.iter().flat_map(|lane| lane.lines.values());
        tenants.flat_map(|tenant| tenant.lines.values().flatten())
    }
}

/// Who is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) lane: Lane,
    pub(super) tenant: String,
    pub(super) rested: bool,
}

/// That a tenant has not called for a while, with its last call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rested(pub(super) Option<Instant>);

/// What is served one after the other.
trait Line {
    type Item;

    fn pop(&mut self) -> Option<Self::Item>;

    fn len(&self) -> usize;

    fn is_empty(&self) -> bool;
}

/// First come, first served.
impl<T> Line for VecDeque<T> {
    type Item = T;

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Lines by name, of which each gives one in turn.
#[derive(Debug)]
struct Rotation<L> {
    /// Each name in `lines` once.
    order: VecDeque<String>,
    /// None of them empty.
    lines: HashMap<String, L>,
}

impl<L> Default for Rotation<L> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            lines: HashMap::new(),
        }
    }
}

impl<L: Default> Rotation<L> {
    /// The line of `name`, which something is put into.
    fn of(&mut self, name: &str) -> &mut L {
        if !self.lines.contains_key(name) {
            self.order.push_back(name.to_owned());
        }
        self.lines.entry(name.to_owned()).or_default()
    }

    /// Makes the line of `name` the next.
    fn prefer(&mut self, name: &str) {
        let position = self.order.iter().position(|next| next == name);
        if let Some(name) = position.and_then(|position| self.order.remove(position)) {
            self.order.push_front(name);
        }
    }
}

impl<L: Line> Line for Rotation<L> {
    type Item = L::Item;

    fn pop(&mut self) -> Option<L::Item> {
        let name = self.order.pop_front()?;
        let line = self.lines.get_mut(&name)?;
        let next = line.pop();
        if line.is_empty() {
            self.lines.remove(&name);
        } else {
            self.order.push_back(name);
        }
        next
    }

    fn len(&self) -> usize {
        self.lines.values().map(Line::len).sum()
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lanes: &mut Lanes<u32>, rested: &[&str]) -> Vec<u32> {
        let rested = |tenant: &str| rested.contains(&tenant).then_some(Rested(None));
        std::iter::from_fn(|| lanes.first(rested).and_then(|next| lanes.pop(&next))).collect()
    }

    #[test]
    fn a_more_urgent_lane_goes_first() {
        let mut lanes = Lanes::new();
        for (n, lane) in (0..).zip(Lane::ALL.into_iter().rev()) {
            lanes.push(lane, "a".into(), n);
        }
        assert_eq!(drain(&mut lanes, &[]), [6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn turns_alternate_so_that_many_of_one_do_not_keep_out_another() {
        let mut lanes = Lanes::new();
        for n in 0..4 {
            lanes.push(Lane::Add, "busy".into(), n);
        }
        lanes.push(Lane::Add, "quiet".into(), 100);
        assert_eq!(drain(&mut lanes, &[]), [0, 100, 1, 2, 3]);
    }

    /// S18.
    #[test]
    fn tenants_alternate_however_many_turns_each_of_them_has() {
        let turn = |tenant, name| Turn { tenant, name };
        let mut lanes = Lanes::new();
        for (n, name) in (0..).zip(["a", "b", "c"]) {
            lanes.push(Lane::Add, turn("many", name), n);
            lanes.push(Lane::Add, turn("many", name), 10 + n);
        }
        lanes.push(Lane::Add, turn("one", "d"), 100);
        assert_eq!(lanes.len(), 7);
        assert_eq!(drain(&mut lanes, &[]), [0, 100, 1, 2, 10, 11, 12]);
    }

    /// S18.
    #[test]
    fn a_rested_tenant_goes_before_what_is_more_urgent_of_others() {
        let mut lanes = Lanes::new();
        lanes.push(Lane::RemoveTerminating, "busy".into(), 0);
        lanes.push(Lane::Add, "busy".into(), 1);
        lanes.push(Lane::Add, "rested".into(), 2);
        lanes.push(Lane::RemoveTerminating, "rested".into(), 3);
        assert_eq!(drain(&mut lanes, &["rested"]), [3, 2, 0, 1]);
    }
}
