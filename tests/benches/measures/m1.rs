//! M1 and M3: from a write of an EndpointSlice at the API server to the call that AWS receives.
//!
//! *Quiet*: 20 target groups in turn, one change each 350 ms: an endpoint that becomes ready, then one whose pod ends.
//! *Busy*: four additions and four removals of one group alone, at the same pace: each change meets a group that has just
//! made calls.

use std::time::Duration;

use sandbox::kubernetes::Options;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    figures::{self, Lbc, Times},
    slices::{Pod, Slices, address, name},
    world::{LATENCIES, World},
};

const GROUPS: u8 = 20;
const ROUNDS: u8 = 5;
/// Additions to the busy group, then as many removals.
const BUSY: u8 = 4;
const EVERY: Duration = Duration::from_millis(350);

/// LBC's times to register and to deregister with this latency of AWS.
fn lbc(latency: Duration) -> [Lbc; 2] {
    let of = |p50, p99| Lbc { p50, p99 };
    if latency.is_zero() {
        [of(13.0, 33.0), of(19.0, 35.0)]
    } else {
        [of(62.0, 509.0), of(61.0, 79.0)]
    }
}

pub(crate) async fn run() {
    let groups = (0..GROUPS).map(name).collect();
    let world = World::start(vec![(Options::api_only("bench"), groups)]).await;
    let stage = Stage::set(&world).await;
    let mut pods = 2..;
    for latency in LATENCIES {
        world.set_latency(latency);
        world.rest().await;
        let mut figures = Figures::default();
        for _ in 0..ROUNDS {
            stage.change_in_turn(pods.next().unwrap(), &mut figures).await;
        }
        figures.tell(&format!("{GROUPS} groups in turn"), latency);
        let mut figures = Figures::default();
        world.rest().await;
        for group in 0..ROUNDS {
            let pods: Vec<_> = pods.by_ref().take(BUSY.into()).collect();
            stage.change_one(group, &pods, &mut figures).await;
        }
        figures.tell(&format!("one busy group, {} changes in a row", 2 * BUSY), latency);
    }
}

#[derive(Default)]
struct Figures {
    registered: Vec<Duration>,
    deregistered: Vec<Duration>,
}

impl Figures {
    fn tell(self, groups: &str, latency: Duration) {
        let parameters = format!("{groups}, one change each {EVERY:?}, AWS {latency:?} a call");
        let [register, deregister] = lbc(latency);
        figures::times("M1 register", &parameters, &Times::of(self.registered), register);
        figures::times(
            "M3 deregister",
            &parameters,
            &Times::of(self.deregistered),
            deregister,
        );
    }
}

/// The API server's side. Pod 1 of each group is always ready.
struct Stage<'a> {
    world: &'a World,
    slices: Slices,
}

impl<'a> Stage<'a> {
    /// Registers the first pods, so that everything is connected, observed and warm.
    async fn set(world: &'a World) -> Self {
        let slices = Slices::new(&world.clusters[0].client);
        for group in 0..GROUPS {
            slices
                .create(&name(group), &[Pod::ready(address(group, 1))])
                .await;
        }
        world
            .registrations(0, |calls| calls.len() >= usize::from(GROUPS))
            .await;
        Self { world, slices }
    }

    /// Each group gets this pod, then it ends in each.
    async fn change_in_turn(&self, pod: u8, figures: &mut Figures) {
        let mut tick = ticks();
        for group in 0..GROUPS {
            tick.tick().await;
            figures.registered.push(self.register(group, &[], pod).await);
        }
        for group in 0..GROUPS {
            tick.tick().await;
            figures
                .deregistered
                .push(self.deregister(group, &[], pod, &[]).await);
        }
    }

    /// One group gets these pods, one after the other, then they end likewise.
    async fn change_one(&self, group: u8, pods: &[u8], figures: &mut Figures) {
        let mut tick = ticks();
        for (index, pod) in pods.iter().enumerate() {
            tick.tick().await;
            figures
                .registered
                .push(self.register(group, &pods[..index], *pod).await);
        }
        for (index, pod) in pods.iter().enumerate() {
            tick.tick().await;
            let (ended, left) = (&pods[..index], &pods[index + 1..]);
            figures
                .deregistered
                .push(self.deregister(group, ended, *pod, left).await);
        }
    }

    async fn register(&self, group: u8, before: &[u8], pod: u8) -> Duration {
        let ready = [1].iter().chain(before).chain([&pod]);
        let pods: Vec<_> = ready.map(|pod| Pod::ready(address(group, *pod))).collect();
        self.change(group, &pods, "RegisterTargets").await
    }

    async fn deregister(&self, group: u8, ended: &[u8], pod: u8, left: &[u8]) -> Duration {
        let ready = [1].iter().chain(left).map(|pod| Pod::ready(address(group, *pod)));
        let ending = ended
            .iter()
            .chain([&pod])
            .map(|pod| Pod::terminating(address(group, *pod)));
        let pods: Vec<_> = ready.chain(ending).collect();
        self.change(group, &pods, "DeregisterTargets").await
    }

    /// Writes the slice, and answers how long after that AWS received the call that follows.
    async fn change(&self, group: u8, pods: &[Pod], action: &str) -> Duration {
        let since = self.world.last_call();
        let begun = self.slices.replace(&name(group), pods).await;
        let arn = &self.world.clusters[0].groups[&name(group)];
        let received = self.world.call(since, action, arn).await.received;
        Duration::try_from(received.duration_since(begun)).unwrap_or_default()
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    // A change that took long leaves the next its distance.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
