//! Goes through what is ours: what to let go of, what to write down anew, and which targets nobody wants.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, TargetKey,
    ledger::{Ground, LedgerState, LedgerTarget},
    plan::{Addition, HoldReason, MarkKey, Why},
};

use crate::{
    absence::{Holder, Standing, standing},
    addition::{Demand, holding, is_missing},
    guard::Candidate,
    holds::{Alarm, Holds},
    input::Input,
    observe::{Settled, Sight},
};

#[derive(Debug, Default)]
pub(crate) struct Review<'a> {
    pub unwanted: Vec<Candidate<'a>>,
    pub rebind: Vec<Addition>,
    pub forget: Vec<TargetKey>,
    /// Whether only a new answer of AWS can see a removal through.
    pub verify: bool,
}

pub(crate) fn review<'a>(
    input: &'a Input,
    sight: &Sight<'_>,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    demands: &BTreeMap<TargetKey, Demand>,
    holds: &mut Holds,
    alarm: &mut Alarm,
) -> Review<'a> {
    let mut review = Review::default();
    for row in by_key(input) {
        match standing_of(row, holders, demands) {
            // A target that is registered again in this plan is written by that step.
            Standing::Wanted if is_missing(row, sight, input) => {}
            Standing::Wanted => {
                review.rebind.extend(rebound(row, holders, demands));
                review.see_again(row, input, sight, alarm);
            }
            Standing::Kept { mass_unbinding } => {
                if row.state == LedgerState::Deregistered {
                    review.see_through(row, None, input, sight, alarm);
                    continue;
                }
                review.rebind.extend(rebound(row, holders, demands));
                if mass_unbinding {
                    holds.removal(HoldReason::MassUnbinding, row.key(), &row.bindings, None);
                }
            }
            Standing::Relinquished => review.forget.push(row.key().clone()),
            Standing::Unwanted(ground) => match row.state {
                LedgerState::Deregistered => review.see_through(row, Some(ground), input, sight, alarm),
                _ if is_missing(row, sight, input) => review.forget.push(row.key().clone()),
                _ => review.unwanted.push(Candidate { row, ground }),
            },
        }
    }
    review
}

impl<'a> Review<'a> {
    /// A removal that AWS acknowledged is over when AWS was seen without the target.
    fn see_through(
        &mut self,
        row: &'a LedgerTarget,
        unwanted: Option<Ground>,
        input: &Input,
        sight: &Sight<'_>,
        alarm: &mut Alarm,
    ) {
        let settled = Settled::of(row, &input.guards);
        match sight.registered_since(row.key(), settled.removal) {
            Some(false) => return self.forget.push(row.key().clone()),
            Some(true) if sight.registered_since(row.key(), settled.contradiction).is_some() => {
                return self
                    .unwanted
                    .extend(unwanted.map(|ground| Candidate { row, ground }));
            }
            Some(true) | None => {}
        }
        self.ask(&settled, input, alarm);
    }

    /// A removal that was given up may arrive after the target was registered again: AWS is asked once more when that is
    /// past.
    fn see_again(&mut self, row: &LedgerTarget, input: &Input, sight: &Sight<'_>, alarm: &mut Alarm) {
        let settled = Settled::of(row, &input.guards);
        let may_be_taken = row.state == LedgerState::Registered && row.changed_at < settled.removal;
        if may_be_taken && sight.registered_since(row.key(), settled.contradiction).is_none() {
            self.ask(&settled, input, alarm);
        }
    }

    /// Asks AWS as soon as its answer counts. An earlier one would do if it comes, but is not worth a call: it may be stale.
    fn ask(&mut self, settled: &Settled, input: &Input, alarm: &mut Alarm) {
        if input.now > settled.contradiction {
            self.verify = true;
        } else {
            // An answer counts only if asked after that moment.
            alarm.set(
                settled
                    .contradiction
                    .checked_add(SignedDuration::from_millis(1))
                    .unwrap_or(Timestamp::MAX),
            );
        }
    }
}

/// Hold-downs that begin or end with this plan.
pub(crate) fn marks(
    input: &Input,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    demands: &BTreeMap<TargetKey, Demand>,
    removed: &BTreeSet<TargetKey>,
    forgotten: &[TargetKey],
) -> BTreeMap<MarkKey, Option<Timestamp>> {
    let stays = |row: &&LedgerTarget| !removed.contains(row.key()) && !forgotten.contains(row.key());
    by_key(input)
        .filter(stays)
        .filter_map(|row| {
            let unwanted = matches!(standing_of(row, holders, demands), Standing::Unwanted(_));
            let mark = unwanted.then(|| row.unwanted_since.unwrap_or(input.now));
            (mark != row.unwanted_since).then(|| (MarkKey(row.key().clone()), mark))
        })
        .collect()
}

fn by_key(input: &Input) -> impl Iterator<Item = &LedgerTarget> {
    let mut rows: Vec<_> = input.ledger.iter().collect();
    rows.sort_by_key(|row| row.key());
    rows.into_iter()
}

fn standing_of(
    row: &LedgerTarget,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    demands: &BTreeMap<TargetKey, Demand>,
) -> Standing {
    // A binding that does not hold it yet may want it.
    if demands.contains_key(row.key()) {
        Standing::Wanted
    } else {
        standing(row, holders)
    }
}

/// The row with the bindings and the pod that it is held for now, if they changed.
fn rebound(
    row: &LedgerTarget,
    holders: &BTreeMap<BindingId, Holder<'_>>,
    demands: &BTreeMap<TargetKey, Demand>,
) -> Option<Addition> {
    let nobody = Demand::default();
    let demand = demands.get(row.key());
    // It is registered again in this plan and written by that step.
    if demand.is_some() && row.state != LedgerState::Registered {
        return None;
    }
    let bindings = holding(Some(row), demand.unwrap_or(&nobody), holders);
    let pod = demand.map_or_else(|| row.pod.clone(), |demand| demand.pod(Some(row)));
    let as_written = pod == row.pod && bindings.iter().eq(row.bindings.iter().collect::<BTreeSet<_>>());
    (!as_written).then(|| Addition {
        target: row.target.clone(),
        bindings: bindings.into_iter().collect(),
        pod,
        why: Why::Shared,
    })
}
