//! Managed target groups in a world of one name: an AWS, a ledger, and calls that fail in every way. Whatever happens, a
//! group that is somebody else's is as it was, ours is made once, and what was applied needs no further step.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    Observed, TargetGroupArn,
    cluster::Mode,
    condition::{Reason, Truth},
    managed::{
        Definition, DefinitionSpec, Ending, GroupPlan, GroupState, GroupStep, LedgerGroup, ManagedSnapshot,
        ManagedSpec, ObservedGroup, Setting, Settings,
    },
    pause::Pause,
    plan::{HoldReason, Observe},
};
use planner::managed::{ManagedInput, plan};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use crate::{
    histories::{histories, runner},
    world::{Fate, epoch},
};

const INSTALLATION: Uuid = Uuid::from_u128(0xe1b0);
const GRACE: SignedDuration = SignedDuration::from_secs(5);

fn spec(path: Option<&str>, delay: Option<u32>, tag: Option<&str>, repair: bool) -> ManagedSpec {
    let settings: Settings = serde_json::from_value(json!({
        "account": "123456789012", "region": "eu-central-1", "vpcId": "vpc-0a1b2c3d", "name": "web",
        "targetType": "ip", "protocol": "HTTP", "port": 80,
        "healthCheck": path.map_or(json!({}), |path| json!({ "path": path })),
        "attributes": delay.map_or(json!({}), |delay| json!({ "deregistrationDelaySeconds": delay })),
        "tags": tag.map_or(json!({}), |tag| json!({ "team": tag })),
        "drift": if repair { "repair" } else { "report" },
    }))
    .unwrap();
    settings.try_into().unwrap()
}

fn setting(text: &str) -> Setting {
    text.parse().unwrap()
}

struct World {
    now: Timestamp,
    aws: Option<ObservedGroup>,
    /// How many groups AWS has made, for their ARNs.
    made: u32,
    snapshot: Option<ManagedSnapshot>,
    observed: Observed<ObservedGroup>,
    targets: usize,
    fenced_until: Option<Timestamp>,
    /// Groups that Elbow made.
    ours: BTreeSet<TargetGroupArn>,
}

impl World {
    fn new(spec: ManagedSpec) -> Self {
        let definition = Definition {
            name: "web".parse().unwrap(),
            spec: DefinitionSpec {
                managed: spec,
                arn: None,
                clusters: vec!["alpha".parse().unwrap()],
                grants: Vec::new(),
            },
            version: 1,
            ending: None,
        };
        let snapshot = ManagedSnapshot {
            now: epoch(),
            installation: INSTALLATION,
            definition,
            declared_at: epoch(),
            ledger: None,
            bindings: 0,
            targets: 0,
            modes: vec![Mode::Full],
            paused: None,
            restored: false,
        };
        Self {
            now: epoch(),
            aws: None,
            made: 0,
            snapshot: Some(snapshot),
            observed: Observed::Unknown,
            targets: 0,
            fenced_until: None,
            ours: BTreeSet::new(),
        }
    }

    fn stored(&mut self) -> &mut ManagedSnapshot {
        self.snapshot.as_mut().unwrap()
    }

    fn passes(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn input(&self) -> Option<ManagedInput> {
        let stored = ManagedSnapshot {
            now: self.now,
            ..self.snapshot.clone()?
        };
        Some(ManagedInput {
            stored,
            grace: GRACE,
            fenced_until: self.fenced_until,
            observed: self.observed.clone(),
            targets: match self.observed {
                Observed::Present { at, .. } => Observed::Present {
                    at,
                    value: self.targets,
                },
                _ => Observed::Unknown,
            },
            failure: None,
        })
    }

    fn plan(&self) -> GroupPlan {
        plan(&self.input().expect("it is declared"))
    }

    fn observe(&mut self) {
        let asked = self.snapshot.as_ref().and_then(|stored| stored.arn().cloned());
        let at = self.now;
        let found = self
            .aws
            .as_ref()
            .filter(|group| asked.is_none_or(|arn| arn == group.arn));
        self.observed = match found {
            Some(group) => Observed::Present {
                at,
                value: group.clone(),
            },
            None => Observed::Absent { at },
        };
        self.passes(1);
    }

    fn new_group(&mut self, settings: BTreeMap<Setting, String>) -> ObservedGroup {
        self.made += 1;
        let arn = format!(
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/{:016}",
            self.made
        );
        let defaults = [
            ("healthCheck.path", "/"),
            ("attributes.deregistration_delay.timeout_seconds", "300"),
        ];
        let defaults = defaults.map(|(key, value)| (setting(key), value.to_owned()));
        ObservedGroup {
            arn: arn.parse().unwrap(),
            identity: spec(None, None, None, false).identity(),
            load_balancers: Vec::new(),
            settings: defaults.into_iter().chain(settings).collect(),
        }
    }

    /// Somebody makes a group of the name, if there is none.
    fn by_hand(&mut self) {
        if self.aws.is_none() {
            let tag = (setting("tags.owner"), "somebody".to_owned());
            self.aws = Some(self.new_group([tag].into()));
        }
    }

    /// What AWS does with a call.
    fn call(&mut self, step: &GroupStep) {
        if let GroupStep::Create { settings } = step {
            if self.aws.is_none() {
                let group = self.new_group(settings.clone());
                self.ours.insert(group.arn.clone());
                self.aws = Some(group);
            }
            return;
        }
        let of = |arn: &TargetGroupArn, group: &ObservedGroup| *arn == group.arn;
        match step {
            GroupStep::Delete { arn } => {
                let gone = |group: &mut ObservedGroup| of(arn, group) && group.load_balancers.is_empty();
                self.aws.take_if(gone);
            }
            GroupStep::Modify { arn, settings }
            | GroupStep::SetAttributes { arn, settings }
            | GroupStep::Tag { arn, settings }
            | GroupStep::Adopt { arn, settings } => {
                if let Some(group) = self.aws.as_mut().filter(|group| of(arn, group)) {
                    group.settings.extend(settings.clone());
                }
            }
            GroupStep::Untag { arn, keys } | GroupStep::Release { arn, keys } => {
                if let Some(group) = self.aws.as_mut().filter(|group| of(arn, group)) {
                    group.settings.retain(|setting, _| !keys.contains(setting));
                }
            }
            GroupStep::Create { .. }
            | GroupStep::Confirm { .. }
            | GroupStep::Note { .. }
            | GroupStep::Forget => {}
        }
    }

    /// What the ledger records before the call. `false`: the plan is not of this declaration any more.
    fn intend(&mut self, step: &GroupStep) {
        let now = self.now;
        let stored = self.stored();
        let declared = stored.definition.spec.managed.stated();
        let begun = |state, arn, applied| LedgerGroup {
            state,
            arn,
            applied,
            changed_at: now,
            ambiguous_at: None,
        };
        match step {
            GroupStep::Create { settings } => {
                let set = settings.clone().into_iter();
                let set = set
                    .filter(|(setting, _)| declared.contains_key(setting))
                    .collect();
                stored.ledger = Some(begun(GroupState::Creating, None, set));
            }
            GroupStep::Adopt { arn, .. } => {
                stored.ledger = Some(begun(GroupState::Adopting, Some(arn.clone()), declared));
            }
            GroupStep::Confirm { arn } => {
                let ledger = stored
                    .ledger
                    .get_or_insert_with(|| begun(GroupState::Present, None, BTreeMap::new()));
                ledger.state = GroupState::Present;
                ledger.arn = Some(arn.clone());
            }
            GroupStep::Note { settings, dropped } => {
                let applied = &mut stored.ledger.as_mut().unwrap().applied;
                applied.extend(settings.clone());
                applied.retain(|setting, _| !dropped.contains(setting));
            }
            GroupStep::Delete { .. } | GroupStep::Release { .. } => {
                let ledger = stored.ledger.as_mut().unwrap();
                ledger.state = match step {
                    GroupStep::Delete { .. } => GroupState::Deleting,
                    _ => GroupState::Releasing,
                };
                ledger.changed_at = now;
            }
            GroupStep::Forget => {
                stored.ledger = None;
                if stored.definition.ending.is_some() {
                    self.snapshot = None;
                }
            }
            GroupStep::Modify { settings, .. }
            | GroupStep::SetAttributes { settings, .. }
            | GroupStep::Tag { settings, .. } => {
                // Until AWS has answered, either value may come.
                let ledger = stored.ledger.as_mut().unwrap();
                ledger
                    .applied
                    .retain(|setting, _| !settings.contains_key(setting));
                ledger.changed_at = now;
            }
            GroupStep::Untag { .. } => stored.ledger.as_mut().unwrap().changed_at = now,
        }
    }

    fn acknowledge(&mut self, step: &GroupStep) {
        let now = self.now;
        let ledger = self.stored().ledger.as_mut().unwrap();
        match step {
            GroupStep::Modify { settings, .. }
            | GroupStep::SetAttributes { settings, .. }
            | GroupStep::Tag { settings, .. } => {
                ledger.applied.extend(settings.clone());
                ledger.changed_at = now;
            }
            GroupStep::Untag { keys, .. } => {
                ledger.applied.retain(|setting, _| !keys.contains(setting));
                ledger.changed_at = now;
            }
            _ => {}
        }
    }

    /// One pass; the calls of it end as `fate` says. Answers whether there was anything to do.
    fn pass(&mut self, fate: Fate) -> bool {
        let Some(mut input) = self.input() else {
            return false;
        };
        let mut planned = plan(&input);
        if planned.observe.is_some() || planned.steps.is_empty() {
            self.observe();
            input = self.input().expect("still declared");
            planned = plan(&input);
        }
        for step in &planned.steps {
            self.passes(1);
            self.intend(step);
            if !step.writes_aws() {
                continue;
            }
            match fate {
                Fate::Crash | Fate::CallLost => return true,
                Fate::AnswerLost => {
                    self.call(step);
                    return true;
                }
                Fate::Answered => {
                    self.call(step);
                    self.acknowledge(step);
                }
            }
        }
        !planned.steps.is_empty()
    }

    /// Until there is nothing to do and nothing to wait for.
    fn settle(&mut self) {
        for _ in 0..30 {
            let busy = self.pass(Fate::Answered);
            let Some(input) = self.input() else { return };
            let planned = plan(&input);
            if !busy && planned.observe.is_none() && planned.wake_at.is_none() {
                return;
            }
            self.passes(6);
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn reason(&self) -> Reason {
        self.plan().status.ready.reason
    }
}

#[test]
fn a_group_is_made_with_our_tags_and_found_by_them_when_the_answer_is_lost() {
    let mut world = World::new(spec(Some("/healthz"), Some(30), Some("shop"), false));
    assert_eq!(world.plan().observe, Some(Observe::First));
    assert_eq!(world.plan().status.ready.status, Truth::Unknown);
    world.pass(Fate::AnswerLost);
    world.settle();
    assert_eq!(world.made, 1);
    assert_eq!(world.reason(), Reason::Reconciled);
    let group = world.aws.clone().unwrap();
    assert!(world.snapshot.as_ref().unwrap().is_ours(&group));
    for (setting, value) in spec(Some("/healthz"), Some(30), Some("shop"), false).stated() {
        assert_eq!(group.settings[&setting], value);
    }
    assert!(world.plan().steps.is_empty());
}

#[test]
fn what_is_left_out_is_not_touched_and_a_tag_of_ours_goes() {
    let mut world = World::new(spec(Some("/healthz"), Some(30), Some("shop"), false));
    world.settle();
    world.stored().definition.spec.managed = spec(None, None, None, false);
    world.settle();
    let group = world.aws.clone().unwrap();
    assert_eq!(group.settings[&setting("healthCheck.path")], "/healthz");
    assert_eq!(
        group.settings[&setting("attributes.deregistration_delay.timeout_seconds")],
        "30"
    );
    assert!(!group.settings.contains_key(&setting("tags.team")));
    // What nobody declares may be changed by anybody.
    world
        .aws
        .as_mut()
        .unwrap()
        .settings
        .insert(setting("healthCheck.path"), "/x".into());
    world.observe();
    assert_eq!(world.reason(), Reason::Reconciled);
}

#[test]
fn a_group_that_was_deleted_by_hand_is_told_and_not_made_again() {
    let mut world = World::new(spec(None, None, None, true));
    world.settle();
    world.aws = None;
    world.passes(10);
    world.observe();
    assert_eq!(world.reason(), Reason::TargetGroupNotFound);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn a_stale_answer_is_neither_drift_nor_the_end() {
    let mut world = World::new(spec(Some("/old"), None, None, true));
    world.settle();
    let stale = world.aws.clone();
    world.stored().definition.spec.managed = spec(Some("/new"), None, None, true);
    world.passes(60);
    world.pass(Fate::Answered);
    for answer in [stale, None] {
        world.passes(1);
        let at = world.now;
        world.observed = match answer {
            Some(value) => Observed::Present { at, value },
            None => Observed::Absent { at },
        };
        let plan = world.plan();
        assert!(plan.steps.is_empty() && plan.status.drift.is_empty(), "{plan:?}");
        assert!(plan.wake_at.is_some() || plan.observe.is_some());
    }
}

/// A setting is set and then declared as it was before, and a tag is added and taken back, while AWS shows neither yet.
#[test]
fn a_change_that_is_taken_back_before_it_is_seen_is_taken_back_in_aws() {
    for fate in [Fate::Answered, Fate::AnswerLost] {
        let before = spec(Some("/old"), None, None, false);
        let mut world = World::new(before.clone());
        world.settle();
        let stale = world.aws.clone().unwrap();
        world.passes(60);
        world.stored().definition.spec.managed = spec(Some("/new"), None, Some("shop"), false);
        world.pass(fate);
        world.stored().definition.spec.managed = before.clone();
        world.passes(1);
        world.observed = Observed::Present {
            at: world.now,
            value: stale,
        };
        let plan = world.plan();
        assert!(plan.steps.is_empty(), "{plan:?}");
        assert!(plan.wake_at.is_some() || plan.observe.is_some(), "{plan:?}");
        world.passes(10);
        world.observe();
        world.settle();
        assert_eq!(world.reason(), Reason::Reconciled);
        let settings = &world.aws.as_ref().unwrap().settings;
        assert_eq!(settings[&setting("healthCheck.path")], "/old");
        assert!(!settings.contains_key(&setting("tags.team")), "{settings:?}");
    }
}

#[test]
fn a_deletion_that_waited_looks_again_before_it_is_done() {
    let mut world = World::new(spec(None, None, None, false));
    world.settle();
    world.stored().definition.ending = Some(Ending::Delete);
    world.stored().paused = Some(Pause {
        by: "ops".into(),
        reason: "quiet".into(),
        since: epoch(),
    });
    world.passes(10);
    world.observe();
    assert_eq!(world.plan().status.holds[0].reason, HoldReason::Paused);
    world.passes(60);
    world.stored().paused = None;
    let plan = world.plan();
    assert!(plan.steps.is_empty(), "{plan:?}");
    assert_eq!(plan.observe, Some(Observe::Verify));
    world.targets = 1;
    world.observe();
    assert_eq!(world.plan().status.holds[0].reason, HoldReason::NotEmpty);
}

#[test]
fn deleting_waits_for_listeners_bindings_and_targets() {
    let mut world = World::new(spec(None, None, None, false));
    world.settle();
    world.stored().definition.ending = Some(Ending::Delete);
    let held = |world: &mut World| {
        world.observe();
        let plan = world.plan();
        assert!(plan.steps.is_empty(), "{plan:?}");
        plan.status.holds[0].reason
    };
    world.aws.as_mut().unwrap().load_balancers.push("arn:lb".into());
    assert_eq!(held(&mut world), HoldReason::InUse);
    world.aws.as_mut().unwrap().load_balancers.clear();
    world.stored().bindings = 1;
    assert_eq!(held(&mut world), HoldReason::NotEmpty);
    world.stored().bindings = 0;
    world.targets = 1;
    assert_eq!(held(&mut world), HoldReason::NotEmpty);
    world.targets = 0;
    world.stored().restored = true;
    assert_eq!(held(&mut world), HoldReason::Restored);
    world.stored().restored = false;
    world.stored().modes = vec![Mode::AddOnly, Mode::Observe];
    assert_eq!(held(&mut world), HoldReason::ModeAddOnly);
    world.stored().modes = vec![Mode::Full];
    world.fenced_until = Some(world.now + SignedDuration::from_secs(60));
    assert_eq!(held(&mut world), HoldReason::Fencing);
    world.fenced_until = None;
    world.settle();
    assert!(world.aws.is_none() && world.snapshot.is_none());
}

#[test]
fn nothing_is_written_while_all_clusters_observe_or_somebody_paused() {
    let mut world = World::new(spec(None, None, None, false));
    world.stored().modes = vec![Mode::Observe, Mode::Observe];
    world.observe();
    assert_eq!(world.reason(), Reason::ObserveOnly);
    world.stored().modes = vec![Mode::Observe, Mode::AddOnly];
    assert!(world.plan().steps[0].writes_aws(), "one cluster may add");
    world.stored().paused = Some(Pause {
        by: "me".into(),
        reason: "why not".into(),
        since: epoch(),
    });
    assert_eq!(world.reason(), Reason::Paused);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn a_group_is_taken_over_only_if_nobody_else_manages_it_and_it_is_as_declared() {
    let adopting = |change: fn(&mut ObservedGroup)| {
        let mut world = World::new(spec(Some("/healthz"), None, None, false));
        world.by_hand();
        change(world.aws.as_mut().unwrap());
        let arn = world.aws.as_ref().unwrap().arn.clone();
        world.stored().definition.spec.arn = Some(arn);
        world.settle();
        world
    };
    let world = adopting(|_| ());
    assert_eq!(world.reason(), Reason::Drifted);
    let group = world.aws.clone().unwrap();
    assert_eq!(group.settings[&setting("healthCheck.path")], "/", "tags alone");
    assert!(world.snapshot.as_ref().unwrap().is_ours(&group));
    for (refused, reason) in [
        (
            (|group| {
                group
                    .settings
                    .insert("tags.elbow/installation".parse().unwrap(), "other".into());
            }) as fn(&mut ObservedGroup),
            Reason::NotOwned,
        ),
        (
            |group| {
                group
                    .settings
                    .insert("tags.elbv2.k8s.aws/cluster".parse().unwrap(), "east".into());
            },
            Reason::ManagedByLBC,
        ),
        (|group| group.identity.port = 81, Reason::TargetGroupMismatch),
    ] {
        let world = adopting(refused);
        assert_eq!(world.reason(), reason);
        assert!(world.plan().steps.is_empty());
        assert!(world.snapshot.as_ref().unwrap().ledger.is_none());
    }
}

#[derive(Clone, Debug)]
enum Event {
    Declare {
        path: bool,
        delay: u32,
        tag: bool,
        repair: bool,
    },
    Pass(Fate),
    Time(i64),
    /// Somebody makes a group of this name.
    Made,
    /// Somebody deletes it.
    Deleted,
    /// Somebody changes a setting and adds a tag.
    Changed(u32),
    End(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let fate = prop_oneof![
        Just(Fate::Answered),
        Just(Fate::AnswerLost),
        Just(Fate::CallLost),
        Just(Fate::Crash),
    ];
    let declare = (any::<bool>(), 0..3u32, any::<bool>(), any::<bool>());
    let declare = declare.prop_map(|(path, delay, tag, repair)| Event::Declare {
        path,
        delay,
        tag,
        repair,
    });
    let event = prop_oneof![
        3 => declare,
        8 => fate.prop_map(Event::Pass),
        3 => (1..20i64).prop_map(Event::Time),
        1 => Just(Event::Made),
        1 => Just(Event::Deleted),
        2 => (0..3u32).prop_map(Event::Changed),
        1 => any::<bool>().prop_map(Event::End),
    ];
    proptest::collection::vec(event, 5..40)
}

/// Plays a history. Nobody but somebody else changes what is theirs, and at the end there is nothing left to do.
fn play(events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new(spec(Some("/healthz"), Some(30), Some("shop"), false));
    for event in events {
        match event {
            Event::Declare {
                path,
                delay,
                tag,
                repair,
            } => {
                if let Some(stored) = world
                    .snapshot
                    .as_mut()
                    .filter(|stored| stored.definition.ending.is_none())
                {
                    let path = path.then_some("/healthz");
                    let tag = tag.then_some("shop");
                    stored.definition.spec.managed = spec(path, Some(*delay), tag, *repair);
                }
            }
            Event::Pass(fate) => {
                let foreign = world.aws.clone().filter(|group| !world.ours.contains(&group.arn));
                world.pass(*fate);
                if let Some(foreign) = foreign {
                    prop_assert_eq!(world.aws.as_ref(), Some(&foreign), "S7: it is somebody else's");
                }
            }
            Event::Time(seconds) => world.passes(*seconds),
            Event::Made => world.by_hand(),
            Event::Deleted => world.aws = None,
            Event::Changed(delay) => {
                if let Some(group) = &mut world.aws {
                    let changed = setting("attributes.deregistration_delay.timeout_seconds");
                    group.settings.insert(changed, delay.to_string());
                    group.settings.insert(setting("tags.by-hand"), "1".into());
                }
            }
            Event::End(delete) => {
                if let Some(stored) = &mut world.snapshot {
                    let ending = if *delete { Ending::Delete } else { Ending::Keep };
                    stored.definition.ending.get_or_insert(ending);
                }
            }
        }
    }
    world.settle();
    let Some(stored) = &world.snapshot else {
        let left = world.aws.as_ref();
        let bears = left.is_some_and(|group| group.tag(model::managed::INSTALLATION_TAG).is_some());
        prop_assert!(!bears, "it leaked, or bears our tags still");
        return Ok(());
    };
    let planned = world.plan();
    prop_assert!(planned.steps.is_empty(), "{planned:?}");
    if planned.status.ready.reason == Reason::Reconciled {
        let group = world.aws.as_ref().unwrap();
        prop_assert!(world.ours.contains(&group.arn));
        for (setting, value) in stored.definition.spec.managed.stated() {
            prop_assert_eq!(group.settings.get(&setting), Some(&value));
        }
    } else {
        let expected = [Reason::Drifted, Reason::NotOwned, Reason::TargetGroupNotFound];
        prop_assert!(expected.contains(&planned.status.ready.reason), "{planned:?}");
    }
    Ok(())
}

#[test]
fn no_history_touches_a_foreign_group_or_leaks_one_and_all_converge() {
    let count = histories(2_000);
    let (mut runner, seed) = runner(count);
    println!("{count} histories of a managed group, ELBOW_SEED={seed}");
    let result = runner.run(&events(), |events| play(&events));
    assert!(result.is_ok(), "ELBOW_SEED={seed}: {}", result.unwrap_err());
}
