//! The one diff: what is declared, what AWS has, and what was set last.

use std::collections::{BTreeMap, BTreeSet};

use model::managed::{Difference, DriftPolicy, GroupStep, LedgerGroup, ObservedGroup, Setting};

use super::{Decision, ManagedInput};

/// What is to be set, and what somebody else changed. `doubtful`: what to do while AWS's answer may be older than our
/// last write.
pub(super) fn diff(
    input: &ManagedInput,
    ledger: &LedgerGroup,
    group: &ObservedGroup,
    doubtful: Option<Decision>,
) -> Decision {
    let managed = &input.stored.definition.spec.managed;
    let declared = managed.stated();
    let mut changes = BTreeMap::new();
    let mut noted = BTreeMap::new();
    let mut drift = Vec::new();
    // What was set otherwise since, or may be on its way: AWS's agreement may be that of before.
    let mut unsettled = false;
    for (setting, value) in &declared {
        let observed = group.settings.get(setting);
        let applied = ledger.applied.get(setting) == Some(value);
        match (observed == Some(value), applied) {
            (true, true) => {}
            (true, false) if doubtful.is_some() => unsettled = true,
            (true, false) => {
                noted.insert(setting.clone(), value.clone());
            }
            (false, false) => {
                changes.insert(setting.clone(), value.clone());
            }
            (false, true) => drift.push(Difference {
                setting: setting.clone(),
                declared: value.clone(),
                observed: observed.cloned(),
            }),
        }
    }
    let gone = ledger
        .applied
        .iter()
        .filter(|(setting, _)| !declared.contains_key(*setting));
    // A tag that somebody has changed since is theirs.
    let (untag, mut dropped): (BTreeSet<_>, BTreeSet<_>) = gone
        .map(|(setting, applied)| {
            let still_ours = group.settings.get(setting) == Some(applied);
            (setting.clone(), matches!(setting, Setting::Tag(_)) && still_ours)
        })
        .fold(Default::default(), |(mut tags, mut rest), (setting, is_tag)| {
            if is_tag {
                tags.insert(setting)
            } else {
                rest.insert(setting)
            };
            (tags, rest)
        });

    // One that is not to be seen may not have arrived yet.
    if doubtful.is_some() {
        let before = dropped.len();
        dropped.retain(|setting| !matches!(setting, Setting::Tag(_)));
        unsettled |= dropped.len() < before;
    }

    let mut decision = match doubtful {
        Some(wait) if unsettled || !drift.is_empty() => {
            drift.clear();
            wait
        }
        _ => Decision::default(),
    };
    if managed.drift == DriftPolicy::Repair {
        let repaired = drift
            .iter()
            .map(|one| (one.setting.clone(), one.declared.clone()));
        changes.extend(repaired);
    }
    decision.drift = drift;
    if !noted.is_empty() || !dropped.is_empty() {
        decision.steps.push(GroupStep::Note {
            settings: noted,
            dropped,
        });
    }
    let arn = || group.arn.clone();
    let mut of = |kind: fn(&Setting) -> bool| -> Option<BTreeMap<Setting, String>> {
        let of_kind: BTreeMap<_, _> = changes.extract_if(.., |setting, _| kind(setting)).collect();
        (!of_kind.is_empty()).then_some(of_kind)
    };
    let check = of(|setting| matches!(setting, Setting::HealthCheck(_)));
    let attributes = of(|setting| matches!(setting, Setting::Attribute(_)));
    let tags = of(|setting| matches!(setting, Setting::Tag(_)));
    let steps = &mut decision.steps;
    steps.extend(check.map(|settings| GroupStep::Modify { arn: arn(), settings }));
    steps.extend(attributes.map(|settings| GroupStep::SetAttributes { arn: arn(), settings }));
    steps.extend(tags.map(|settings| GroupStep::Tag { arn: arn(), settings }));
    if !untag.is_empty() {
        steps.push(GroupStep::Untag {
            arn: arn(),
            keys: untag,
        });
    }
    decision
}
