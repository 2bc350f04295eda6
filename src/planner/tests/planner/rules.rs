//! Single rules, one world each.

use std::net::IpAddr;

use jiff::SignedDuration;
use model::{
    BindingId, ClusterId,
    node::{NodeReady, NodeSelector, Operator, Requirement},
};
use model::{
    Observed, TargetId, TargetKey,
    binding::Lifecycle,
    cluster::Mode,
    condition::{Problem, Reason, Truth},
    fact::{AddressFamily, Endpoint, Evidence, Protocol, ServicePort, SlicePort, Stated},
    ledger::LedgerState,
    plan::{HoldReason, Observe, Step, Why},
    target::{HealthState, TargetType, Zone},
    target_group::{IpAddressType, TargetGroupFacts},
};

use crate::world::{Fate, PORT, Pod, World, address, key};

/// One cluster in mode `full`, one binding, pods 1 to `pods`, all registered.
fn settled(pods: u8) -> (World, ClusterId, BindingId) {
    let mut world = World::new();
    let cluster = world.cluster("alpha", Mode::Full);
    let id = world.bind(cluster, "web");
    world.state(
        id,
        &[(1..=pods).map(|ip| Pod::new(ip, ip.into())).collect()],
        Evidence::None,
    );
    world.settle();
    (world, cluster, id)
}

fn facts(world: &mut World) -> &mut TargetGroupFacts {
    match &mut world.facts {
        Observed::Present { value, .. } => value,
        Observed::Unknown | Observed::Absent { .. } => panic!("the group is described"),
    }
}

fn registered(world: &World) -> Vec<TargetKey> {
    let plan = world.plan();
    let additions = plan.steps.into_iter().filter_map(|step| match step {
        Step::Register { targets } => Some(targets),
        _ => None,
    });
    additions.flatten().map(|addition| addition.target.key).collect()
}

fn reason(world: &World, id: BindingId) -> Reason {
    world.plan().statuses[&id].ready.reason
}

fn held(world: &World, reason: HoldReason) -> Vec<TargetKey> {
    let holds = world.plan().holds;
    holds
        .into_iter()
        .filter(|hold| hold.reason == reason)
        .flat_map(|hold| hold.removals)
        .collect()
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn a_binding_in_error_adds_nothing_keeps_what_it_has_and_says_why() {
    type Break = fn(&mut World, ClusterId, BindingId);
    let cases: [(Reason, Break); 16] = [
        (Reason::Invalid, |world, _, id| {
            world.binding(id).binding.problem = Some(Problem::new(Reason::Invalid, "wrong"));
        }),
        (Reason::ImmutableField, |world, _, id| {
            world.binding(id).binding.problem = Some(Problem::new(Reason::ImmutableField, "changed"));
        }),
        (Reason::Invalid, |world, _, id| {
            world.binding(id).binding.spec = None;
        }),
        (Reason::TargetGroupNotDeclared, |world, _, _| {
            world.declared = None;
        }),
        (Reason::ClusterNotAdmitted, |world, _, _| {
            world.declared.as_mut().unwrap().spec.clusters.clear();
        }),
        (Reason::TargetGroupNotFound, |world, _, _| {
            world.facts = Observed::Absent { at: world.now }
        }),
        (Reason::AwaitingAws, |world, _, _| world.facts = Observed::Unknown),
        (Reason::WrongShard, |world, cluster, _| {
            world.clusters.get_mut(&cluster).unwrap().cluster.spec.region = "us-east-1".parse().unwrap();
        }),
        (Reason::TargetTypeNotServed, |world, _, _| {
            facts(world).target_type = TargetType::Lambda;
        }),
        (Reason::AwaitingCluster, |world, _, _| {
            facts(world).target_type = TargetType::Instance;
        }),
        (Reason::Invalid, |world, _, id| {
            let spec = world.binding(id).binding.spec.as_mut();
            spec.unwrap().node_selector = Some(NodeSelector::default());
        }),
        (Reason::Invalid, |world, _, _| {
            facts(world).target_type = TargetType::Instance;
            facts(world).protocol = Some("TCP_QUIC".into());
        }),
        (Reason::TargetGroupMismatch, |world, _, id| {
            world.binding(id).binding.spec.as_mut().unwrap().target_type = Some(TargetType::Instance);
        }),
        (Reason::TargetGroupMismatch, |world, _, _| {
            facts(world).vpc = Some("vpc-0fffffff".into());
        }),
        (Reason::AwaitingCluster, |world, _, id| {
            world.binding(id).facts.service = Stated::Unknown;
        }),
        (Reason::AwaitingCluster, |world, _, id| {
            world.binding(id).facts.slices = Stated::Unknown;
        }),
    ];
    for (expected, break_it) in cases {
        let (mut world, cluster, id) = settled(2);
        world.state(id, &[vec![Pod::new(1, 1), Pod::new(3, 3)]], Evidence::PodGone);
        break_it(&mut world, cluster, id);
        world.wait(seconds(3600));
        let plan = world.plan();
        assert_eq!(plan.steps, [], "{expected}");
        let status = &plan.statuses[&id];
        assert_eq!(status.ready.reason, expected);
        assert_ne!(status.ready.status, Truth::True, "{expected}");
        assert!(
            status
                .ready
                .message
                .ends_with("2 targets still registered for it"),
            "{}",
            status.ready.message
        );
    }
}

#[test]
fn each_declared_field_is_held_against_what_aws_says() {
    type Set = fn(&mut model::binding::BindingSpec);
    let cases: [(&str, Set); 4] = [
        ("spec.targetType", |spec| {
            spec.target_type = Some(TargetType::Instance);
        }),
        ("spec.ipAddressType", |spec| {
            spec.ip_address_type = Some(IpAddressType::Ipv6);
        }),
        ("spec.targetGroupProtocol", |spec| {
            spec.protocol = Some("TCP".into());
        }),
        ("spec.vpcID", |spec| spec.vpc_id = Some("vpc-0fffffff".into())),
    ];
    for (field, set) in cases {
        let (mut world, _, id) = settled(1);
        set(world.binding(id).binding.spec.as_mut().unwrap());
        let ready = &world.plan().statuses[&id].ready;
        assert_eq!(ready.reason, Reason::TargetGroupMismatch);
        assert!(ready.message.starts_with(field), "{}", ready.message);
    }
}

#[test]
fn a_refusal_of_aws_is_told_to_the_binding_that_waits_for_it() {
    let (mut world, _, id) = settled(1);
    world.failure = Some(Problem::new(
        Reason::AccessDenied,
        "allow elasticloadbalancing:RegisterTargets",
    ));
    assert_eq!(reason(&world, id), Reason::Reconciled, "nothing waits for AWS");
    world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 2)]], Evidence::None);
    assert_eq!(reason(&world, id), Reason::AccessDenied);
    world.facts = Observed::Unknown;
    assert_eq!(reason(&world, id), Reason::AccessDenied);
}

#[test]
fn a_port_that_the_service_does_not_have_is_no_reason_to_empty_a_group_at_once() {
    let (mut world, _, id) = settled(4);
    world.binding(id).binding.spec.as_mut().unwrap().port = "metrics".parse().unwrap();
    assert_eq!(reason(&world, id), Reason::PortNotFound);
    assert_eq!(world.plan().steps, []);
    assert_eq!(held(&world, HoldReason::HoldDown).len(), 4);
}

#[test]
fn endpoints_are_matched_by_the_name_of_the_services_port() {
    let (mut world, _, id) = settled(0);
    let bound = world.binding(id);
    let Stated::Known(Some(service)) = &mut bound.facts.service else {
        panic!("stated")
    };
    service.ports = [("http", 80), ("admin", 81)]
        .map(|(name, port)| named_port(name, port, Protocol::Tcp))
        .to_vec();
    bound.binding.spec.as_mut().unwrap().port = "81".parse().unwrap();
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    slices[0].ports = vec![slice_port("http", 8080), slice_port("admin", 9090)];
    assert_eq!(registered(&world), [TargetKey::ip(address(1), 9090)]);
}

#[test]
fn a_number_used_for_tcp_and_udp_means_the_groups_protocol() {
    let (mut world, _, id) = settled(0);
    facts(&mut world).protocol = Some("UDP".into());
    let Stated::Known(Some(service)) = &mut world.binding(id).facts.service else {
        panic!("stated")
    };
    service.ports = vec![
        named_port("dns-tcp", 53, Protocol::Tcp),
        named_port("dns", 53, Protocol::Udp),
    ];
    world.binding(id).binding.spec.as_mut().unwrap().port = "53".parse().unwrap();
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    let udp = SlicePort {
        name: "dns".into(),
        port: Some(5353),
        protocol: Protocol::Udp,
    };
    slices[0].ports = vec![slice_port("dns-tcp", 5300), udp];
    assert_eq!(registered(&world), [TargetKey::ip(address(1), 5353)]);
}

fn named_port(name: &str, port: u16, protocol: Protocol) -> ServicePort {
    ServicePort {
        name: name.into(),
        port,
        protocol,
        node_port: None,
    }
}

fn slice_port(name: &str, port: u16) -> SlicePort {
    SlicePort {
        name: name.into(),
        port: Some(port),
        protocol: Protocol::Tcp,
    }
}

#[test]
fn absent_readiness_means_ready_and_an_endpoint_needs_no_pod() {
    let (mut world, _, id) = settled(0);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    slices[0].endpoints = vec![Endpoint {
        addresses: vec![address(7), address(8)],
        ready: None,
        serving: None,
        terminating: None,
        node: None,
        zone: None,
        pod: None,
    }];
    assert_eq!(registered(&world), [key(7), key(8)]);
}

#[test]
fn only_slices_of_the_groups_address_family_count() {
    let (mut world, _, id) = settled(0);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    for family in [AddressFamily::Ipv6, AddressFamily::Fqdn] {
        let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
            panic!("stated")
        };
        slices[0].family = family;
        assert_eq!(registered(&world), []);
    }
}

#[test]
fn a_group_of_ipv6_gets_the_addresses_of_ipv6_slices() {
    let (mut world, _, id) = settled(0);
    world.state(id, &[vec![Pod::new(1, 1)], vec![Pod::new(2, 2)]], Evidence::None);
    let six: IpAddr = "2001:db8::7".parse().unwrap();
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    slices[1].family = AddressFamily::Ipv6;
    slices[1].endpoints[0].addresses = vec![six];
    let facts = facts(&mut world);
    facts.ip_address_type = IpAddressType::Ipv6;
    facts.vpc_cidrs = Some(vec![
        "10.0.0.0/16".parse().unwrap(),
        "2001:db8::/56".parse().unwrap(),
    ]);
    let plan = world.plan();
    let [Step::Register { targets }] = &plan.steps[..] else {
        panic!("{plan:#?}")
    };
    let [addition] = &targets[..] else {
        panic!("{targets:#?}")
    };
    assert_eq!(addition.target.key.id, TargetId::Ip(six));
    assert_eq!(addition.target.zone, None, "it is inside of the VPC");
}

#[test]
fn a_slice_without_a_port_number_serves_nothing() {
    let (mut world, _, id) = settled(0);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    slices[0].ports[0].port = None;
    assert_eq!(registered(&world), []);
}

#[test]
fn aws_is_told_the_zone_of_an_address_outside_the_vpc_and_where_it_asked_for_it() {
    let named = || Some(Zone::Named("cn-north-1b".to_owned()));
    let (inside, outside) = (Some("10.0.0.0/16"), Some("10.1.0.0/16"));
    for (cidrs, asked_minutes_ago, zone) in [
        (outside, None, Some(Zone::All)),
        (inside, None, None),
        (inside, Some(59), named()),
        (inside, Some(60), None),
        (None, None, None),
        (None, Some(59), Some(Zone::All)),
    ] {
        let (mut world, _, id) = settled(0);
        facts(&mut world).vpc_cidrs = cidrs.map(|cidr: &str| vec![cidr.parse().unwrap()]);
        world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
        let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
            panic!("stated")
        };
        slices[0].endpoints[0].zone = Some("cn-north-1b".to_owned());
        world.zones_wanted = asked_minutes_ago.map(|ago| world.now - SignedDuration::from_mins(ago));
        let plan = world.plan();
        let [Step::Register { targets }] = &plan.steps[..] else {
            panic!("{plan:#?}")
        };
        assert_eq!(targets[0].target.zone, zone, "{cidrs:?}, {asked_minutes_ago:?}");
    }
}

#[test]
fn a_pod_that_ends_in_one_slice_is_not_ready_in_another() {
    let (mut world, _, id) = settled(2);
    let mut ends = Pod::new(2, 2);
    ends.terminating = true;
    world.state(
        id,
        &[vec![Pod::new(1, 1), Pod::new(2, 2)], vec![ends]],
        Evidence::None,
    );
    world.settle();
    assert_eq!(world.in_aws(), [key(1)].into());
}

#[test]
fn the_end_of_another_pod_proves_nothing() {
    let (mut world, _, id) = settled(2);
    let mut other = Pod::new(2, 99);
    other.terminating = true;
    world.state(id, &[vec![Pod::new(1, 1), other]], Evidence::None);
    assert_eq!(world.plan().steps, []);
    assert_eq!(held(&world, HoldReason::HoldDown), [key(2)]);
}

#[test]
fn old_targets_go_after_new_ones_are_registered() {
    let (mut world, _, id) = settled(3);
    world.state(id, &[vec![]], Evidence::NotSelected);
    world.apply(&world.plan(), Fate::Answered);
    world.wait(seconds(6));
    // The selector now means other pods, and the cluster has confirmed that the old ones are out.
    world.state(id, &[vec![Pod::new(7, 7), Pod::new(8, 8)]], Evidence::None);
    world.binding(id).facts.confirmed_at = Some(world.now);
    let plan = world.plan();
    assert!(
        matches!(&plan.steps[..], [Step::Register { .. }]),
        "{:#?}",
        plan.steps
    );
    world.apply(&plan, Fate::Answered);
    let plan = world.plan();
    assert!(
        matches!(&plan.steps[..], [Step::Deregister { .. }]),
        "{:#?}",
        plan.steps
    );
}

#[test]
fn a_full_group_makes_room_before_it_takes_the_new() {
    let (mut world, _, id) = settled(3);
    world.state(id, &[vec![]], Evidence::NotSelected);
    world.apply(&world.plan(), Fate::Answered);
    world.wait(seconds(6));
    world.state(id, &[vec![Pod::new(7, 7)]], Evidence::None);
    world.failure = Some(Problem::new(Reason::QuotaExceeded, "too many targets"));
    let plan = world.plan();
    assert!(
        matches!(&plan.steps[..], [Step::Deregister { .. }]),
        "{:#?}",
        plan.steps
    );
    world.apply(&plan, Fate::Answered);
    // Nothing more may go in this window, so the room is tried.
    assert_eq!(registered(&world), [key(7)]);
}

#[test]
fn a_proven_end_comes_before_registrations_and_a_deletion_after() {
    let (mut world, cluster, id) = settled(2);
    let other = world.bind(cluster, "api");
    world.state(other, &[vec![Pod::new(5, 5)]], Evidence::None);
    world.settle();
    world.state(id, &[vec![Pod::new(1, 1), Pod::new(6, 6)]], Evidence::PodGone);
    world.binding(other).binding.lifecycle = Lifecycle::Deleted { at: world.now };
    let plan = world.plan();
    let [
        Step::Deregister { targets: proven },
        Step::Register { .. },
        Step::Deregister { targets: deleted },
    ] = &plan.steps[..]
    else {
        panic!("{:#?}", plan.steps)
    };
    assert_eq!(
        (&proven[0].target.key, &deleted[0].target.key),
        (&key(2), &key(5))
    );
}

#[test]
fn what_aws_calls_unhealthy_goes_first() {
    let (mut world, _, id) = settled(4);
    world.state(id, &[vec![]], Evidence::None);
    world.apply(&world.plan(), Fate::Answered);
    world.aws.insert(key(3), HealthState::Unhealthy);
    world.wait(seconds(6));
    world.observe(SignedDuration::ZERO);
    let plan = world.plan();
    let [Step::Deregister { targets }] = &plan.steps[..] else {
        panic!("{:#?}", plan.steps)
    };
    assert_eq!(
        targets
            .iter()
            .map(|target| &target.target.key)
            .collect::<Vec<_>>(),
        [&key(3)]
    );
}

#[test]
fn a_confirmation_from_before_the_absence_confirms_nothing() {
    let (mut world, _, id) = settled(1);
    world.binding(id).facts.confirmed_at = Some(world.now);
    world.wait(seconds(1));
    world.state(id, &[vec![]], Evidence::None);
    world.apply(&world.plan(), Fate::Answered);
    world.wait(seconds(6));
    assert_eq!(held(&world, HoldReason::LastTarget), [key(1)]);
    world.binding(id).facts.confirmed_at = Some(world.now);
    world.wait(world.guards.confirmation_ttl + seconds(1));
    assert_eq!(
        held(&world, HoldReason::LastTarget),
        [key(1)],
        "nor does one that is too old"
    );
    world.binding(id).facts.confirmed_at = Some(world.now);
    assert_eq!(held(&world, HoldReason::LastTarget), []);
}

#[test]
fn a_release_counts_for_this_absence_and_for_its_time() {
    let (mut world, _, id) = settled(1);
    world.released.insert(key(1), world.now);
    world.wait(seconds(1));
    world.state(id, &[vec![]], Evidence::None);
    world.apply(&world.plan(), Fate::Answered);
    world.wait(seconds(6));
    assert_eq!(
        held(&world, HoldReason::LastTarget),
        [key(1)],
        "it was released before it was absent"
    );
    world.released.insert(key(1), world.now);
    world.wait(world.guards.release_ttl + seconds(1));
    assert_eq!(
        held(&world, HoldReason::LastTarget),
        [key(1)],
        "the release is too old"
    );
    world.released.insert(key(1), world.now);
    assert_eq!(held(&world, HoldReason::LastTarget), []);
}

#[test]
fn a_target_of_two_clusters_goes_only_as_the_stricter_mode_allows() {
    let mut world = World::new();
    let (alpha, beta) = (
        world.cluster("alpha", Mode::Full),
        world.cluster("beta", Mode::Full),
    );
    let (web, shop) = (world.bind(alpha, "web"), world.bind(beta, "shop"));
    for id in [web, shop] {
        world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 2)]], Evidence::None);
    }
    world.settle();
    for id in [web, shop] {
        world.state(id, &[vec![Pod::new(1, 1)]], Evidence::PodGone);
    }
    for (mode, reason) in [
        (Mode::AddOnly, HoldReason::ModeAddOnly),
        (Mode::Observe, HoldReason::ModeObserve),
    ] {
        world.set_mode(beta, mode);
        assert_eq!(held(&world, reason), [key(2)]);
        assert_eq!(world.plan().steps, []);
    }
    world.set_mode(beta, Mode::Full);
    world.settle();
    assert_eq!(world.in_aws(), [key(1)].into());
}

#[test]
fn a_binding_that_is_missing_from_the_input_has_not_let_go() {
    let (mut world, _, id) = settled(2);
    world.bindings.remove(&id);
    world.wait(seconds(3600));
    assert_eq!(world.plan().steps, []);
}

#[test]
fn an_empty_database_and_a_bound_group_are_observed_before_the_first_write() {
    let mut world = World::new();
    let cluster = world.cluster("alpha", Mode::Full);
    let id = world.bind(cluster, "web");
    world.targets = Observed::Unknown;
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    let plan = world.plan();
    assert_eq!((plan.steps.len(), plan.observe), (0, Some(Observe::First)));
    let nobody = World {
        bindings: [].into(),
        ..world
    };
    assert_eq!(
        nobody.plan().observe,
        None,
        "a group that nobody binds is not asked about"
    );
}

#[test]
fn a_successor_registers_at_once_in_a_group_that_has_targets_of_ours() {
    let (mut world, _, id) = settled(1);
    world.targets = Observed::Unknown;
    world.fenced_until = Some(world.now.checked_add(seconds(20)).unwrap());
    world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 2)]], Evidence::None);
    assert_eq!(registered(&world), [key(2)]);
}

#[test]
fn a_draining_target_of_somebody_else_is_registered_and_not_claimed() {
    let (mut world, _, id) = settled(0);
    world.aws.insert(key(1), HealthState::Draining);
    world.observe(SignedDuration::ZERO);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
    assert_eq!(registered(&world), [key(1)]);
}

#[test]
fn a_target_that_a_late_removal_takes_is_found_missing_and_registered_again() {
    let (mut world, _, id) = settled(2);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::PodGone);
    world.apply(&world.plan(), Fate::CallLost);
    world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 22)]], Evidence::None);
    world.settle();
    // Now the removal arrives.
    world.aws.insert(key(2), HealthState::Draining);
    let wake_at = world.plan().wake_at.expect("somebody looks again");
    world.wait(wake_at.duration_since(world.now));
    assert_eq!(world.plan().observe, Some(Observe::Verify));
    world.observe(SignedDuration::ZERO);
    assert_eq!(registered(&world), [key(2)]);
    world.settle();
    world.wait(SignedDuration::from_mins(10));
    assert_eq!(world.plan().observe, None, "once is enough");
}

#[test]
fn a_pod_that_returns_while_its_removal_is_under_way_is_registered_again() {
    for fate in [Fate::Answered, Fate::AnswerLost, Fate::CallLost, Fate::Crash] {
        let (mut world, _, id) = settled(2);
        world.state(id, &[vec![Pod::new(1, 1)]], Evidence::PodGone);
        world.apply(&world.plan(), fate);
        assert!(matches!(
            world.ledger[&key(2)].state,
            LedgerState::Deregistering | LedgerState::Deregistered
        ));
        world.state(id, &[vec![Pod::new(1, 1), Pod::new(2, 22)]], Evidence::None);
        assert_eq!(registered(&world), [key(2)], "{fate:?}");
        world.settle();
        assert_eq!(world.in_aws(), [key(1), key(2)].into(), "{fate:?}");
    }
}

#[test]
fn a_removal_that_a_late_call_undid_is_made_again() {
    let (mut world, _, id) = settled(2);
    world.state(id, &[vec![Pod::new(1, 1)]], Evidence::PodGone);
    world.settle();
    // A registration that was given up long ago arrives now.
    world.aws.insert(key(2), HealthState::Initial);
    world.wait(seconds(16));
    world.observe(SignedDuration::ZERO);
    world.settle();
    assert_eq!(world.in_aws(), [key(1)].into());
}

#[test]
fn a_group_that_was_deleted_is_not_written_to_and_its_deleted_bindings_end() {
    let (mut world, _, id) = settled(2);
    world.wait(seconds(60));
    world.facts = Observed::Absent { at: world.now };
    world.binding(id).binding.lifecycle = Lifecycle::Deleted { at: world.now };
    let plan = world.plan();
    assert_eq!(
        plan.steps,
        [Step::Forget {
            targets: vec![key(1), key(2)]
        }]
    );
}

#[test]
fn a_port_that_moves_is_a_new_target() {
    let (mut world, _, id) = settled(1);
    let Stated::Known(slices) = &mut world.binding(id).facts.slices else {
        panic!("stated")
    };
    slices[0].ports[0].port = Some(PORT + 1);
    let plan = world.plan();
    let [Step::Register { targets }] = &plan.steps[..] else {
        panic!("{:#?}", plan.steps)
    };
    assert_eq!(
        (targets[0].target.key.port, targets[0].why),
        (PORT + 1, Why::Wanted)
    );
}

#[test]
fn time_alone_changes_no_word_of_a_status_and_no_step() {
    let (mut world, _, _) = settled(3);
    let before = world.plan();
    world.wait(seconds(86_400));
    assert_eq!(world.plan(), before);
}

#[test]
fn a_plan_is_stored_and_read_back_as_it_is() {
    let (mut world, _, id) = settled(3);
    world.state(id, &[vec![Pod::new(9, 9)]], Evidence::None);
    let plan = world.plan();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<model::plan::Plan>(&text).unwrap(), plan);
}

/// What each change makes of a node that was a target.
#[test]
fn a_node_is_a_target_unless_its_labels_its_taints_or_its_state_say_otherwise() {
    type Change = fn(&mut model::node::Node);
    fn label(node: &mut model::node::Node, key: &str, value: &str) {
        node.labels.insert(key.into(), value.into());
    }
    fn taint(node: &mut model::node::Node, key: &str, effect: &str) {
        let (key, effect) = (key.into(), effect.into());
        node.taints.push(model::node::Taint { key, effect });
    }
    let cases: [(bool, Change); 17] = [
        (true, |_| {}),
        (true, |node| node.ready = NodeReady::Unknown),
        (false, |node| node.ready = NodeReady::False),
        (false, |node| node.ready = NodeReady::Absent),
        (true, |node| node.unschedulable = true),
        (false, |node| node.provider_id = None),
        (false, |node| {
            node.provider_id = Some("eks-hybrid:///eu-west-1/c/mi-0123456789abcdef0".into());
        }),
        (false, |node| label(node, "node-role.kubernetes.io/master", "")),
        (true, |node| {
            label(node, "node-role.kubernetes.io/control-plane", "");
        }),
        (false, |node| {
            label(
                node,
                "node.kubernetes.io/exclude-from-external-load-balancers",
                "false",
            );
        }),
        (false, |node| {
            label(
                node,
                "alpha.service-controller.kubernetes.io/exclude-balancer",
                "",
            );
        }),
        (false, |node| {
            label(node, "eks.amazonaws.com/compute-type", "fargate");
        }),
        (true, |node| label(node, "eks.amazonaws.com/compute-type", "ec2")),
        (false, |node| label(node, "pool", "db")),
        (false, |node| {
            taint(node, "ToBeDeletedByClusterAutoscaler", "NoSchedule");
        }),
        (false, |node| taint(node, "karpenter.sh/disrupted", "NoSchedule")),
        (true, |node| taint(node, "karpenter.sh/disrupted", "NoExecute")),
    ];
    for (index, (wanted, change)) in cases.into_iter().enumerate() {
        let mut world = World::of_instances();
        let cluster = world.cluster("alpha", Mode::Full);
        let id = world.bind(cluster, "web");
        let selector = NodeSelector(vec![Requirement {
            key: "pool".into(),
            operator: Operator::NotIn(vec!["db".into()]),
        }]);
        world.binding(id).binding.spec.as_mut().unwrap().node_selector = Some(selector);
        world.state(id, &[vec![Pod::new(1, 1)]], Evidence::None);
        let mut input = world.input();
        let nodes = std::sync::Arc::make_mut(&mut input.bindings[0].nodes);
        let Stated::Known(nodes) = &mut nodes.nodes else {
            panic!("the nodes are stated")
        };
        change(&mut nodes[0].node);
        let plan = planner::plan(&input);
        assert_eq!(
            plan.statuses[&id].desired,
            u32::from(wanted),
            "case {index}: {:?}",
            plan.statuses[&id]
        );
    }
}

/// An endpoint that is not ready on a node that nobody hears of counts as ready: AWS's health checks judge.
#[test]
fn an_endpoint_on_an_unheard_node_counts_as_ready() {
    for (node, wanted) in [(Some("quiet"), 1), (Some("other"), 0), (None, 0)] {
        let mut world = World::new();
        let cluster = world.cluster("alpha", Mode::Full);
        let id = world.bind(cluster, "web");
        let mut pod = Pod::new(1, 1);
        pod.ready = false;
        world.state(id, &[vec![pod]], Evidence::None);
        let bound = world.binding(id);
        if let Stated::Known(slices) = &mut bound.facts.slices {
            slices[0].endpoints[0].node = node.map(Into::into);
        }
        std::sync::Arc::make_mut(&mut bound.nodes)
            .unknown
            .insert("quiet".into());
        assert_eq!(world.plan().statuses[&id].desired, wanted, "{node:?}");
    }
}
