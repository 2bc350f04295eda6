//! M4 and M5: what rolling restarts cost in calls, and how long changes wait. The Deployments are restarted at once, with
//! 25 % surge; their pods are played by kwok, and everything else is Kubernetes' own. AWS's buckets are on.

use std::{collections::BTreeSet, time::Duration};

use awssim::Entry;
use k8s_openapi::jiff::Timestamp;
use sandbox::{
    Progress, Wait, elbow, fixture,
    kubernetes::{Node, Options},
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    changes::{self, Change, Changes},
    figures::{self, Lbc, Times},
    world::{LATENCIES, LIMIT, World},
};

/// Of the pods' termination: so long that no address is given again in the same restart.
const GRACE: Duration = Duration::from_secs(30);
/// Each cluster has a /19 of the VPC, a /24 for the pods of each node.
const NODES: usize = 16;

/// What is restarted.
#[derive(Clone, Copy)]
struct Fleet {
    clusters: u8,
    /// Deployments of a cluster, each with a target group of its own.
    groups: usize,
    /// Pods of a Deployment.
    pods: usize,
}

/// What a restart took.
struct Taken {
    /// In order of time.
    changes: Vec<Change>,
    calls: Vec<Entry>,
}

/// One Deployment of 200 pods.
pub(crate) async fn m4() {
    let fleet = Fleet {
        clusters: 1,
        groups: 1,
        pods: 200,
    };
    let stage = Stage::set(fleet).await;
    for latency in LATENCIES {
        stage.world.set_latency(latency);
        stage.world.rest().await;
        let taken = stage.restart().await;
        let parameters = stage.parameters(&taken, latency);
        let (calls, changes) = (taken.registrations().count(), taken.changes.len());
        let (lbc, lbc_throttled, lbc_reads) = (0.275, 9, 98);
        let ratio = figures::ratio(calls, changes);
        figures::tell(
            "M4 calls per change",
            &parameters,
            &format!(
                "{ratio:.3} ({calls} calls for {changes} changes), {} throttled, {} reads; LBC {lbc}, {lbc_throttled} throttled, \
                 {lbc_reads} reads; ours ÷ LBC {:.2}",
                taken.throttled(),
                taken.calls.len() - calls,
                ratio / lbc
            ),
        );
        taken.tell_delays("M4", &parameters, None);
    }
    stage.strike().await;
}

/// A fleet: 4 clusters × 20 Deployments × 10 pods on one account.
pub(crate) async fn m5() {
    let fleet = Fleet {
        clusters: 4,
        groups: 20,
        pods: 10,
    };
    let stage = Stage::set(fleet).await;
    let latency = Duration::from_millis(50);
    stage.world.set_latency(latency);
    stage.world.rest().await;
    let taken = stage.restart().await;
    let parameters = stage.parameters(&taken, latency);
    let (calls, throttled) = (taken.registrations().count(), taken.throttled());
    let done = taken.changes.last().unwrap().at;
    let settled = taken.registrations().last().unwrap().received;
    let after = |at: Timestamp| Duration::try_from(at.duration_since(done)).unwrap_or_default();
    let bound = after(changes::earliest_end(
        &taken.changes,
        &taken.calls,
        changes::REGISTRATION,
    ));
    let after = after(settled);
    figures::tell(
        "M5 fleet restart",
        &parameters,
        &format!(
            "settled {:.1} s after Kubernetes was done, {throttled} of {calls} calls throttled; LBC 39 s, 773 of 1500; \
             ours ÷ LBC {:.2}; AWS's bucket allows nobody less than {:.1} s",
            after.as_secs_f64(),
            after.as_secs_f64() / 39.0,
            bound.as_secs_f64()
        ),
    );
    let lbc = Lbc {
        p50: 7_000.0,
        p99: 57_000.0,
    };
    taken.tell_delays("M5", &parameters, Some(lbc));
    stage.strike().await;
}

/// The clusters with their Deployments, and what is seen of them.
struct Stage {
    fleet: Fleet,
    world: World,
    /// By cluster.
    changes: Vec<Changes>,
}

impl Stage {
    async fn set(fleet: Fleet) -> Self {
        let clusters = (0..fleet.clusters).map(|cluster| {
            let name = format!("bench-{cluster}");
            let range = format!("192.168.{}.0/19", 32 * cluster).parse().unwrap();
            let nodes = Node::spread(&name, NODES, range, &fixture::ZONES);
            let groups = (0..fleet.groups).map(|group| format!("c{cluster}-g{group}"));
            (Options::full(name, nodes), groups.collect())
        });
        let world = World::start(clusters.collect()).await;
        let mut changes = Vec::new();
        for cluster in &world.clusters {
            changes.push(Changes::follow(&cluster.client));
            let items: Vec<_> = cluster
                .groups
                .keys()
                .map(|name| deployment(name, fleet.pods))
                .collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            elbow::apply(&cluster.plane, "deployments", &list.to_string()).unwrap();
        }
        let stage = Self {
            fleet,
            world,
            changes,
        };
        stage.settled().await;
        stage
    }

    /// Restarts all Deployments and waits until that is over.
    async fn restart(&self) -> Taken {
        let since = self.world.last_call();
        for changes in &self.changes {
            changes.take();
        }
        for cluster in &self.world.clusters {
            let restart = ["rollout", "restart", "deployment"].map(str::to_owned);
            let arguments = restart.into_iter().chain(cluster.groups.keys().cloned());
            elbow::done(&cluster.plane.kubectl(arguments).unwrap()).unwrap();
        }
        for cluster in &self.world.clusters {
            for name in cluster.groups.keys() {
                let status = ["rollout", "status", "deployment", name, "--timeout=600s"];
                elbow::done(&cluster.plane.kubectl(status).unwrap()).unwrap();
            }
        }
        self.settled().await;
        let mut changes: Vec<_> = self.changes.iter().flat_map(Changes::take).collect();
        changes.sort_by_key(|change| change.at);
        Taken {
            changes,
            calls: self.world.calls_since(since),
        }
    }

    /// Waits until the target groups hold what is ready, which is all that was asked for.
    async fn settled(&self) {
        let pods = self.fleet.groups * self.fleet.pods;
        wait_until(
            LIMIT,
            "the targets that are ready",
            &Progress::silent(),
            async || {
                for (cluster, changes) in self.world.clusters.iter().zip(&self.changes) {
                    let ready = changes.ready();
                    let groups = cluster.groups.values();
                    let registered: BTreeSet<_> = groups.flat_map(|arn| self.world.registered(arn)).collect();
                    if ready.len() != pods || ready != registered {
                        let seen = format!(
                            "{}: {} ready, {} registered",
                            cluster.plane.name(),
                            ready.len(),
                            registered.len()
                        );
                        return Err(Wait::not_yet(seen));
                    }
                }
                Ok(())
            },
        )
        .await
        .unwrap();
    }

    fn parameters(&self, taken: &Taken, latency: Duration) -> String {
        let Fleet {
            clusters,
            groups,
            pods,
        } = self.fleet;
        let of = |count: usize, what: &str| {
            if count == 1 {
                String::new()
            } else {
                format!("{count} {what} × ")
            }
        };
        format!(
            "restart of {}{}{pods} pods with 25 % surge in {:.0} s, {GRACE:?} of grace, AWS {latency:?} a call",
            of(clusters.into(), "clusters"),
            of(groups, "groups"),
            taken.length().as_secs_f64()
        )
    }

    async fn strike(self) {
        for changes in self.changes {
            changes.stop().await;
        }
    }
}

impl Taken {
    fn registrations(&self) -> impl Iterator<Item = &Entry> {
        let actions = ["RegisterTargets", "DeregisterTargets"];
        self.calls
            .iter()
            .filter(move |call| actions.contains(&call.action.as_str()))
    }

    fn throttled(&self) -> usize {
        self.calls.iter().filter(|call| call.is_throttled()).count()
    }

    /// From the first change to the last.
    fn length(&self) -> Duration {
        let at = |change: Option<&Change>| change.expect("a restart changes endpoints").at;
        let length = at(self.changes.last()).duration_since(at(self.changes.first()));
        Duration::try_from(length).expect("they are in order")
    }

    fn tell_delays(&self, measure: &str, parameters: &str, lbc: Option<Lbc>) {
        let (additions, removals) = changes::delays(&self.changes, &self.calls);
        figures::times(
            &format!("{measure} ready → registered"),
            parameters,
            &Times::of(additions),
            lbc,
        );
        figures::times(
            &format!("{measure} terminating → deregistered"),
            parameters,
            &Times::of(removals),
            None,
        );
    }
}

fn deployment(name: &str, pods: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": GRACE.as_secs(),
                    "containers": [{"name": "web", "image": "web", "ports": [{"containerPort": 80}]}],
                },
            },
        },
    })
}
