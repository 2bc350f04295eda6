//! What bindings need open, and what follows from it for a security group: single rules, and random histories.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use model::{
    BindingId, TargetId,
    binding::{IngressRule, Lifecycle, OpenPort, Peer},
    cluster::Mode,
    condition::{Reason, Truth},
    fact::{Evidence, Protocol, Stated},
    network::{
        Interface, Interfaces, Opening, Openings, Permission, PortRange, RuleState, SecurityGroup, Standing,
    },
    ownership,
    pause::{Pause, Scope},
    plan::{HoldReason, Observe, Step},
    rule_plan::{Authorization, RuleStep, WhyAuthorize, WhyRevoke},
};
use planner::network::{compute, places};
use proptest::prelude::*;

use crate::{
    histories::{histories, runner},
    rule_world::{RuleWorld, port, range, security_group},
    world::{Fate, PORT, Pod, World, address, arn},
};

fn authorizations(world: &RuleWorld) -> Vec<Authorization> {
    let steps = world.plan().steps.into_iter();
    steps
        .filter_map(|step| match step {
            RuleStep::Authorize { rules } => Some(rules),
            _ => None,
        })
        .flatten()
        .collect()
}

fn authorized(world: &RuleWorld) -> Vec<Permission> {
    authorizations(world)
        .into_iter()
        .map(|rule| rule.permission)
        .collect()
}

fn set(permissions: &[Permission]) -> BTreeSet<Permission> {
    permissions.iter().cloned().collect()
}

/// A world of one cluster in mode `full`.
fn full() -> (RuleWorld, model::ClusterId) {
    let mut world = RuleWorld::new();
    let cluster = world.cluster("alpha", Mode::Full);
    (world, cluster)
}

#[test]
fn what_is_needed_is_opened_exactly_and_closed_when_nobody_needs_it() {
    let (mut world, cluster) = full();
    world.by_hand(&port(22));
    world.open(cluster, 1, &[port(80), port(443)]);
    world.open(cluster, 2, &[port(443), port(9000)]);
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(22), port(80), port(443), port(9000)]));
    assert_eq!(world.plan().steps, []);

    world.open(cluster, 1, &[]);
    world.settle();
    assert_eq!(
        world.in_aws(),
        set(&[port(22), port(443), port(9000)]),
        "443 is still needed by the other binding"
    );
    world.open(cluster, 2, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(22)]));
    assert!(world.ledger.is_empty());
}

#[test]
fn nothing_is_written_before_aws_was_seen() {
    let (mut world, cluster) = full();
    world.observed = model::Observed::Unknown;
    world.open(cluster, 1, &[port(80)]);
    let plan = world.plan();
    assert_eq!((plan.steps, plan.observe), (Vec::new(), Some(Observe::First)));
    assert_eq!(plan.holds[0].reason, HoldReason::NotObserved);
}

#[test]
fn a_port_change_opens_before_it_closes() {
    let (mut world, cluster) = full();
    world.open(cluster, 1, &[port(80)]);
    world.settle();
    world.open(cluster, 1, &[port(81)]);
    let steps = world.plan().steps;
    assert!(
        matches!(&steps[..], [RuleStep::Authorize { .. }, RuleStep::Revoke { rules }] if rules[0].why == WhyRevoke::Unneeded),
        "{steps:?}"
    );
    world.apply(&world.plan(), Fate::CallLost);
    assert!(
        world.revoked.is_empty(),
        "what could not be opened keeps the old one open"
    );
}

#[test]
fn an_equal_rule_of_somebody_else_is_borrowed_and_made_when_it_goes() {
    let (mut world, cluster) = full();
    world.by_hand(&port(80));
    let binding = world.open(cluster, 1, &[port(80)]);
    world.observe(SignedDuration::ZERO);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    let lender = world.foreign().into_keys().next().unwrap();
    assert_eq!(plan.borrowed.keys().collect::<Vec<_>>(), [&lender]);
    let standing = &plan.standings[&binding];
    assert_eq!(standing.borrowed, BTreeSet::from([lender.clone()]));
    assert_eq!(standing.open, set(&[port(80)]));

    // The binding goes: the rule is not ours to take.
    let mut without = world.clone();
    without.open(cluster, 1, &[]);
    without.settle();
    assert_eq!(without.in_aws(), set(&[port(80)]));

    world.aws.clear();
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80)]));
    assert!(world.foreign().is_empty());
}

#[test]
fn ports_stay_exact_while_they_fit_and_become_the_narrowest_ranges_when_they_must() {
    let (mut world, cluster) = full();
    world.limit = 6;
    world.by_hand(&port(22));
    world.observe(SignedDuration::ZERO);
    world.open(cluster, 1, &[port(80), port(443), port(444)]);
    world.settle();
    assert_eq!(
        world.in_aws().len(),
        4,
        "3 exact ones and the foreign one leave 2 free"
    );

    let binding = world.open(cluster, 1, &[port(80), port(443), port(444), port(9000)]);
    let plan = world.plan();
    assert_eq!(plan.widened[0].rule, range(443, 444), "the gap that opens least");
    assert_eq!(plan.widened[0].stands_for, [port(443), port(444)]);
    world.settle();
    assert_eq!(
        world.in_aws(),
        set(&[port(22), port(80), range(443, 444), port(9000)])
    );
    assert!(
        world.revoked.iter().all(|(_, why)| *why == WhyRevoke::Replaced),
        "{:?}",
        world.revoked
    );
    let standing = &world.plan().standings[&binding];
    assert_eq!(standing.widened, set(&[range(443, 444)]));
    assert_eq!(standing.open.len(), 4);

    world.open(cluster, 1, &[port(443), port(444)]);
    world.settle();
    assert_eq!(
        world.in_aws(),
        set(&[port(22), port(443), port(444)]),
        "exact again once they fit"
    );
}

#[test]
fn ranges_never_join_what_different_peers_or_protocols_may_reach() {
    let (mut world, cluster) = full();
    world.limit = 5;
    let other = |ports: Permission| Permission {
        peer: Peer::Cidr("192.0.2.0/24".parse().unwrap()),
        ..ports
    };
    let udp = |ports: Permission| Permission {
        protocol: Protocol::Udp,
        ..ports
    };
    world.open(cluster, 1, &[port(80), port(90), other(port(81)), udp(port(82))]);
    world.settle();
    assert_eq!(
        world.in_aws(),
        set(&[range(80, 90), other(port(81)), udp(port(82))])
    );
}

#[test]
fn in_a_full_group_one_rule_gives_way_to_a_wider_one_and_the_plan_says_so() {
    let (mut world, cluster) = full();
    world.limit = 4;
    world.open(cluster, 1, &[port(80), port(81)]);
    world.settle();
    world.by_hand(&port(22));
    world.by_hand(&port(23));
    world.observe(SignedDuration::ZERO);
    world.open(cluster, 1, &[port(80), port(81), port(82)]);
    let plan = world.plan();
    let [
        RuleStep::Revoke { rules: revoked },
        RuleStep::Authorize { rules: made },
        ..,
    ] = &plan.steps[..]
    else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].why, WhyRevoke::MakesRoom);
    assert!(made[0].permission.covers(&revoked[0].permission), "{made:?}");
    let foreign = world.foreign();
    world.settle();
    assert_eq!(world.foreign(), foreign);
    let open = world.plan().standings.into_values().next().unwrap().open;
    assert_eq!(open, set(&[port(80), port(81), port(82)]));
}

#[test]
fn what_does_not_fit_at_all_is_refused_with_the_numbers_and_the_rest_is_opened() {
    let (mut world, cluster) = full();
    world.limit = 3;
    for other in [20, 21] {
        world.by_hand(&port(other));
    }
    world.observe(SignedDuration::ZERO);
    let peer = |last: u8| Permission {
        peer: Peer::SecurityGroup(security_group(last)),
        ..port(80)
    };
    let first = world.open(cluster, 1, &[peer(2)]);
    world.settle();
    let second = world.open(cluster, 2, &[peer(1)]);
    world.settle();
    let standings = world.plan().standings;
    assert_eq!(standings[&first].problem, None, "what is there stays");
    let problem = standings[&second].problem.clone().unwrap();
    assert_eq!(problem.reason, Reason::QuotaExceeded);
    for number in ["3 of at most 3", "2 of them made by others"] {
        assert!(problem.message.contains(number), "{problem}");
    }
}

#[test]
fn modes_are_respected() {
    let (mut world, cluster) = full();
    world.set_mode(cluster, Mode::Observe);
    world.open(cluster, 1, &[port(80)]);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.holds[0].reason, HoldReason::ModeObserve);

    world.set_mode(cluster, Mode::AddOnly);
    world.settle();
    world.open(cluster, 1, &[port(81)]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80), port(81)]));
    assert_eq!(world.plan().holds[0].reason, HoldReason::ModeAddOnly);
    // Also when the binding has gone altogether.
    world.open(cluster, 1, &[]);
    assert_eq!(world.plan().steps, []);
    world.clusters.clear();
    assert_eq!(world.plan().holds[0].reason, HoldReason::ClusterUnknown);
}

#[test]
fn a_rule_that_two_clusters_share_goes_only_when_both_modes_let_it() {
    let (mut world, alpha) = full();
    let beta = world.cluster("beta", Mode::AddOnly);
    world.open(alpha, 1, &[port(80)]);
    world.settle();
    world.open(beta, 2, &[port(80)]);
    world.settle();
    assert_eq!(world.ledger[&port(80)].clusters, BTreeSet::from([alpha, beta]));
    world.open(alpha, 1, &[]);
    world.settle();
    world.open(beta, 2, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80)]));
}

fn paused(scope: Scope) -> (Scope, Pause) {
    let pause = Pause {
        by: "mia".into(),
        reason: "maintenance".into(),
        since: crate::world::epoch(),
    };
    (scope, pause)
}

#[test]
fn what_is_paused_keeps_its_rules_and_gets_none_while_others_of_the_group_go_on() {
    let (mut world, cluster) = full();
    let held = world.open(cluster, 1, &[port(80), port(443)]);
    world.open(cluster, 2, &[port(443), port(9000)]);
    world.settle();
    let before = world.clone();
    world.pauses = vec![paused(Scope::Binding(held))];
    // It wants another port and 80 no more; the other one leaves 443 and 9000 for 9001.
    world.open(cluster, 1, &[port(443), port(81)]);
    world.open(cluster, 2, &[port(9001)]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80), port(443), port(9001)]));
    let holds = world.plan().holds;
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0].reason, HoldReason::Paused);
    assert_eq!(
        (&holds[0].revocations, &holds[0].authorizations),
        (&set(&[port(80)]), &set(&[port(81)]))
    );
    assert_eq!(
        (&*holds[0].pauses[0].by, &*holds[0].pauses[0].reason),
        ("mia", "maintenance")
    );
    assert_eq!(world.ledger[&port(443)].bindings, Some(BTreeSet::from([held])));

    // What both need is made for the one that is not paused, and stays when that one lets go: the other has it, too.
    world.open(cluster, 2, &[port(81)]);
    let made = authorizations(&world);
    assert_eq!(made[0].bindings.len(), 1);
    assert!(!made[0].bindings.contains(&held));
    world.settle();
    world.open(cluster, 2, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80), port(81), port(443)]));
    // It is deleted: so far nothing of it goes.
    world.open(cluster, 1, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80), port(81), port(443)]));
    world.pauses.clear();
    world.settle();
    assert_eq!(world.in_aws(), set(&[]));

    for scope in [
        Scope::Installation,
        Scope::Shard(arn().shard().clone()),
        Scope::Cluster(cluster),
    ] {
        let mut world = before.clone();
        world.pauses = vec![paused(scope.clone())];
        world.open(cluster, 1, &[port(443), port(81)]);
        world.open(cluster, 2, &[port(9001)]);
        world.settle();
        assert_eq!(world.in_aws(), before.in_aws(), "{scope:?}");
        assert_eq!(world.plan().holds[0].reason, HoldReason::Paused, "{scope:?}");
    }
}

#[test]
fn a_rule_of_which_nobody_wrote_down_whom_it_served_stays_while_anybody_of_the_group_is_paused() {
    let (mut world, cluster) = full();
    let other = world.open(cluster, 2, &[port(443)]);
    world.open(cluster, 1, &[port(80)]);
    world.settle();
    world.ledger.get_mut(&port(80)).unwrap().bindings = None;
    world.open(cluster, 1, &[]);
    world.pauses = vec![paused(Scope::Binding(other))];
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80), port(443)]));
    world.pauses.clear();
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(443)]));
}

#[test]
fn a_binding_that_somebody_else_has_now_keeps_its_rules_which_are_ours_no_more_when_it_is_deleted() {
    let (mut world, cluster) = full();
    let taken = world.open(cluster, 1, &[port(80), port(443)]);
    world.open(cluster, 2, &[port(443), port(9000)]);
    world.settle();
    let standing =
        |world: &mut RuleWorld, standing| world.openings.get_mut(&taken).unwrap().standing = standing;
    standing(&mut world, ownership::Standing::ManagedByLBC);
    // Nothing is made anew for it.
    world.aws.retain(|_, rule| rule.permission != port(80));
    world.wait(60);
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(443), port(9000)]));
    assert_eq!(world.plan().holds[0].reason, HoldReason::ManagedByLBC);

    world.openings.get_mut(&taken).unwrap().relinquished = true;
    world.settle();
    assert!(!world.openings.contains_key(&taken));
    assert_eq!(
        world.ledger.keys().collect::<Vec<_>>(),
        [&port(9000)],
        "443 is borrowed from now on"
    );
    world.open(cluster, 2, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(443)]));
}

#[test]
fn a_restored_database_and_a_writer_behind_its_fence_revoke_nothing() {
    let (mut world, cluster) = full();
    world.open(cluster, 1, &[port(80)]);
    world.settle();
    world.open(cluster, 1, &[]);
    world.restored = true;
    assert_eq!(world.plan().holds[0].reason, HoldReason::Restored);
    world.restored = false;
    world.fenced_until = Some(world.now.checked_add(SignedDuration::from_secs(5)).unwrap());
    assert_eq!(world.plan().holds[0].reason, HoldReason::Fencing);
    world.wait(6);
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.observe), (0, Some(Observe::First)));
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert!(world.in_aws().is_empty());
}

#[test]
fn a_lost_answer_is_found_again_by_the_tag_and_an_equal_rule_of_others_is_not_taken_for_it() {
    let (mut world, cluster) = full();
    world.open(cluster, 1, &[port(80)]);
    world.apply(&world.plan(), Fate::AnswerLost);
    assert_eq!(world.ledger[&port(80)].rule, None);
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert_eq!(world.ledger[&port(80)].rule.as_ref(), world.aws.keys().next());
    assert_eq!(world.ledger[&port(80)].state, RuleState::Authorized);

    let (mut world, cluster) = full();
    world.open(cluster, 1, &[port(80)]);
    world.apply(&world.plan(), Fate::CallLost);
    world.by_hand(&port(80));
    world.observe(SignedDuration::ZERO);
    world.open(cluster, 1, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80)]), "it was never ours");
}

#[test]
fn a_revocation_without_an_outcome_is_not_over_because_of_a_stale_answer() {
    let (mut world, cluster) = full();
    world.wait(1);
    world.open(cluster, 1, &[port(80)]);
    world.apply(&world.plan(), Fate::Answered);
    world.open(cluster, 1, &[]);
    world.wait(1);
    world.apply(&world.plan(), Fate::Crash);
    world.wait(1);
    // AWS answers with what it had before the rule was made.
    world.observe(SignedDuration::from_secs(3));
    let steps = world.plan().steps;
    assert!(
        !steps.iter().any(|step| matches!(step, RuleStep::Forget { .. })),
        "{steps:?}"
    );
    world.settle();
    assert_eq!(world.in_aws(), set(&[]));
}

#[test]
fn what_was_opened_for_an_add_only_cluster_stays_when_another_cluster_has_used_it() {
    let (mut world, alpha) = full();
    let beta = world.cluster("beta", Mode::AddOnly);
    world.open(beta, 1, &[port(80)]);
    world.settle();
    world.open(beta, 1, &[]);
    world.open(alpha, 2, &[port(80)]);
    world.settle();
    world.open(alpha, 2, &[]);
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80)]));
    assert_eq!(world.plan().holds[0].reason, HoldReason::ModeAddOnly);
}

#[test]
fn a_rule_that_vanishes_behind_our_back_is_made_again() {
    let (mut world, cluster) = full();
    world.open(cluster, 1, &[port(80)]);
    world.settle();
    world.aws.clear();
    world.wait(60);
    world.observe(SignedDuration::ZERO);
    let steps = world.plan().steps;
    assert!(
        matches!(&steps[..], [RuleStep::Authorize { rules }] if rules[0].why == WhyAuthorize::Drifted),
        "{steps:?}"
    );
    world.settle();
    assert_eq!(world.in_aws(), set(&[port(80)]));
}

#[test]
fn a_refusal_is_told_to_the_bindings_that_it_concerns_alone() {
    let (mut world, cluster) = full();
    let refused = world.open(cluster, 1, &[port(80)]);
    let other = world.open(cluster, 2, &[port(81)]);
    let denied =
        model::condition::Problem::new(Reason::AccessDenied, "grant `ec2:AuthorizeSecurityGroupIngress`");
    world.refused.insert(port(80), denied.clone());
    let standings = world.plan().standings;
    assert_eq!(standings[&refused].problem, Some(denied));
    assert_eq!(standings[&other].problem, None);
    assert_eq!(authorized(&world), [port(80), port(81)], "it is tried again");
}

// What bindings need open.

fn networking(peer: u8, port: Option<&str>) -> IngressRule {
    IngressRule {
        from: vec![Peer::SecurityGroup(security_group(peer))],
        ports: vec![OpenPort {
            protocol: Protocol::Tcp,
            port: port.map(|port| port.parse().unwrap()),
        }],
    }
}

/// One binding with `networking` on port 8080 and `pods`.
fn bound(pods: &[u8]) -> (World, BindingId) {
    let mut world = World::new();
    let cluster = world.cluster("alpha", Mode::Full);
    let id = world.bind(cluster, "web");
    world.binding(id).binding.spec.as_mut().unwrap().networking = vec![networking(0xee, Some("8080"))];
    let pods = pods.iter().map(|ip| Pod::new(*ip, u128::from(*ip))).collect();
    world.state(id, &[pods], Evidence::None);
    (world, id)
}

/// Every address is on an interface with these groups, each with or without the cluster's tag.
fn interfaces(world: &World, groups: &[(u8, bool)]) -> Interfaces {
    let groups: Vec<_> = groups
        .iter()
        .map(|(last, tagged)| SecurityGroup {
            id: security_group(*last),
            tags: tagged
                .then(|| ("kubernetes.io/cluster/alpha".to_owned(), "owned".to_owned()))
                .into_iter()
                .collect(),
        })
        .collect();
    let interface = Interface {
        id: "eni-1".into(),
        groups,
    };
    Interfaces {
        found: places(&world.input(), arn().shard())
            .into_iter()
            .map(|place| (place, Some(interface.clone())))
            .collect(),
        problem: None,
    }
}

/// Stores what was computed, as `store` does.
fn store(world: &mut World, id: BindingId, openings: &Openings, open: bool) {
    let now = world.now;
    world.binding(id).openings = openings
        .iter()
        .map(|(group, permissions)| {
            let standing = Standing {
                open: permissions.clone(),
                ..Standing::default()
            };
            let opening = Opening {
                permissions: permissions.clone(),
                changed_at: now,
                standing: open.then_some(standing),
            };
            (group.clone(), opening)
        })
        .collect();
}

fn computed(world: &World, id: BindingId, interfaces: &Interfaces) -> planner::network::Computed {
    compute(&world.input(), arn().shard(), interfaces)[&id].clone()
}

#[test]
fn openings_follow_the_interfaces_of_the_targets_and_equal_ones_are_not_news() {
    let (mut world, id) = bound(&[1, 2]);
    let seen = interfaces(&world, &[(1, false)]);
    let openings = computed(&world, id, &seen).openings.unwrap();
    assert_eq!(
        openings,
        Openings::from([(security_group(1), set(&[port(PORT)]))])
    );
    store(&mut world, id, &openings, true);
    assert_eq!(computed(&world, id, &seen).openings, None);
}

#[test]
fn of_several_groups_the_one_with_the_cluster_s_tag_counts_and_none_is_guessed() {
    let (world, id) = bound(&[1]);
    let seen = interfaces(&world, &[(1, false), (2, true)]);
    let openings = computed(&world, id, &seen).openings.unwrap();
    assert_eq!(openings.keys().collect::<Vec<_>>(), [&security_group(2)]);
    for ambiguous in [[(1, false), (2, false)], [(1, true), (2, true)]] {
        let told = computed(&world, id, &interfaces(&world, &ambiguous));
        assert_eq!(told.openings, None);
        let problem = told.problem.unwrap();
        assert_eq!(problem.reason, Reason::SecurityGroupNotChosen);
        assert!(
            problem.message.contains("kubernetes.io/cluster/alpha"),
            "{problem}"
        );
    }
}

#[test]
fn a_port_may_be_left_out_or_named_and_a_wrong_name_opens_nothing() {
    for (written, ports) in [
        (None, Some(PortRange::ALL)),
        (Some("9090"), Some(PortRange::single(9090))),
        (Some("http"), Some(PortRange::single(PORT))),
        (Some("nonsense"), None),
    ] {
        let (mut world, id) = bound(&[1]);
        world.binding(id).binding.spec.as_mut().unwrap().networking = vec![networking(0xee, written)];
        let told = computed(&world, id, &interfaces(&world, &[(1, false)]));
        if let Some(ports) = ports {
            let permission = Permission { ports, ..port(1) };
            assert_eq!(
                told.openings.unwrap()[&security_group(1)],
                BTreeSet::from([permission])
            );
        } else {
            assert_eq!(told.openings, None);
            let problem = told.problem.unwrap();
            assert_eq!(problem.reason, Reason::PortNotFound);
            assert_eq!(
                problem.field.as_deref(),
                Some("spec.networking.ingress[0].ports[0].port")
            );
        }
    }
}

#[test]
fn what_is_not_known_closes_nothing() {
    let (mut world, id) = bound(&[1, 2]);
    let seen = interfaces(&world, &[(1, false)]);
    let openings = computed(&world, id, &seen).openings.unwrap();
    store(&mut world, id, &openings, true);

    // AWS does not list the interfaces.
    let problem = model::condition::Problem::new(Reason::AccessDenied, "grant it");
    let denied = Interfaces {
        found: BTreeMap::new(),
        problem: Some(problem.clone()),
    };
    let told = computed(&world, id, &denied);
    assert_eq!((told.openings, told.problem), (None, Some(problem)));
    // It lists one that has none: the other's is known, and the first's may be elsewhere.
    let mut missing = seen.clone();
    for (place, interface) in &mut missing.found {
        if place.target == TargetId::Ip(address(2)) {
            *interface = None;
        }
    }
    let told = computed(&world, id, &missing);
    assert_eq!(told.openings, None);
    assert_eq!(told.problem.unwrap().reason, Reason::InterfaceNotFound);
    // The cluster's facts are not known, the binding is in error, or on its way out.
    let mut unknown = world.clone();
    unknown.binding(id).facts.slices = Stated::Unknown;
    assert_eq!(computed(&unknown, id, &Interfaces::default()).openings, None);
    let mut wrong = world.clone();
    wrong.binding(id).binding.problem = Some(model::condition::Problem::new(Reason::Invalid, "wrong"));
    assert_eq!(computed(&wrong, id, &Interfaces::default()).openings, None);
    world.binding(id).binding.lifecycle = Lifecycle::Deleted { at: world.now };
    assert_eq!(computed(&world, id, &Interfaces::default()).openings, None);
}

#[test]
fn an_address_of_a_prefix_is_looked_for_on_its_node_s_instance_and_a_node_that_was_not_stated_is_waited_for()
{
    let (mut world, id) = bound(&[1, 2]);
    let facts = &mut world.binding(id).facts;
    let Stated::Known(slices) = &mut facts.slices else {
        panic!("{facts:?}");
    };
    // One pod is on an instance, the other on a node that is none.
    for (endpoint, node) in slices[0].endpoints.iter_mut().zip(["worker", "fargate"]) {
        endpoint.node = Some(node.to_owned());
    }
    let state = |world: &mut World, hosts| {
        let nodes = model::node::NodeFacts {
            hosts,
            ..model::node::NodeFacts::default()
        };
        world.binding(id).nodes = std::sync::Arc::new(nodes);
    };
    let hosts = |hosts: &[(&str, Option<&str>)]| {
        let hosts = hosts
            .iter()
            .map(|(node, host)| ((*node).to_owned(), host.map(str::to_owned)));
        Stated::Known(hosts.collect())
    };
    let worker = ("worker", Some("i-0123456789abcdef0"));
    state(&mut world, hosts(&[worker, ("fargate", None)]));
    let asked: Vec<_> = places(&world.input(), arn().shard())
        .into_iter()
        .map(|place| place.host)
        .collect();
    assert_eq!(asked, [Some("i-0123456789abcdef0".to_owned()), None]);
    let mut seen = interfaces(&world, &[(1, false)]);
    assert!(computed(&world, id, &seen).openings.is_some());

    // That no interface has an address says something only once it is known where to look.
    for unstated in [Stated::Unknown, hosts(&[worker])] {
        state(&mut world, unstated);
        for place in places(&world.input(), arn().shard()) {
            let there = place.host.is_some() || place.target != TargetId::Ip(address(2));
            let interface = seen.found.values().next().unwrap().clone();
            seen.found.insert(place, interface.filter(|_| there));
        }
        let told = computed(&world, id, &seen);
        assert_eq!(told.problem.unwrap().reason, Reason::AwaitingCluster);
    }
    state(&mut world, hosts(&[worker, ("fargate", None)]));
    assert_eq!(
        computed(&world, id, &seen).problem.unwrap().reason,
        Reason::InterfaceNotFound
    );
}

#[test]
fn openings_stay_until_the_targets_that_needed_them_are_deregistered() {
    let (mut world, id) = bound(&[1]);
    let seen = interfaces(&world, &[(1, false)]);
    let openings = computed(&world, id, &seen).openings.unwrap();
    store(&mut world, id, &openings, true);
    world.settle();
    // The pod has gone without proof: its target stays for now, and its port with it.
    world.state(id, &[Vec::new()], Evidence::None);
    assert_eq!(computed(&world, id, &Interfaces::default()).openings, None);
    world.ledger.clear();
    assert_eq!(
        computed(&world, id, &Interfaces::default()).openings,
        Some(Openings::new())
    );
}

#[test]
fn new_targets_wait_for_their_ports_and_not_for_ever_and_registered_ones_are_left_alone() {
    let (mut world, id) = bound(&[1]);
    world.settle();
    let openings = Openings::from([(security_group(1), set(&[port(PORT)]))]);
    store(&mut world, id, &openings, false);
    world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 2)]], Evidence::None);
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.holds[0].reason, HoldReason::OpeningPending);
    assert_eq!(plan.wake_at, plan.holds[0].until);
    let registers =
        |world: &World| matches!(&world.plan().steps[..], [Step::Register { targets }] if targets.len() == 1);
    let mut late = world.clone();
    late.wait(world.guards.opening_wait);
    assert!(registers(&late), "AWS does not say anything about the rule");
    store(&mut world, id, &openings, true);
    assert!(registers(&world));
    let problem = Some(model::condition::Problem::new(Reason::QuotaExceeded, "60 of 60"));
    let group = world.binding(id).openings.get_mut(&security_group(1)).unwrap();
    group.standing = Some(Standing {
        problem,
        ..Standing::default()
    });
    assert!(registers(&world), "a refusal keeps no target out");
}

#[test]
fn the_condition_says_what_is_open_and_what_is_refused() {
    let (mut world, id) = bound(&[1]);
    let openings = Openings::from([(security_group(1), set(&[port(PORT)]))]);
    store(&mut world, id, &openings, true);
    world.settle();
    let ready = |world: &World| world.plan().statuses[&id].ready.clone();
    assert_eq!(
        ready(&world).message,
        format!(
            "1 of 1 target registered; 1 rule of {} is open",
            security_group(1)
        )
    );
    let problem = Some(model::condition::Problem::new(
        Reason::QuotaExceeded,
        "60 of 60 rules are taken",
    ));
    let group = world.binding(id).openings.get_mut(&security_group(1)).unwrap();
    group.standing = Some(Standing {
        problem,
        ..Standing::default()
    });
    let told = ready(&world);
    assert_eq!((told.status, told.reason), (Truth::False, Reason::QuotaExceeded));
    assert!(
        told.message
            .ends_with("0 of 1 rules of sg-0123456789abcde01 are open; 60 of 60 rules are taken"),
        "{told:?}"
    );
}

// Random histories.

#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(i64),
    Open {
        binding: u8,
        from: u16,
        count: u16,
    },
    Close {
        binding: u8,
    },
    ByHand(u16),
    /// Somebody takes away a rule of their own, or one of ours.
    Vanish(usize),
    Observe {
        stale: bool,
    },
    Pass(Fate),
    Mode {
        beta: bool,
        add_only: bool,
    },
    Restored(bool),
    Failover,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::CallLost),
        1 => Just(Fate::Crash),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (1_i64..40).prop_map(Event::Wait),
        4 => (0_u8..4, 80_u16..90, 1_u16..5).prop_map(|(binding, from, count)| Event::Open { binding, from, count }),
        1 => (0_u8..4).prop_map(|binding| Event::Close { binding }),
        2 => (80_u16..95).prop_map(Event::ByHand),
        1 => any::<usize>().prop_map(Event::Vanish),
        3 => any::<bool>().prop_map(|stale| Event::Observe { stale }),
        6 => fates().prop_map(Event::Pass),
        1 => any::<(bool, bool)>().prop_map(|(beta, add_only)| Event::Mode { beta, add_only }),
        1 => any::<bool>().prop_map(Event::Restored),
        1 => Just(Event::Failover),
    ];
    proptest::collection::vec(event, 10..60)
}

/// Plays a history. Returns how many changes of rules were made in it.
fn play(events: &[Event], limit: usize) -> Result<usize, TestCaseError> {
    let mut world = RuleWorld::new();
    world.limit = limit;
    let clusters = [
        world.cluster("alpha", Mode::Full),
        world.cluster("beta", Mode::Full),
    ];
    let mut changes = 0;
    for event in events {
        match *event {
            Event::Wait(seconds) => world.wait(seconds),
            Event::Open { binding, from, count } => {
                let ports: Vec<_> = (from..from + count).map(port).collect();
                world.open(clusters[usize::from(binding % 2)], binding, &ports);
            }
            Event::Close { binding } => drop(world.open(clusters[usize::from(binding % 2)], binding, &[])),
            Event::ByHand(number) => world.by_hand(&port(number)),
            Event::Vanish(index) => {
                if let Some(id) = world.aws.keys().nth(index % world.aws.len().max(1)).cloned() {
                    world.aws.remove(&id);
                }
            }
            Event::Observe { stale } => {
                let stale = if stale {
                    world.guards.consistency_grace
                } else {
                    SignedDuration::ZERO
                };
                world.observe(stale);
            }
            Event::Pass(fate) => changes += pass(&mut world, fate)?,
            Event::Mode { beta, add_only } => {
                let mode = if add_only { Mode::AddOnly } else { Mode::Full };
                world.set_mode(clusters[usize::from(beta)], mode);
            }
            Event::Restored(restored) => world.restored = restored,
            Event::Failover => {
                world.observed = model::Observed::Unknown;
                world.fenced_until = Some(world.now.checked_add(SignedDuration::from_secs(5)).unwrap());
            }
        }
    }
    // Once everything is calm, exactly what is needed is open.
    for cluster in clusters {
        world.set_mode(cluster, Mode::Full);
    }
    world.restored = false;
    world.wait(120);
    world.observe(SignedDuration::ZERO);
    let foreign = world.foreign();
    world.settle();
    prop_assert_eq!(world.foreign(), foreign, "S7: foreign rules are as they were");
    let needed: BTreeSet<_> = world
        .openings
        .values()
        .flat_map(|opening| &opening.permissions)
        .collect();
    for rule in world.aws.values().filter(|rule| rule.ours) {
        prop_assert!(
            needed.iter().any(|each| rule.permission.covers(each)),
            "leaked: {:?}",
            rule
        );
    }
    let told = world.plan().standings;
    for opening in world.openings.values() {
        let standing = &told[&opening.binding];
        let all_open = standing.open == opening.permissions;
        prop_assert!(
            all_open || standing.problem.is_some(),
            "neither open nor told: {:?}",
            standing
        );
        prop_assert!(
            all_open || world.aws.len() + 1 >= limit,
            "{:?} with room left",
            standing
        );
    }
    Ok(changes)
}

/// Plans and applies once, and checks what must hold at every write.
fn pass(world: &mut RuleWorld, fate: Fate) -> Result<usize, TestCaseError> {
    let plan = world.plan();
    let foreign = world.foreign();
    let (served_before, vanished) = (served(world), vanished(world));
    for step in &plan.steps {
        if let RuleStep::Revoke { rules } = step {
            prop_assert!(!world.restored, "S1: a restored database revokes nothing");
            for rule in rules {
                let row = world.ledger.get(&rule.permission);
                prop_assert!(row.is_some(), "S7: {} is not ours", rule.permission);
                for cluster in &row.unwrap().clusters {
                    prop_assert_eq!(world.clusters[cluster].spec.mode, Mode::Full, "S12: {:?}", rule);
                }
            }
        }
    }
    let disruptive = world.revoked.len();
    world.apply(&plan, fate);
    prop_assert_eq!(world.foreign(), foreign, "S7: foreign rules are as they were");
    let makes_room = world.revoked[disruptive..]
        .iter()
        .any(|(_, why)| *why == WhyRevoke::MakesRoom);
    if !makes_room {
        let served = served(world);
        let lost = served_before.difference(&served);
        let lost: Vec<_> = lost
            .filter(|permission| !vanished.iter().any(|rule| rule.covers(permission)))
            .cloned()
            .collect();
        prop_assert_eq!(
            lost,
            Vec::new(),
            "a permission that is needed was open and is closed"
        );
    }
    let changes = plan.steps.iter().map(|step| match step {
        RuleStep::Authorize { rules } => rules.len(),
        RuleStep::Revoke { rules } => rules.len(),
        RuleStep::Forget { .. }
        | RuleStep::Confirm { .. }
        | RuleStep::Share { .. }
        | RuleStep::Relinquish { .. } => 0,
    });
    Ok(changes.sum())
}

/// Permissions of rules that were taken away behind our back and were not missed yet.
fn vanished(world: &RuleWorld) -> Vec<Permission> {
    let seen = world.observed.present().into_iter().flatten();
    let seen = seen.filter_map(|rule| Some((rule.id.clone(), rule.permission.clone()?)));
    let authorized = world
        .ledger
        .values()
        .filter(|row| row.state == RuleState::Authorized);
    let ours = authorized.filter_map(|row| Some((row.rule.clone()?, row.permission.clone())));
    seen.chain(ours)
        .filter(|(id, _)| !world.aws.contains_key(id))
        .map(|(_, permission)| permission)
        .collect()
}

/// Needed permissions that AWS lets in.
fn served(world: &RuleWorld) -> BTreeSet<Permission> {
    let needed = world.openings.values().flat_map(|opening| &opening.permissions);
    needed
        .filter(|permission| world.aws.values().any(|rule| rule.permission.covers(permission)))
        .cloned()
        .collect()
}

#[test]
fn whatever_happens_foreign_rules_stay_and_what_is_needed_is_open() {
    let cases = histories(1_000);
    let (mut runner, seed) = runner(cases);
    let changes = std::cell::Cell::new(0);
    let histories = (events(), 4_usize..20);
    let judged = runner.run(&histories, |(events, limit)| {
        changes.set(changes.get() + play(&events, limit)?);
        Ok(())
    });
    println!(
        "S7, S12 (rules): seed {seed}, {cases} histories, {} changes of rules",
        changes.get()
    );
    judged.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(changes.get() >= 1_000, "only {} changes", changes.get());
}
