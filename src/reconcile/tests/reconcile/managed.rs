//! Managed target groups by the real loops: whatever goes wrong with a call that makes, changes or deletes one, and
//! whenever the loops are killed, AWS ends with exactly what is declared, once, and with somebody else's as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use awssim::{Drift, Fault, FaultRule, JournalFilter, TargetGroupState};
use model::{
    Name,
    condition::Reason,
    managed::{DefinitionSpec, Ending, GroupState, GroupStep, INSTALLATION_TAG, Settings, TARGET_GROUP_TAG},
    target_group::TargetGroupSpec,
};
use sandbox::{Progress, Wait, fixture, postgres::Postgres, wait_until};
use serde_json::{Value, json};
use store::DeclaredGroup;

use crate::world::{Pace, World};

const LIMIT: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(1);
const PACE: Pace = Pace {
    lease: Duration::from_secs(2),
    attempt: TIMEOUT,
    sweep: Duration::from_millis(500),
    observe_every: Duration::from_millis(500),
    consistency_grace: GRACE,
};
/// Every call by which a managed group changes AWS.
const MUTATING: [&str; 6] = [
    "AddTags",
    "CreateTargetGroup",
    "DeleteTargetGroup",
    "ModifyTargetGroup",
    "ModifyTargetGroupAttributes",
    "RemoveTags",
];

/// The call that a step makes. It does not compile for a step that nobody has thought of.
fn call(step: &GroupStep) -> Option<&'static str> {
    match step {
        GroupStep::Create { .. } => Some("CreateTargetGroup"),
        GroupStep::Modify { .. } => Some("ModifyTargetGroup"),
        GroupStep::SetAttributes { .. } => Some("ModifyTargetGroupAttributes"),
        GroupStep::Adopt { .. } | GroupStep::Tag { .. } => Some("AddTags"),
        GroupStep::Untag { .. } | GroupStep::Release { .. } => Some("RemoveTags"),
        GroupStep::Delete { .. } => Some("DeleteTargetGroup"),
        GroupStep::Confirm { .. } | GroupStep::Note { .. } | GroupStep::Forget => None,
    }
}

fn faults() -> Vec<Fault> {
    let refused = |code: &str| Fault::Error {
        code: code.to_owned(),
        message: String::new(),
        status: 400,
    };
    vec![
        refused("TooManyTargetGroups"),
        refused("ResourceInUse"),
        Fault::Throttle,
        Fault::Http500,
        Fault::AppliedThenTimeout { hold: None },
        Fault::TimeoutNotApplied { hold: None },
        Fault::LateApply { after: TIMEOUT * 2 },
        Fault::DroppedConnection { applied: true },
        Fault::DroppedConnection { applied: false },
        Fault::AccessDenied,
        Fault::ExpiredToken,
        Fault::StaleReads { age: GRACE / 2 },
    ]
}

fn name() -> Name {
    "web".parse().expect("a name")
}

fn spec(change: impl FnOnce(&mut Value)) -> Result<DefinitionSpec> {
    let mut text = json!({
        "account": fixture::ACCOUNT, "region": fixture::REGION, "vpcId": fixture::VPC, "name": "shop-web",
        "targetType": "ip", "deletionProtection": false, "protocol": "HTTP", "port": 80,
        "healthCheck": {"path": "/healthz", "intervalSeconds": 10},
        "attributes": {"deregistrationDelaySeconds": 30},
        "tags": {"team": "shop", "old": "1"},
    });
    change(&mut text);
    let settings: Settings = serde_json::from_value(text)?;
    Ok(DefinitionSpec {
        managed: settings
            .try_into()
            .map_err(|problem| anyhow::anyhow!("{problem}"))?,
        arn: None,
        clusters: vec!["alpha".parse()?],
        grants: Vec::new(),
    })
}

/// Changes every kind of thing that can change.
fn changed() -> Result<DefinitionSpec> {
    spec(|text| {
        text["healthCheck"] = json!({"path": "/ready", "intervalSeconds": 10, "healthyThreshold": 3});
        text["attributes"] = json!({"deregistrationDelaySeconds": 60});
        text["tags"] = json!({"team": "shop", "new": "2"});
    })
}

fn groups(world: &World, aws_name: &str) -> Vec<TargetGroupState> {
    let all = world.aws.handle().target_groups().into_iter();
    all.filter(|group| group.name == aws_name).collect()
}

/// Everything of these groups but the health of their targets, which time changes.
fn shape(groups: &[TargetGroupState]) -> Vec<String> {
    let one = |group: &TargetGroupState| {
        let TargetGroupState {
            arn,
            name,
            load_balancer_arns,
            health_check,
            attributes,
            tags,
            targets,
        } = group;
        let targets: Vec<_> = targets.iter().map(|target| (&target.id, target.port)).collect();
        format!("{arn} {name} {load_balancer_arns:?} {health_check:?} {attributes:?} {tags:?} {targets:?}")
    };
    groups.iter().map(one).collect()
}

async fn declare(world: &World, spec: &DefinitionSpec) -> Result<()> {
    world.store.put_managed_group("test", &name(), spec, None).await?;
    Ok(())
}

async fn declared(world: &World) -> Result<Option<DeclaredGroup>, Wait> {
    world.store.declared_group(&name()).await.map_err(Wait::not_yet)
}

/// Waits until AWS has the group once, as it is declared and with our tags, and says so.
async fn settles(world: &World, spec: &DefinitionSpec) -> Result<TargetGroupState> {
    let shard = spec.managed.shard();
    let stored = world.store.managed_group(&shard, &name()).await?;
    let installation = stored.context("it is declared")?.installation.to_string();
    let check = &spec.managed.health_check;
    let mut tags = spec.managed.tags.clone();
    tags.insert(INSTALLATION_TAG.to_owned(), installation);
    tags.insert(TARGET_GROUP_TAG.to_owned(), name().to_string());
    let delay = spec.managed.attributes.deregistration_delay_seconds;
    let mut found = None;
    wait_until(LIMIT, "the group", &Progress::silent(), async || {
        let all = groups(world, &spec.managed.name);
        let told = declared(world).await?;
        let settled = told.as_ref().is_some_and(|group| {
            let managed = group.managed.as_ref();
            let status = managed.and_then(|managed| managed.status.as_ref());
            group.arn.as_ref().map(ToString::to_string) == all.first().map(|group| group.arn.clone())
                && managed.is_some_and(|managed| managed.state == Some(GroupState::Present))
                && status.is_some_and(|status| status.ready.reason == Reason::Reconciled)
        });
        let [group] = &all[..] else {
            return Err(Wait::not_yet(format!("AWS has {all:?}, told is {told:?}")));
        };
        let as_declared = group.health_check.path == check.path
            && Some(group.health_check.interval_seconds) == check.interval_seconds.map(u32::from)
            && group.attributes.get("deregistration_delay.timeout_seconds")
                == delay.map(|delay| delay.to_string()).as_ref()
            && group.tags == tags;
        if !settled || !as_declared {
            return Err(Wait::not_yet(format!("AWS has {group:?}, told is {told:?}")));
        }
        found = Some(group.clone());
        Ok(())
    })
    .await?;
    found.context("it was found")
}

async fn is_gone(world: &World, aws_name: &str) -> Result<()> {
    wait_until(LIMIT, "the end", &Progress::silent(), async || {
        let (all, told) = (groups(world, aws_name), declared(world).await?);
        if all.is_empty() && told.is_none() {
            Ok(())
        } else {
            Err(Wait::not_yet(format!("AWS has {all:?}, told is {told:?}")))
        }
    })
    .await?;
    Ok(())
}

/// Waits for a status of this reason.
async fn tells(world: &World, reason: Reason) -> Result<String> {
    let mut message = String::new();
    wait_until(LIMIT, "the status", &Progress::silent(), async || {
        let told = declared(world).await?;
        let status = told
            .and_then(|group| group.managed)
            .and_then(|managed| managed.status);
        match &status {
            Some(status) if status.ready.reason == reason => {
                message.clone_from(&status.ready.message);
                Ok(())
            }
            _ => Err(Wait::not_yet(format!("told is {status:?}"))),
        }
    })
    .await?;
    Ok(message)
}

#[test]
fn the_matrix_has_every_call() {
    let arn = || {
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/1ce5b7da835c9ffb"
            .parse()
            .unwrap()
    };
    let (settings, keys) = (BTreeMap::new, BTreeSet::new);
    let steps = [
        GroupStep::Create { settings: settings() },
        GroupStep::Confirm { arn: arn() },
        GroupStep::Adopt {
            arn: arn(),
            settings: settings(),
        },
        GroupStep::Modify {
            arn: arn(),
            settings: settings(),
        },
        GroupStep::SetAttributes {
            arn: arn(),
            settings: settings(),
        },
        GroupStep::Tag {
            arn: arn(),
            settings: settings(),
        },
        GroupStep::Untag {
            arn: arn(),
            keys: keys(),
        },
        GroupStep::Note {
            settings: settings(),
            dropped: keys(),
        },
        GroupStep::Delete { arn: arn() },
        GroupStep::Release {
            arn: arn(),
            keys: keys(),
        },
        GroupStep::Forget,
    ];
    let calls: BTreeSet<_> = steps.iter().filter_map(call).collect();
    assert_eq!(calls, MUTATING.into(), "a call is not played");
    assert!(steps.iter().all(|step| step.writes_aws() == call(step).is_some()));
}

/// What is done to a group in its life, and the calls that follow from each.
const LIFE: [(Part, &[&str]); 3] = [
    (Part::Made, &["CreateTargetGroup", "ModifyTargetGroupAttributes"]),
    (
        Part::Changed,
        &[
            "ModifyTargetGroup",
            "ModifyTargetGroupAttributes",
            "AddTags",
            "RemoveTags",
        ],
    ),
    (Part::Deleted, &["DeleteTargetGroup"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Made,
    Changed,
    Deleted,
}

impl Part {
    async fn begin(self, world: &World) -> Result<()> {
        match self {
            Self::Made => declare(world, &spec(|_| ())?).await,
            Self::Changed => declare(world, &changed()?).await,
            Self::Deleted => {
                let (store, name) = (&world.store, name());
                Ok(store
                    .end_managed_group("test", &name, Ending::Delete, None, false)
                    .await?)
            }
        }
    }

    async fn settles(self, world: &World) -> Result<Option<String>> {
        let arn = match self {
            Self::Made => Some(settles(world, &spec(|_| ())?).await?.arn),
            Self::Changed => Some(settles(world, &changed()?).await?.arn),
            Self::Deleted => {
                is_gone(world, "shop-web").await?;
                None
            }
        };
        Ok(arn)
    }
}

/// The whole life of a group: made, changed in every way, deleted. `meanwhile`: what happens once a part has begun.
async fn live(
    world: &mut World,
    meanwhile: impl AsyncFn(&mut World, &[u64]) -> Result<()>,
    fault: &Fault,
    all: bool,
) -> Result<()> {
    let foreign = world.aws.handle().target_groups();
    let mut arns = BTreeSet::new();
    for (part, calls) in LIFE {
        let faults = calls.iter().map(|call| FaultRule::on(call, fault.clone()).nth(1));
        let faults: Vec<_> = faults
            .filter(|_| all)
            .map(|rule| world.aws.handle().add_fault(rule))
            .collect();
        part.begin(world).await?;
        meanwhile(world, &faults)
            .await
            .with_context(|| format!("{part:?}"))?;
        arns.extend(part.settles(world).await.with_context(|| format!("{part:?}"))?);
        let fired = world.aws.handle().faults();
        for id in faults {
            let happened = fired.iter().any(|status| status.id == id && status.fired > 0);
            ensure!(happened, "a fault never happened");
        }
    }
    ensure!(arns.len() == 1, "it was made more than once: {arns:?}");
    let left = world.aws.handle().target_groups();
    ensure!(
        shape(&left) == shape(&foreign),
        "what is somebody else's is not as it was"
    );
    for entry in world.aws.handle().journal(&JournalFilter::default()).entries {
        let known = MUTATING.contains(&entry.action.as_str()) || entry.action.starts_with("Describe");
        ensure!(
            known,
            "{} changes AWS and is missing from the matrix",
            entry.action
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_call_the_end_is_the_same() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let cases = faults().into_iter().map(|fault| {
        let case = format!("{fault:?}");
        let postgres = &postgres;
        async move { Box::pin(play(postgres, fault)).await.with_context(|| case) }
    });
    futures::future::try_join_all(cases).await?;
    Ok(())
}

async fn play(postgres: &Postgres, fault: Fault) -> Result<()> {
    let mut world = World::start(postgres, PACE).await?;
    let stale = matches!(fault, Fault::StaleReads { .. });
    if stale {
        for action in [
            "DescribeTargetGroups",
            "DescribeTags",
            "DescribeTargetGroupAttributes",
        ] {
            world.aws.handle().add_fault(FaultRule::on(action, fault.clone()));
        }
    }
    live(&mut world, async |_, _| Ok(()), &fault, !stale).await?;
    world.stop().await;
    Ok(())
}

/// Where the loops are killed: the call has no effect, nobody heard of it, or it arrives after its sender's death.
fn points() -> [Fault; 3] {
    [
        Fault::TimeoutNotApplied { hold: None },
        Fault::AppliedThenTimeout { hold: None },
        Fault::LateApply {
            after: Duration::from_millis(75),
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_call_the_loops_leak_nothing_and_make_nothing_twice() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let cases = points().into_iter().map(|point| {
        let case = format!("{point:?}");
        let postgres = &postgres;
        async move { Box::pin(die(postgres, point)).await.with_context(|| case) }
    });
    futures::future::try_join_all(cases).await?;
    Ok(())
}

async fn die(postgres: &Postgres, point: Fault) -> Result<()> {
    let pace = Pace {
        lease: Duration::from_millis(600),
        attempt: Duration::from_millis(150),
        sweep: Duration::from_millis(200),
        ..PACE
    };
    let mut world = World::start(postgres, pace).await?;
    let killing = async |world: &mut World, faults: &[u64]| {
        for id in faults {
            wait_until(LIMIT, "the call", &Progress::silent(), async || {
                let faults = world.aws.handle().faults();
                let fired = faults.iter().any(|status| status.id == *id && status.fired > 0);
                fired.then_some(()).ok_or_else(|| Wait::not_yet("no call"))
            })
            .await?;
            world.kill();
            world.launch().await?;
        }
        Ok(())
    };
    live(&mut world, killing, &point, true).await?;
    world.stop().await;
    Ok(())
}

/// A group that somebody made by hand, with targets of theirs.
fn by_hand(world: &World, tags: &Value) -> Result<TargetGroupState> {
    let fixture = json!({
        "account": fixture::ACCOUNT, "region": fixture::REGION,
        "target_groups": [{
            "name": "shop-web", "vpc": fixture::VPC, "port": 80, "target_type": "ip", "tags": tags,
            "targets": [{"id": "192.168.60.60", "port": 80}],
        }],
    });
    let made = world.aws.handle().load(&serde_json::from_value(fixture)?)?;
    ensure!(made.target_groups.len() == 1, "one was made");
    groups(world, "shop-web").pop().context("it is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_the_same_name_without_our_tags_is_refused_and_never_touched() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    // With the same settings as are declared: AWS would call a second creation a success.
    for tags in [
        json!({}),
        json!({"elbow/installation": "00000000-0000-0000-0000-000000000001"}),
    ] {
        let mut world = World::prepare(&postgres, PACE).await?;
        let foreign = by_hand(&world, &tags)?;
        declare(&world, &spec(|text| text["healthCheck"] = json!({}))?).await?;
        world.launch().await?;
        let told = tells(&world, Reason::NotOwned).await?;
        ensure!(
            told.contains(&foreign.arn) && told.contains("another name"),
            "{told}"
        );
        world
            .store
            .end_managed_group("test", &name(), Ending::Delete, None, false)
            .await?;
        ensure!(
            declared(&world).await.ok() == Some(None),
            "there is nothing of ours to wait for"
        );
        let last = world.aws.handle().journal(&JournalFilter::default()).entries;
        ensure!(
            last.iter().all(|entry| entry.action.starts_with("Describe")),
            "{last:?}"
        );
        ensure!(shape(&groups(&world, "shop-web")) == shape(&[foreign]));
        world.stop().await;
    }
    Ok(())
}

/// As whoever is told `NotOwned` does: delete the declaration and declare it with another name in AWS, or the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_anew_is_looked_at_and_told_of_anew() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    // Neither a sweep nor age makes anybody look again.
    let pace = Pace {
        sweep: Duration::from_mins(10),
        observe_every: Duration::from_mins(10),
        ..PACE
    };
    let mut world = World::prepare(&postgres, pace).await?;
    by_hand(&world, &json!({}))?;
    world.launch().await?;
    for _ in 0..2 {
        declare(&world, &spec(|_| {})?).await?;
        tells(&world, Reason::NotOwned).await?;
        world
            .store
            .end_managed_group("test", &name(), Ending::Keep, None, false)
            .await?;
    }
    let other = spec(|text| text["name"] = json!("shop-other"))?;
    declare(&world, &other).await?;
    settles(&world, &other).await?;
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_taken_over_and_given_up_by_its_tags_alone() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let mut world = World::prepare(&postgres, PACE).await?;
    let before = by_hand(&world, &json!({"owner": "somebody"}))?;
    let arn: model::TargetGroupArn = before.arn.parse()?;
    let external = TargetGroupSpec {
        arn: arn.clone(),
        clusters: vec!["alpha".parse()?],
        grants: Vec::new(),
    };
    world
        .store
        .put_target_group("test", &name(), &external, None)
        .await?;
    world.launch().await?;
    let mut adopting = spec(|_| ())?;
    adopting.arn = Some(arn.clone());
    declare(&world, &adopting).await?;
    // What it has otherwise is told and stays.
    let told = tells(&world, Reason::Drifted).await?;
    ensure!(
        told.contains("healthCheck.path is `/` and not `/healthz`"),
        "{told}"
    );
    let ours = groups(&world, "shop-web").pop().context("it is there")?;
    ensure!(
        ours.tags.contains_key(INSTALLATION_TAG) && ours.tags["owner"] == "somebody",
        "{ours:?}"
    );
    ensure!(ours.health_check == before.health_check && ours.attributes == before.attributes);
    let calls = |world: &World| {
        let entries = world.aws.handle().journal(&JournalFilter::default()).entries;
        let writes = entries.into_iter().map(|entry| entry.action);
        writes
            .filter(|action| !action.starts_with("Describe"))
            .collect::<Vec<_>>()
    };
    ensure!(calls(&world) == ["AddTags"], "{:?}", calls(&world));

    world
        .store
        .release_managed_group("test", &name(), &external, None, false)
        .await?;
    wait_until(LIMIT, "its release", &Progress::silent(), async || {
        let told = declared(&world).await?;
        match told {
            Some(group) if group.managed.is_none() && group.arn.as_ref() == Some(&arn) => Ok(()),
            told => Err(Wait::not_yet(format!("{told:?}"))),
        }
    })
    .await?;
    ensure!(calls(&world) == ["AddTags", "RemoveTags"], "{:?}", calls(&world));
    ensure!(shape(&groups(&world, "shop-web")) == shape(&[before]));
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_is_told_and_set_back_only_where_that_is_declared() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let world = World::start(&postgres, PACE).await?;
    let report = spec(|_| ())?;
    declare(&world, &report).await?;
    let group = settles(&world, &report).await?;
    world.aws.handle().drift(&Drift::ModifyTargetGroup {
        target_group_arn: group.arn.clone(),
        attributes: [("deregistration_delay.timeout_seconds".to_owned(), "0".to_owned())].into(),
        tags: [("by-hand".to_owned(), Some("1".to_owned()))].into(),
    })?;
    let told = tells(&world, Reason::Drifted).await?;
    ensure!(
        told.contains("attributes.deregistration_delay.timeout_seconds is `0` and not `30`")
            && !told.contains("by-hand"),
        "{told}"
    );
    let before = world.aws.handle().journal(&JournalFilter::default()).next;
    declare(&world, &spec(|text| text["drift"] = json!("repair"))?).await?;
    tells(&world, Reason::Reconciled).await?;
    let since = JournalFilter {
        since: before,
        ..JournalFilter::default()
    };
    let writes = world.aws.handle().journal(&since).entries.into_iter();
    let writes: Vec<_> = writes
        .map(|entry| entry.action)
        .filter(|action| !action.starts_with("Describe"))
        .collect();
    ensure!(writes == ["ModifyTargetGroupAttributes"], "{writes:?}");
    let group = groups(&world, "shop-web").pop().context("it is there")?;
    ensure!(group.attributes["deregistration_delay.timeout_seconds"] == "30");
    ensure!(group.tags["by-hand"] == "1", "a foreign tag went");

    // Without our tags it is not ours any more: nothing of it is changed or deleted.
    let tags = [(INSTALLATION_TAG.to_owned(), None)].into();
    world.aws.handle().drift(&Drift::ModifyTargetGroup {
        target_group_arn: group.arn.clone(),
        attributes: [("deregistration_delay.timeout_seconds".to_owned(), "0".to_owned())].into(),
        tags,
    })?;
    tells(&world, Reason::NotOwned).await?;
    let group = groups(&world, "shop-web").pop().context("it is there")?;
    ensure!(group.attributes["deregistration_delay.timeout_seconds"] == "0");
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_while_somebody_uses_it_and_nothing_made_by_hand_again() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let world = World::start(&postgres, PACE).await?;
    let wanted = spec(|_| ())?;
    declare(&world, &wanted).await?;
    let group = settles(&world, &wanted).await?;
    let foreign = awssim::TargetSpec::new("192.168.60.60", 80);
    world.aws.handle().drift(&Drift::AddTargets {
        target_group_arn: group.arn.clone(),
        targets: vec![foreign.clone()],
    })?;
    world
        .store
        .end_managed_group("test", &name(), Ending::Delete, None, false)
        .await?;
    let told = tells(&world, Reason::Held).await?;
    ensure!(told.contains("NotEmpty"), "{told}");
    world.aws.handle().drift(&Drift::RemoveTargets {
        target_group_arn: group.arn,
        targets: vec![foreign],
    })?;
    is_gone(&world, "shop-web").await?;

    declare(&world, &wanted).await?;
    let group = settles(&world, &wanted).await?;
    world.aws.handle().drift(&Drift::DeleteTargetGroup {
        target_group_arn: group.arn,
    })?;
    let told = tells(&world, Reason::TargetGroupNotFound).await?;
    ensure!(told.contains("declare it anew"), "{told}");
    ensure!(groups(&world, "shop-web").is_empty(), "it was made again unasked");
    world
        .store
        .end_managed_group("test", &name(), Ending::Delete, None, false)
        .await?;
    is_gone(&world, "shop-web").await?;
    world.stop().await;
    Ok(())
}
