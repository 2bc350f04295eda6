//! Stories: `scenarios/*.txt`. A line with `>` happens, the lines below it are what the planner says to it.
//!
//! `ELBOW_UPDATE=1 cargo test -p planner scenarios` writes what it says now into the files; read the difference.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, HoldId, TargetKey,
    account::AssumableRole,
    binding::Lifecycle,
    cluster::Mode,
    fact::{Evidence, Stated},
    plan::{Addition, Plan, Step},
    target::HealthState,
    target_group::Grant,
};

use crate::world::{Fate, Pod, World, key};

/// A world whose things have names.
struct Stage {
    world: World,
    clusters: BTreeMap<String, ClusterId>,
    bindings: BTreeMap<String, BindingId>,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new();
        world.targets = model::Observed::Unknown;
        Self {
            world,
            clusters: BTreeMap::new(),
            bindings: BTreeMap::new(),
        }
    }

    /// Lets `command` happen and answers what there is to say to it.
    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    fn play(&mut self, command: &str) -> String {
        let words: Vec<_> = command.split_whitespace().collect();
        let now = self.world.now;
        match words[..] {
            ["cluster", name, mode] => {
                let id = self.world.cluster(name, mode.parse().unwrap());
                self.clusters.insert(name.into(), id);
            }
            ["mode", name, mode] => {
                let mode: Mode = mode.parse().unwrap();
                self.world.set_mode(self.clusters[name], mode);
            }
            ["bind", name, cluster] => {
                let id = self.world.bind(self.clusters[cluster], name);
                self.bindings.insert(name.into(), id);
            }
            ["group", "instance"] => self.world.become_instances(),
            // In a group of instances each pod stands for a node.
            ["pods" | "nodes", name, ref pods @ ..] => {
                let evidence = match pods.iter().find_map(|word| word.strip_prefix("evidence=")) {
                    Some("gone") => Evidence::PodGone,
                    Some("terminating") => Evidence::Terminating,
                    Some("not-selected") => Evidence::NotSelected,
                    None => Evidence::None,
                    Some(other) => panic!("no evidence is called {other}"),
                };
                let slices: Vec<Vec<Pod>> = pods
                    .split(|word| *word == "|")
                    .map(|slice| {
                        slice
                            .iter()
                            .filter(|word| !word.contains('='))
                            .map(|word| pod(word))
                            .collect()
                    })
                    .collect();
                self.world.state(self.bindings[name], &slices, evidence);
            }
            ["service", name, "type", kind] => {
                let facts = &mut self.world.binding(self.bindings[name]).facts;
                if let Stated::Known(Some(service)) = &mut facts.service {
                    service.service_type = kind.into();
                }
            }
            ["service", name, "gone"] => {
                self.world.binding(self.bindings[name]).facts.service = Stated::Known(None);
            }
            ["facts", name, "unknown"] => {
                self.world.binding(self.bindings[name]).facts.slices = Stated::Unknown;
            }
            ["confirm", name] => self.world.binding(self.bindings[name]).facts.confirmed_at = Some(now),
            ["delete", name] => {
                self.world.binding(self.bindings[name]).binding.lifecycle = Lifecycle::Deleted { at: now };
            }
            ["share", name, shared] => {
                let spec = self.world.binding(self.bindings[name]).binding.spec.as_mut();
                spec.unwrap().shared = shared == "yes";
            }
            ["declared", ref clusters @ ..] => {
                let names = clusters.iter().map(|name| name.parse().unwrap()).collect();
                self.world.declared.as_mut().unwrap().spec.clusters = names;
            }
            ["grant", cluster, namespace] => {
                let grant = Grant {
                    cluster: cluster.parse().unwrap(),
                    namespaces: vec![namespace.to_owned()],
                };
                self.world.declared.as_mut().unwrap().spec.grants.push(grant);
            }
            ["undeclared"] => self.world.declared = None,
            ["bind-undeclared", cluster] => {
                let registered = self.world.clusters.get_mut(&self.clusters[cluster]).unwrap();
                registered.cluster.spec.bind_undeclared = true;
            }
            ["namespace", name, namespace] => {
                self.world.binding(self.bindings[name]).binding.object.namespace = namespace.into();
            }
            ["vpc", cluster, vpc] => {
                let registered = self.world.clusters.get_mut(&self.clusters[cluster]).unwrap();
                registered.cluster.spec.vpc_id = vpc.parse().unwrap();
            }
            ["role", name] => {
                self.world
                    .binding(self.bindings[name])
                    .binding
                    .spec
                    .as_mut()
                    .unwrap()
                    .role = Some(AssumableRole {
                    arn: "arn:aws:iam::123456789012:role/any".parse().unwrap(),
                    external_id: None,
                });
            }
            ["cordon", cluster, cordoned] => {
                let registered = self.world.clusters.get_mut(&self.clusters[cluster]).unwrap();
                registered.cluster.cordoned = cordoned == "yes";
            }
            ["fleet", state] => self.world.frozen = state == "frozen",
            ["relinquish", name] => {
                self.world.binding(self.bindings[name]).binding.lifecycle =
                    Lifecycle::Relinquished { at: now };
            }
            ["warn", name, ref words @ ..] => {
                let spec = self.world.binding(self.bindings[name]).binding.spec.as_mut();
                spec.unwrap().warnings.push(words.join(" "));
            }
            ["delete-held", name] => {
                let hold = HoldId(uuid::Uuid::nil());
                let lifecycle = Lifecycle::DeletionHeld { at: now, hold };
                self.world.binding(self.bindings[name]).binding.lifecycle = lifecycle;
            }
            ["standing", name, standing] => {
                let standing = serde_json::from_value(standing.into()).unwrap();
                self.world.binding(self.bindings[name]).binding.standing = standing;
            }
            ["serve", cluster, serve] => {
                let cluster = self.world.clusters.get_mut(&self.clusters[cluster]).unwrap();
                cluster.cluster.spec.serve = serve.parse().unwrap();
            }
            ["agent", "down", cluster] => drop(self.world.down.insert(self.clusters[cluster])),
            ["agent", "up", cluster] => drop(self.world.down.remove(&self.clusters[cluster])),
            ["wait", time] => self.world.wait(time.parse().unwrap()),
            ["health", state, ref pods @ ..] => {
                let state = match state {
                    "initial" => HealthState::Initial,
                    "healthy" => HealthState::Healthy,
                    other => panic!("no state is called {other}"),
                };
                for ip in pods {
                    self.world.aws.insert(key(ip.parse().unwrap()), state.clone());
                }
            }
            ["observe"] => self.world.observe(SignedDuration::ZERO),
            ["foreign", address] => {
                let key = TargetKey::ip(address.parse().unwrap(), crate::world::PORT);
                self.world.aws.insert(key, HealthState::Healthy);
            }
            ["drift", ip] => drop(self.world.aws.remove(&key(ip.parse().unwrap()))),
            ["release", ip] => drop(self.world.released.insert(key(ip.parse().unwrap()), now)),
            ["restored", state] => self.world.restored = state == "yes",
            ["failover", fence] => {
                let fence: SignedDuration = fence.parse().unwrap();
                self.world.fenced_until = Some(now.checked_add(fence).unwrap());
            }
            ["plan"] => return self.plan(Fate::Answered),
            ["plan", "answer-lost"] => return self.plan(Fate::AnswerLost),
            ["plan", "call-lost"] => return self.plan(Fate::CallLost),
            ["plan", "crash"] => return self.plan(Fate::Crash),
            ["aws"] => return list(self.world.in_aws().iter()) + "\n",
            _ => panic!("a story does not know `{command}`"),
        }
        String::new()
    }

    fn plan(&mut self, fate: Fate) -> String {
        let plan = self.world.plan();
        self.world.apply(&plan, fate);
        self.tell(&plan)
    }

    fn tell(&self, plan: &Plan) -> String {
        let now = self.world.now;
        let mut told = String::new();
        for step in &plan.steps {
            match step {
                Step::Claim { targets } => additions("claim", targets, &mut told),
                Step::Register { targets } => additions("register", targets, &mut told),
                Step::Unbind { targets } => additions("write down", targets, &mut told),
                Step::Forget { targets } => writeln!(told, "forget {}", list(targets)).unwrap(),
                Step::Deregister { targets } => {
                    for target in targets {
                        writeln!(told, "deregister {} ({:?})", target.target.key, target.ground).unwrap();
                    }
                }
            }
        }
        for hold in &plan.holds {
            let mut parts = Vec::new();
            if !hold.removals.is_empty() {
                parts.push(format!("keeps {}", list(&hold.removals)));
            }
            if !hold.additions.is_empty() {
                parts.push(format!("leaves out {}", list(&hold.additions)));
            }
            let until = hold
                .until
                .map_or(String::new(), |at| format!(" until {}", from(now, at)));
            writeln!(told, "{}{until}: {}", hold.reason, parts.join(", ")).unwrap();
        }
        for relist in &plan.relists {
            let pods = relist.pods.iter().map(|pod| pod.name.as_str());
            let nodes = relist.nodes.iter().map(|node| node.name.as_str());
            let read: Vec<_> = pods.chain(nodes).collect();
            writeln!(told, "relist {} with {}", relist.service, read.join(", ")).unwrap();
        }
        if let Some(observe) = plan.observe {
            writeln!(told, "observe ({observe:?})").unwrap();
        }
        if let Some(at) = plan.wake_at {
            writeln!(told, "wake in {}", from(now, at)).unwrap();
        }
        for (name, id) in &self.bindings {
            let ready = &plan.statuses[id].ready;
            writeln!(
                told,
                "{name}: Ready={:?} {}: {}",
                ready.status, ready.reason, ready.message
            )
            .unwrap();
        }
        told
    }
}

fn pod(word: &str) -> Pod {
    let (word, not_ready) = word.strip_suffix("!").map_or((word, false), |word| (word, true));
    let (word, terminating) = word.strip_suffix("~").map_or((word, false), |word| (word, true));
    let (ip, uid) = word.split_once('@').unwrap_or((word, word));
    let mut pod = Pod::new(ip.parse().unwrap(), uid.parse().unwrap());
    pod.ready = !not_ready;
    pod.terminating = terminating;
    pod
}

fn additions(verb: &str, targets: &[Addition], told: &mut String) {
    for addition in targets {
        writeln!(told, "{verb} {} ({:?})", addition.target.key, addition.why).unwrap();
    }
}

fn list<'a>(keys: impl IntoIterator<Item = &'a TargetKey>) -> String {
    keys.into_iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn from(now: Timestamp, at: Timestamp) -> String {
    format!("{}ms", at.duration_since(now).as_millis())
}

/// The story as it is told now.
fn retell(story: &str) -> String {
    let mut stage = Stage::new();
    let mut told = String::new();
    for line in story
        .lines()
        .filter(|line| line.starts_with(['>', '#']) || line.is_empty())
    {
        writeln!(told, "{line}").unwrap();
        if let Some(command) = line.strip_prefix('>') {
            told.push_str(&stage.play(command));
        }
    }
    told
}

#[test]
fn every_story_is_told_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planner/scenarios");
    let mut stories: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    stories.sort();
    assert!(stories.len() >= 10, "stories are missing: {stories:?}");
    for path in stories {
        let written = fs::read_to_string(&path).unwrap();
        let told = retell(&written);
        if std::env::var_os("ELBOW_UPDATE").is_some() {
            fs::write(&path, told).unwrap();
        } else {
            assert_eq!(told, written, "{} (ELBOW_UPDATE=1 rewrites it)", path.display());
        }
    }
}
