//! S6: a binding turns to another Service, or to another port of its own. The pods of before live on, so that nothing
//! proves their end; whatever time health checks take, at no moment do fewer targets serve than the smaller of both sets.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use model::{cluster::Mode, fact::Evidence, plan::Step, target::HealthState};
use proptest::{collection::vec, prelude::*};

use crate::world::{Fate, Pod, World, key};

/// Longer than all waits together: the last health check, and the waves of what is let go then.
const LIMIT: i64 = 900;
/// How often is looked.
const STEP: i64 = 4;

fn pods(addresses: impl Iterator<Item = u8>) -> Vec<Pod> {
    addresses.map(|ip| Pod::new(ip, u128::from(ip))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn healthy_targets_are_never_fewer_than_the_smaller_of_both_sets(
        old in 1..12_u8,
        delays in vec(0..180_i64, 1..12),
        evidence in prop_oneof![Just(Evidence::None), Just(Evidence::NotSelected)],
        confirms in any::<bool>(),
    ) {
        let mut world = World::new();
        let cluster = world.cluster("alpha", Mode::Full);
        let binding = world.bind(cluster, "web");
        world.state(binding, &[pods(1..=old)], Evidence::None);
        world.settle();
        world.observe(SignedDuration::ZERO);
        world.first_health = HealthState::Initial;
        let new: BTreeMap<u8, i64> = (100..).zip(delays.iter().copied()).collect();
        world.state(binding, &[pods(new.keys().copied())], evidence);
        let floor = usize::from(old).min(new.len());
        for second in (0..LIMIT).step_by(usize::try_from(STEP).unwrap()) {
            for (ip, delay) in &new {
                if let Some(health) = world.aws.get_mut(&key(*ip))
                    && second >= *delay
                {
                    *health = HealthState::Healthy;
                }
            }
            if confirms {
                let now = world.now;
                world.binding(binding).facts.confirmed_at = Some(now);
            }
            let plan = world.plan();
            world.apply(&plan, Fate::Answered);
            let healthy = world.aws.values().filter(|health| **health == HealthState::Healthy).count();
            prop_assert!(healthy >= floor, "{healthy} of {floor} after {second} s: {plan:?}");
            if (1..=old).all(|ip| world.aws.get(&key(ip)) != Some(&HealthState::Healthy)) {
                break;
            }
            world.wait(SignedDuration::from_secs(STEP));
            world.observe(SignedDuration::ZERO);
        }
        let stays = |ip: &u8| world.aws.get(&key(*ip)) == Some(&HealthState::Healthy);
        let left: Vec<_> = (1..=old).filter(stays).collect();
        prop_assert!(left.is_empty(), "{left:?} never left: {:?}", world.plan());
        let registers = |step: &Step| matches!(step, Step::Register { .. });
        prop_assert!(!world.plan().steps.iter().any(registers));
    }
}

/// As where `externalTrafficPolicy: Local` makes most nodes fail their health checks for good.
#[test]
fn one_of_many_leaves_although_most_of_the_others_are_never_healthy() {
    let mut world = World::new();
    let cluster = world.cluster("alpha", Mode::Full);
    let binding = world.bind(cluster, "web");
    world.state(binding, &[pods(1..=10)], Evidence::None);
    world.settle();
    for ip in 4..=10 {
        world.aws.insert(key(ip), HealthState::Unhealthy);
    }
    world.observe(SignedDuration::ZERO);
    world.state(binding, &[pods(2..=10)], Evidence::NotSelected);
    world.settle();
    world.wait(SignedDuration::from_secs(6));
    world.settle();
    assert_eq!(world.aws[&key(1)], HealthState::Draining);
}
