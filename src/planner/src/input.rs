//! What a plan is made from. Everything that a plan depends on stands here; there is no other way in.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use model::{
    Observed, TargetGroupArn, TargetKey,
    condition::Problem,
    drain::Drain,
    group::{BoundService, GroupSnapshot},
    guard::Guards,
    ledger::{LedgerTarget, Removal},
    target::ObservedTarget,
    target_group::{TargetGroup, TargetGroupFacts},
};

use crate::admission;

/// All that is known about one target group at one moment.
#[derive(Clone, Debug)]
pub struct Input {
    /// The database's clock when the rest was read; every time below is of the same clock.
    pub now: Timestamp,
    pub guards: Guards,
    /// The database went back in time and no operator has said yet that removing is safe.
    pub restored: bool,
    /// Until then a call of the writer before us may still arrive in AWS.
    pub fenced_until: Option<Timestamp>,
    pub arn: TargetGroupArn,
    pub declared: Option<TargetGroup>,
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
    /// Bindings that refer to the group, deleted ones included while the ledger names them.
    pub bindings: Vec<BoundService>,
    pub ledger: Vec<LedgerTarget>,
    /// Removals of the last two windows.
    pub removals: Vec<Removal>,
    /// When an operator released the removal of a target.
    pub released: BTreeMap<TargetKey, Timestamp>,
    /// When targets of ours that had vanished were registered again, once per plan.
    pub drifts: Vec<Timestamp>,
    /// Targets of pods that ended, which AWS may still let finish what they serve.
    pub drains: Vec<Drain>,
    /// How long it lets them. `None`: nobody knows.
    pub deregistration_delay: Option<Duration>,
    /// What AWS last refused about this group, if it was the last thing it said.
    pub failure: Option<Problem>,
    /// When it last wanted to be told the zones of targets.
    pub zones_wanted: Option<Timestamp>,
    /// Many clusters fell silent at once: nothing goes without proof ([`crate::is_frozen`]).
    pub frozen: bool,
}

/// What a plan depends on beside its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Until then a call of the writer before us may still arrive in AWS. Who only shows a plan has none.
    pub fenced_until: Option<Timestamp>,
    /// Whether the fleet is frozen.
    pub frozen: bool,
}

/// What AWS last said about the group.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub facts: Observed<TargetGroupFacts>,
    pub targets: Observed<Vec<ObservedTarget>>,
    /// What it last refused, if that was the last thing it said.
    pub failure: Option<Problem>,
    /// When it last wanted to be told the zones of targets.
    pub zones_wanted: Option<Timestamp>,
    /// How long AWS lets a deregistered target finish what it serves. `None`: nobody knows.
    pub deregistration_delay: Option<Duration>,
}

impl Input {
    /// What is stored, with what AWS said.
    pub fn new(stored: GroupSnapshot, seen: Seen, guards: Guards, circumstances: Circumstances) -> Self {
        let GroupSnapshot {
            now,
            arn,
            restored,
            declared,
            bindings,
            ledger,
            removals,
            released,
            drifts,
            drains,
        } = stored;
        let Seen {
            facts,
            targets,
            failure,
            zones_wanted,
            deregistration_delay,
        } = seen;
        let Circumstances { fenced_until, frozen } = circumstances;
        Self {
            now,
            guards,
            restored,
            fenced_until,
            arn,
            declared,
            facts,
            targets,
            bindings,
            ledger,
            removals,
            released,
            drifts,
            drains,
            deregistration_delay,
            failure,
            zones_wanted,
            frozen,
        }
    }

    /// Whether anything of ours is or may come to be in the group. AWS is not asked about a group that nobody may use.
    pub fn is_of_interest(&self) -> bool {
        !self.ledger.is_empty()
            || !self.drains.is_empty()
            || self
                .bindings
                .iter()
                .any(|bound| bound.binding.standing.is_planned() && admission::admitted(self, bound).is_ok())
    }
}
