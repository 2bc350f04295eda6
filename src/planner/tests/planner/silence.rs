//! Random histories of clusters that fall silent, some or all of them: whatever is not known of them or of AWS meanwhile,
//! nothing that was opened for them is closed, while those that speak go on.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    BindingId, Observed,
    binding::{IngressRule, OpenPort, Peer, PortRef},
    cluster::Mode,
    condition::{Problem, Reason},
    fact::{Evidence, Protocol, Service, Stated},
    network::{Interface, Interfaces, Opening, Permission, SecurityGroup},
    rule_plan::RuleStep,
};
use planner::network::{Computed, compute, places};
use proptest::prelude::*;

use crate::{
    histories::{histories, runner},
    rule_world::{RuleWorld, security_group},
    world::{Fate, Pod, World, arn},
};

const CLUSTERS: usize = 4;

/// What can happen. Numbers of clusters are taken modulo what there is; what a silent one would have to state is not heard.
#[derive(Clone, Debug)]
enum Event {
    Pods {
        cluster: usize,
        count: u8,
    },
    Port {
        cluster: usize,
        offset: u16,
    },
    /// These fall silent, by their bits.
    Silence(u8),
    Return,
    /// Something about a silent cluster is not known any more.
    Lose {
        cluster: usize,
        what: Fact,
    },
    /// What AWS answers until further notice.
    Aws(Answer),
}

#[derive(Clone, Copy, Debug)]
enum Fact {
    Service,
    Slices,
    /// The object's text is in error.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Network interfaces may not be listed.
    Denied,
    /// It lists none.
    Empty,
    /// Nothing is known of the target group.
    NoGroup,
}

fn event() -> impl Strategy<Value = Event> {
    let cluster = || 0..CLUSTERS;
    let fact = prop_oneof![Just(Fact::Service), Just(Fact::Slices), Just(Fact::Text)];
    let answer = prop_oneof![
        2 => Just(Answer::Whole),
        1 => Just(Answer::Denied),
        1 => Just(Answer::Empty),
        1 => Just(Answer::NoGroup),
    ];
    prop_oneof![
        4 => (cluster(), 0..4_u8).prop_map(|(cluster, count)| Event::Pods { cluster, count }),
        3 => (cluster(), 0..50_u16).prop_map(|(cluster, offset)| Event::Port { cluster, offset }),
        1 => prop_oneof![Just(0b0011), Just(0b1010), Just(0b1111)].prop_map(Event::Silence),
        1 => Just(Event::Return),
        3 => (cluster(), fact).prop_map(|(cluster, what)| Event::Lose { cluster, what }),
        1 => answer.prop_map(Event::Aws),
    ]
}

/// Clusters that share a target group and a security group; each asks for one port of a hundred of its own.
struct Fleet {
    world: World,
    rules: RuleWorld,
    bindings: [BindingId; CLUSTERS],
    /// What each states of its Service.
    services: [Stated<Option<Service>>; CLUSTERS],
    silent: BTreeSet<usize>,
    answer: Answer,
    /// Rules that were ended.
    closed: usize,
}

impl Fleet {
    fn new() -> Self {
        let (mut world, mut rules) = (World::new(), RuleWorld::new());
        let bindings = std::array::from_fn(|index| {
            let name = format!("cluster-{index}");
            let cluster = world.cluster(&name, Mode::Full);
            assert_eq!(rules.cluster(&name, Mode::Full), cluster);
            let id = world.bind(cluster, &format!("web-{index}"));
            assert_eq!(rules.open(cluster, number(index), &[]), rule_id(index));
            id
        });
        let services = bindings.map(|id| world.binding(id).facts.service.clone());
        let mut fleet = Self {
            services,
            world,
            rules,
            bindings,
            silent: BTreeSet::new(),
            answer: Answer::Whole,
            closed: 0,
        };
        for index in 0..CLUSTERS {
            fleet.ask(index, 0);
            fleet.pods(index, 2);
        }
        fleet
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Pods { cluster, count } if !self.silent.contains(&cluster) => self.pods(cluster, count),
            Event::Port { cluster, offset } if !self.silent.contains(&cluster) => self.ask(cluster, offset),
            Event::Lose { cluster, what } if self.silent.contains(&cluster) => self.lose(cluster, what),
            Event::Pods { .. } | Event::Port { .. } | Event::Lose { .. } => {}
            Event::Silence(bits) => {
                // What they said before is done before.
                self.answer = Answer::Whole;
                self.pass()?;
                let fallen = (0..CLUSTERS).filter(|index| bits >> index & 1 == 1);
                self.silent.extend(fallen);
            }
            Event::Return => {
                // They state everything anew.
                for index in std::mem::take(&mut self.silent) {
                    self.pods(index, 1);
                }
            }
            Event::Aws(answer) => self.answer = answer,
        }
        Ok(())
    }

    fn ask(&mut self, index: usize, offset: u16) {
        let spec = self
            .world
            .binding(self.bindings[index])
            .binding
            .spec
            .as_mut()
            .unwrap();
        spec.networking = vec![IngressRule {
            from: vec![Peer::SecurityGroup(security_group(0xee))],
            ports: vec![OpenPort {
                protocol: Protocol::Tcp,
                port: Some(PortRef::Number(port_of(index, offset))),
            }],
        }];
    }

    fn pods(&mut self, index: usize, count: u8) {
        let first = u8::try_from(index).unwrap() * 10 + 1;
        let pods = (first..first + count)
            .map(|ip| Pod::new(ip, u128::from(ip)))
            .collect();
        let id = self.bindings[index];
        let bound = self.world.binding(id);
        bound.binding.problem = None;
        bound.facts.service = self.services[index].clone();
        self.world.state(id, &[pods], Evidence::PodGone);
    }

    fn lose(&mut self, index: usize, what: Fact) {
        let bound = self.world.binding(self.bindings[index]);
        match what {
            Fact::Service => bound.facts.service = Stated::Unknown,
            Fact::Slices => bound.facts.slices = Stated::Unknown,
            Fact::Text => bound.binding.problem = Some(Problem::new(Reason::Invalid, "nonsense")),
        }
    }

    /// What the loops do: openings are computed and stored, and made into rules.
    fn pass(&mut self) -> Result<(), TestCaseError> {
        let mut input = self.world.input();
        if self.answer == Answer::NoGroup {
            input.facts = Observed::Unknown;
        }
        let here = arn().shard().clone();
        let interface = Interface {
            id: "eni-1".into(),
            groups: vec![SecurityGroup {
                id: security_group(1),
                tags: BTreeMap::new(),
            }],
        };
        let found = places(&input, &here).into_iter().map(|place| match self.answer {
            Answer::Empty => (place, None),
            _ => (place, Some(interface.clone())),
        });
        let interfaces = match self.answer {
            Answer::Denied => Interfaces {
                found: BTreeMap::new(),
                problem: Some(Problem::new(Reason::AccessDenied, "grant it")),
            },
            _ => Interfaces {
                found: found.collect(),
                problem: None,
            },
        };
        for (id, Computed { openings, problem }) in compute(&input, &here, &interfaces) {
            let index = self.bindings.iter().position(|binding| *binding == id).unwrap();
            let now = self.world.now;
            let bound = self.world.binding(id);
            bound.unopened = problem;
            if let Some(openings) = openings {
                let permissions = openings.get(&security_group(1)).cloned().unwrap_or_default();
                let asked: Vec<_> = permissions.iter().cloned().collect();
                let opened = |(group, permissions)| {
                    let opening = Opening {
                        permissions,
                        changed_at: now,
                        standing: None,
                    };
                    (group, opening)
                };
                bound.openings = openings.into_iter().map(opened).collect();
                let cluster = bound.cluster.id;
                self.rules.open(cluster, number(index), &asked);
            }
        }
        self.apply()
    }

    fn has_no_pod(&self, index: usize) -> bool {
        let slices = self.world.bindings[&self.bindings[index]].facts.slices.known();
        slices.is_some_and(|slices| slices.iter().all(|slice| slice.endpoints.is_empty()))
    }

    fn apply(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..20 {
            let plan = self.rules.plan();
            for step in &plan.steps {
                let RuleStep::Revoke { rules } = step else {
                    continue;
                };
                for rule in rules {
                    let of = owner(&rule.permission);
                    let spoke = !self.silent.contains(&of);
                    prop_assert!(spoke, "S1: {} goes while {of} is silent", rule.permission);
                    let known = match self.answer {
                        Answer::Whole => true,
                        // Without any pod there is nothing to ask about.
                        Answer::Denied | Answer::Empty => self.has_no_pod(of),
                        Answer::NoGroup => false,
                    };
                    prop_assert!(
                        known,
                        "S1: {} goes on the answer {:?}",
                        rule.permission,
                        self.answer
                    );
                }
                self.closed += rules.len();
            }
            if plan.steps.is_empty() {
                match plan.wake_at {
                    Some(_) => self.rules.wait(60),
                    None if plan.observe.is_none() => return Ok(()),
                    None => {}
                }
                self.rules.observe(jiff::SignedDuration::ZERO);
            } else {
                self.rules.apply(&plan, Fate::Answered);
                self.rules.observe(jiff::SignedDuration::ZERO);
            }
        }
        Err(TestCaseError::fail("it never settles"))
    }
}

fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap() + 1
}

fn rule_id(index: usize) -> BindingId {
    BindingId(uuid::Uuid::from_u128(u128::from(number(index))))
}

fn port_of(index: usize, offset: u16) -> u16 {
    8000 + 100 * u16::try_from(index).unwrap() + offset
}

/// Which cluster asked for it.
fn owner(permission: &Permission) -> usize {
    usize::from((permission.ports.from() - 8000) / 100)
}

#[test]
fn nothing_that_was_opened_for_a_silent_cluster_is_closed_and_nothing_is_closed_on_no_answer() {
    let cases = histories(500);
    let (mut runner, seed) = runner(cases);
    let (closed, silent) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let events = proptest::collection::vec(event(), 1..40);
    let judged = runner.run(&events, |events| {
        let mut fleet = Fleet::new();
        fleet.pass()?;
        for event in &events {
            fleet.happen(event)?;
            let before = fleet.closed;
            fleet.pass()?;
            if fleet.silent.len() == CLUSTERS {
                prop_assert_eq!(fleet.closed, before, "S1: all are silent");
                silent.set(silent.get() + 1);
            }
        }
        closed.set(closed.get() + fleet.closed);
        // Back and heard again, exactly what is asked for is open.
        fleet.happen(&Event::Aws(Answer::Whole))?;
        fleet.happen(&Event::Return)?;
        fleet.pass()?;
        let asked: BTreeSet<_> = fleet
            .bindings
            .into_iter()
            .filter_map(|id| {
                Some(
                    fleet.world.bindings[&id]
                        .openings
                        .get(&security_group(1))?
                        .permissions
                        .clone(),
                )
            })
            .flatten()
            .collect();
        prop_assert_eq!(fleet.rules.in_aws(), asked);
        Ok(())
    });
    println!(
        "S1 (rules): seed {seed}, {cases} histories, {} rules closed, {} events with all silent",
        closed.get(),
        silent.get()
    );
    judged.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(closed.get() >= 500, "only {} rules closed", closed.get());
    assert!(
        silent.get() >= 500,
        "only {} events with all silent",
        silent.get()
    );
}
