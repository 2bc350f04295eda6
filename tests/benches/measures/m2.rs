//! M2: many target groups change at once, more than the bucket has calls for.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use sandbox::kubernetes::Options;

use crate::{
    figures::{self, Times},
    slices::{Pod, Slices, address, name},
    world::{LATENCIES, World},
};

const GROUPS: u8 = 200;
/// Writes under way at once.
const WRITERS: usize = 8;

fn pods(group: u8, count: u8) -> Vec<Pod> {
    (1..=count).map(|pod| Pod::ready(address(group, pod))).collect()
}

pub(crate) async fn run() {
    let groups = (0..GROUPS).map(name).collect();
    let world = World::start(vec![(Options::api_only("bench"), groups)]).await;
    let slices = Slices::new(&world.clusters[0].client);
    for group in 0..GROUPS {
        slices.create(&name(group), &pods(group, 1)).await;
    }
    world
        .registrations(0, |calls| calls.len() >= usize::from(GROUPS))
        .await;
    for (count, latency) in (2..).zip(LATENCIES) {
        world.set_latency(latency);
        world.rest().await;
        let since = world.last_call();
        let begun: BTreeMap<_, _> = stream::iter(0..GROUPS)
            .map(async |group| {
                (
                    name(group),
                    slices.replace(&name(group), &pods(group, count)).await,
                )
            })
            .buffer_unordered(WRITERS)
            .collect()
            .await;
        let calls = world
            .registrations(since, |calls| calls.len() >= usize::from(GROUPS))
            .await;
        let times = begun.iter().map(|(name, begun)| {
            let arn = &world.clusters[0].groups[name];
            let mut of_group = calls
                .iter()
                .filter(|call| call.param("TargetGroupArn") == Some(arn));
            let received = of_group
                .next()
                .unwrap_or_else(|| panic!("no call for {name}"))
                .received;
            Duration::try_from(received.duration_since(*begun)).unwrap_or_default()
        });
        let times = Times::of(times.collect());
        let bound = 1150.0 * (f64::from(GROUPS) - 20.0) / 4.0 + 1000.0;
        let throttled = calls.iter().filter(|call| call.is_throttled()).count();
        let parameters = format!(
            "{GROUPS} groups at once, AWS {latency:?} a call; mark 1.15 × (groups − 20) ÷ 4 s + 1 s = {bound:.0} ms, \
             p99 ÷ mark {:.2}, {throttled} throttled",
            times.at(99) / bound
        );
        figures::times("M2 register under load", &parameters, &times, None);
    }
}
