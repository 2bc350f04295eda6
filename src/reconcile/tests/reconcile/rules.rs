//! Security-group rules by the real loops: whatever goes wrong with a call that makes or ends one, the group ends with
//! exactly the rules that are needed and with somebody else's as it was, and the ledger has ours with their ids.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use awssim::{Drift, Fault, FaultRule, JournalFilter, Place, SecurityGroupRuleState};
use model::{
    binding::{IngressRule, OpenPort, Peer, PortRef},
    fact::Protocol,
    network::RuleState,
    pause::Scope,
    plan::HoldReason,
    rule_plan::RuleStep,
};
use sandbox::{Progress, Wait, fixture, postgres::Postgres, wait_until};
use store::BindingFilter;

use crate::world::{Pace, World};

const LIMIT: Duration = Duration::from_mins(2);
const TIMEOUT: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(1);

fn pace() -> Pace {
    Pace {
        lease: Duration::from_secs(4),
        attempt: TIMEOUT,
        sweep: Duration::from_secs(1),
        observe_every: Duration::from_secs(2),
        consistency_grace: GRACE,
    }
}

/// Every fault that a call that changes rules, or a read after it, can meet.
fn faults() -> Vec<Fault> {
    let refused = |code: &str| Fault::Error {
        code: code.to_owned(),
        message: String::new(),
        status: 400,
    };
    vec![
        refused("RulesPerSecurityGroupLimitExceeded"),
        refused("InvalidPermission.Duplicate"),
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

/// The call that a step makes. It does not compile for a step that nobody has thought of.
fn call(step: &RuleStep) -> Option<&'static str> {
    match step {
        RuleStep::Authorize { .. } => Some("AuthorizeSecurityGroupIngress"),
        RuleStep::Revoke { .. } => Some("RevokeSecurityGroupIngress"),
        RuleStep::Forget { .. }
        | RuleStep::Confirm { .. }
        | RuleStep::Share { .. }
        | RuleStep::Relinquish { .. } => None,
    }
}

fn home() -> Place {
    Place::new(fixture::ACCOUNT, fixture::REGION)
}

/// Two ports, for the load balancers' security group.
pub(crate) fn networking() -> Vec<IngressRule> {
    let port = |port| OpenPort {
        protocol: Protocol::Tcp,
        port: Some(PortRef::Number(port)),
    };
    let peer = fixture::ALB_SECURITY_GROUP.parse().expect("a security group");
    vec![IngressRule {
        from: vec![Peer::SecurityGroup(peer)],
        ports: vec![port(80), port(81)],
    }]
}

/// The rules that let something in.
pub(crate) fn rules(world: &World) -> Result<Vec<SecurityGroupRuleState>, sandbox::Error> {
    let rules = world
        .aws
        .handle()
        .security_group_rules(&home(), fixture::NODE_SECURITY_GROUP)
        .map_err(|error| sandbox::Error::Aws(error.to_string()))?;
    Ok(rules.into_iter().filter(|rule| !rule.egress).collect())
}

/// A rule that somebody made.
fn by_hand(world: &World) -> Result<SecurityGroupRuleState> {
    world.aws.handle().drift(&Drift::AuthorizeRule {
        account: fixture::ACCOUNT.into(),
        region: fixture::REGION.into(),
        security_group_id: fixture::NODE_SECURITY_GROUP.into(),
        protocol: "tcp".into(),
        from_port: 22,
        to_port: 22,
        peer: "10.0.0.0/8".into(),
    })?;
    rules(world)?.pop().context("the rule that was made")
}

/// Waits until AWS has exactly these ports of ours beside the foreign rule, and the ledger just these, with their ids.
async fn settles(world: &World, foreign: &SecurityGroupRuleState, ports: &[i32]) -> Result<()> {
    let group = fixture::NODE_SECURITY_GROUP.parse()?;
    wait_until(LIMIT, "the rules", &Progress::silent(), async || {
        let all = rules(world).map_err(Wait::Never)?;
        let ours: Vec<_> = all.iter().filter(|rule| rule.id != foreign.id).collect();
        let open: BTreeSet<_> = ours.iter().map(|rule| rule.ports).collect();
        let tagged = ours
            .iter()
            .all(|rule| rule.tags.get("kubernetes.io/cluster/alpha").map(String::as_str) == Some("owned"));
        let ledger = world.store.ledger_rules(&group).await.map_err(Wait::not_yet)?;
        let listed: BTreeSet<_> = ledger.iter().filter_map(|row| row.rule.clone()).collect();
        let ids: BTreeSet<_> = ours.iter().filter_map(|rule| rule.id.parse().ok()).collect();
        let settled = ledger.iter().all(|row| row.state == RuleState::Authorized);
        let wanted: BTreeSet<_> = ports.iter().map(|port| Some((*port, *port))).collect();
        if open == wanted && tagged && settled && listed == ids && all.contains(foreign) {
            Ok(())
        } else {
            Err(Wait::not_yet(format!("AWS has {all:?}, the ledger {ledger:?}")))
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_rule_the_end_is_the_same() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let cases = faults().into_iter().map(|fault| {
        let case = format!("{fault:?}");
        let postgres = &postgres;
        async move { play(postgres, fault).await.with_context(|| case) }
    });
    futures::future::try_join_all(cases).await?;
    Ok(())
}

async fn play(postgres: &Postgres, fault: Fault) -> Result<()> {
    let stale = matches!(fault, Fault::StaleReads { .. });
    let on = |action: &str| {
        if stale {
            FaultRule::on("DescribeSecurityGroupRules", fault.clone())
        } else {
            FaultRule::on(action, fault.clone()).nth(1)
        }
    };
    let [authorize, revoke] = [
        RuleStep::Authorize { rules: Vec::new() },
        RuleStep::Revoke { rules: Vec::new() },
    ]
    .map(|step| call(&step).expect("it writes"));
    let mut world = World::prepare_open(postgres, pace(), networking()).await?;
    let foreign = by_hand(&world)?;
    let making = world.aws.handle().add_fault(on(authorize));
    world.launch().await?;
    world.state(&[1, 2], &[], &[]).await?;
    settles(&world, &foreign, &[80, 81]).await.context(authorize)?;
    world.settles("targets", &[1, 2], LIMIT).await?;
    // Reads are stale all the time already.
    let ending = (!stale).then(|| world.aws.handle().add_fault(on(revoke)));
    world.unbind().await?;
    settles(&world, &foreign, &[]).await.context(revoke)?;
    world.settles("no targets", &[], LIMIT).await?;
    for id in [making].into_iter().chain(ending) {
        let fired = world.aws.handle().faults();
        anyhow::ensure!(
            fired.iter().any(|status| status.id == id && status.fired > 0),
            "a fault never happened"
        );
    }
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_open_before_targets_come_and_one_more_target_costs_no_call() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    let slow = Pace {
        sweep: Duration::from_secs(30),
        observe_every: Duration::from_mins(2),
        ..pace()
    };
    let mut world = World::prepare_open(&postgres, slow, networking()).await?;
    let foreign = by_hand(&world)?;
    world.launch().await?;
    world.state(&[1], &[], &[]).await?;
    settles(&world, &foreign, &[80, 81]).await?;
    world.settles("one target", &[1], LIMIT).await?;
    let entries = world.aws.handle().journal(&JournalFilter::default()).entries;
    let position = |action: &str| entries.iter().position(|entry| entry.action == action);
    let (opened, registered) = (
        position("AuthorizeSecurityGroupIngress"),
        position("RegisterTargets"),
    );
    anyhow::ensure!(
        opened.is_some() && opened < registered,
        "{opened:?} {registered:?}"
    );

    let before = entries.len();
    world.state(&[1, 2], &[], &[]).await?;
    world.settles("two targets", &[1, 2], LIMIT).await?;
    let entries = world.aws.handle().journal(&JournalFilter::default()).entries;
    let since: Vec<_> = entries[before..]
        .iter()
        .map(|entry| entry.action.as_str())
        .collect();
    let of_ec2 = since
        .iter()
        .filter(|action| action.contains("Network") || action.contains("SecurityGroup"));
    anyhow::ensure!(of_ec2.count() == 0, "{since:?}");
    world.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_rules_until_it_ends_and_each_write_can_be_found_in_aws_s_own_records() -> Result<()> {
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    // Far apart: what is seen here was woken.
    let slow = Pace {
        sweep: Duration::from_mins(5),
        observe_every: Duration::from_mins(5),
        ..pace()
    };
    let mut world = World::prepare_open(&postgres, slow, networking()).await?;
    let foreign = by_hand(&world)?;
    let bindings = world.store.bindings(&BindingFilter::default(), None, 10).await?;
    let binding = Scope::Binding(bindings[0].binding.id);
    world.store.pause("mia", &binding, "it", "maintenance").await?;
    world.launch().await?;
    world.state(&[1], &[], &[]).await?;
    let group = fixture::NODE_SECURITY_GROUP.parse()?;
    wait_until(LIMIT, "the hold", &Progress::silent(), async || {
        let states = world
            .store
            .security_group_states(None, 10)
            .await
            .map_err(Wait::not_yet)?;
        let outlook = states
            .iter()
            .find(|state| state.id == group)
            .and_then(|state| state.outlook.as_ref());
        let held = outlook.into_iter().flat_map(|plan| &plan.holds);
        let paused = held.filter(|hold| hold.reason == HoldReason::Paused && hold.pauses[0].by == "mia");
        match paused.map(|hold| hold.authorizations.len()).sum() {
            2_usize => Ok(()),
            _ => Err(Wait::not_yet(format!("{states:?}"))),
        }
    })
    .await?;
    anyhow::ensure!(rules(&world)?.as_slice() == std::slice::from_ref(&foreign));

    world.store.resume("mia", &binding, "it").await?;
    settles(&world, &foreign, &[80, 81]).await?;
    wait_until(
        LIMIT,
        "the ids of all requests",
        &Progress::silent(),
        async || {
            let plans = world
                .store
                .rule_plans(&group, None, 50)
                .await
                .map_err(Wait::not_yet)?;
            let told: BTreeSet<_> = plans
                .iter()
                .filter_map(|plan| plan.outcome.as_ref()?.as_array())
                .flatten()
                .flat_map(|entry| entry["requests"].as_array().into_iter().flatten())
                .filter_map(|request| request["requestId"].as_str().map(str::to_owned))
                .collect();
            let journal = world.aws.handle().journal(&JournalFilter::default());
            let written: BTreeSet<_> = journal
                .entries
                .iter()
                .filter(|entry| entry.action == "AuthorizeSecurityGroupIngress")
                .map(|entry| entry.request_id.clone())
                .collect();
            if told == written && !told.is_empty() {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("{told:?} of {written:?}")))
            }
        },
    )
    .await?;
    world.stop().await;
    Ok(())
}
