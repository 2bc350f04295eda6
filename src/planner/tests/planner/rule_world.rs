//! A security group, an AWS and a database small enough to be obviously right, and an apply that can fail in every way.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use model::{
    BindingId, ClusterId, Observed, SecurityGroupId,
    binding::Peer,
    cluster::{Cluster, ClusterSpec, Mode},
    condition::Problem,
    fact::{ObjectName, Protocol},
    guard::Guards,
    network::{
        BoundOpening, LedgerRule, ObservedRule, Permission, PortRange, RuleState, SecurityGroupRuleId,
        SecurityGroupSnapshot,
    },
    ownership::Standing,
    pause::{Pause, Scope},
    rule_plan::{Authorization, RulePlan, RuleStep, WhyRevoke},
};
use planner::network::{RuleInput, plan};
use uuid::Uuid;

use crate::world::{Fate, epoch};

pub(crate) const INSTALLATION: Uuid = Uuid::from_u128(0xe1b0);

pub(crate) fn security_group(last: u8) -> SecurityGroupId {
    format!("sg-0123456789abcde{last:02x}").parse().unwrap()
}

/// TCP `from` to `to` from the edge's group.
pub(crate) fn range(from: u16, to: u16) -> Permission {
    Permission {
        protocol: Protocol::Tcp,
        peer: Peer::SecurityGroup(security_group(0xee)),
        ports: PortRange::new(from, to).unwrap(),
    }
}

pub(crate) fn port(port: u16) -> Permission {
    range(port, port)
}

/// A rule as AWS has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub permission: Permission,
    pub ours: bool,
}

pub(crate) type Rules = BTreeMap<SecurityGroupRuleId, Rule>;

#[derive(Clone, Debug)]
pub(crate) struct RuleWorld {
    pub now: Timestamp,
    pub guards: Guards,
    pub limit: usize,
    pub restored: bool,
    pub fenced_until: Option<Timestamp>,
    pub pauses: Vec<(Scope, Pause)>,
    pub clusters: BTreeMap<ClusterId, Cluster>,
    pub openings: BTreeMap<BindingId, BoundOpening>,
    pub ledger: BTreeMap<Permission, LedgerRule>,
    pub aws: Rules,
    /// What AWS had, for answers that are stale.
    pub past: Vec<(Timestamp, Rules)>,
    pub observed: Observed<Vec<ObservedRule>>,
    pub refused: BTreeMap<Permission, Problem>,
    pub failure: Option<Problem>,
    pub revoked: Vec<(SecurityGroupRuleId, WhyRevoke)>,
    ids: u64,
}

impl RuleWorld {
    /// A group that was seen to be empty.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            now: epoch(),
            guards: Guards::default(),
            limit: 60,
            restored: false,
            fenced_until: None,
            pauses: Vec::new(),
            clusters: BTreeMap::new(),
            openings: BTreeMap::new(),
            ledger: BTreeMap::new(),
            aws: Rules::new(),
            past: Vec::new(),
            observed: Observed::Unknown,
            refused: BTreeMap::new(),
            failure: None,
            revoked: Vec::new(),
            ids: 0,
        };
        world.observe(SignedDuration::ZERO);
        world
    }

    pub(crate) fn cluster(&mut self, name: &str, mode: Mode) -> ClusterId {
        let id = ClusterId(Uuid::from_u128(0xc0 + self.clusters.len() as u128));
        let spec = ClusterSpec {
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            vpc_id: "vpc-0a1b2c3d".parse().unwrap(),
            mode,
            serve: model::ownership::Serve::All,
            bind_undeclared: false,
            roles: Vec::new(),
            aws_name: None,
        };
        let cluster = Cluster {
            id,
            name: name.parse().unwrap(),
            spec,
            version: 1,
            cordoned: false,
        };
        self.clusters.insert(id, cluster);
        id
    }

    pub(crate) fn set_mode(&mut self, cluster: ClusterId, mode: Mode) {
        self.clusters.get_mut(&cluster).unwrap().spec.mode = mode;
    }

    /// What binding `number` of the cluster needs open from now on; nothing = its row has gone.
    pub(crate) fn open(&mut self, cluster: ClusterId, number: u8, permissions: &[Permission]) -> BindingId {
        let id = BindingId(Uuid::from_u128(u128::from(number)));
        if permissions.is_empty() {
            self.openings.remove(&id);
            return id;
        }
        let opening = BoundOpening {
            binding: id,
            object: ObjectName::new("shop", format!("web-{number}")),
            cluster,
            standing: Standing::Served,
            relinquished: false,
            permissions: permissions.iter().cloned().collect(),
        };
        self.openings.insert(id, opening);
        id
    }

    /// Somebody else makes a rule, unless there is an equal one.
    pub(crate) fn by_hand(&mut self, permission: &Permission) {
        self.make(permission, false);
    }

    fn make(&mut self, permission: &Permission, ours: bool) -> Option<SecurityGroupRuleId> {
        if self.aws.values().any(|rule| rule.permission == *permission) || self.aws.len() >= self.limit {
            return None;
        }
        self.ids += 1;
        let id: SecurityGroupRuleId = format!("sgr-{:017x}", self.ids).parse().unwrap();
        let rule = Rule {
            permission: permission.clone(),
            ours,
        };
        self.aws.insert(id.clone(), rule);
        Some(id)
    }

    /// What nobody of us made, with ids.
    pub(crate) fn foreign(&self) -> Rules {
        let foreign = self.aws.iter().filter(|(_, rule)| !rule.ours);
        foreign.map(|(id, rule)| (id.clone(), rule.clone())).collect()
    }

    pub(crate) fn in_aws(&self) -> BTreeSet<Permission> {
        self.aws.values().map(|rule| rule.permission.clone()).collect()
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.past.push((self.now, self.aws.clone()));
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let oldest = self.now.checked_sub(SignedDuration::from_mins(2)).unwrap();
        self.past.retain(|(at, _)| *at >= oldest);
    }

    /// AWS answers with what it has, or with what it had `stale` ago.
    pub(crate) fn observe(&mut self, stale: SignedDuration) {
        let as_of = self.now.checked_sub(stale).unwrap();
        let had = self.past.iter().rev().find(|(at, _)| *at <= as_of);
        let had = had.filter(|_| !stale.is_zero()).map_or(&self.aws, |(_, had)| had);
        let value = had
            .iter()
            .map(|(id, rule)| ObservedRule {
                id: id.clone(),
                permission: Some(rule.permission.clone()),
                installation: rule.ours.then_some(INSTALLATION),
            })
            .collect();
        self.observed = Observed::Present { at: self.now, value };
    }

    pub(crate) fn plan(&self) -> RulePlan {
        plan(&self.input())
    }

    pub(crate) fn input(&self) -> RuleInput {
        let stored = SecurityGroupSnapshot {
            now: self.now,
            group: security_group(1),
            restored: self.restored,
            installation: INSTALLATION,
            openings: self.openings.values().cloned().collect(),
            pauses: self.pauses.clone(),
            clusters: self.clusters.clone(),
            ledger: self.ledger.values().cloned().collect(),
        };
        RuleInput {
            stored,
            guards: self.guards.clone(),
            limit: self.limit,
            fenced_until: self.fenced_until,
            rules: self.observed.clone(),
            refused: self.refused.clone(),
            failure: self.failure.clone(),
        }
    }

    /// Applies a plan as `store` and `reconcile` do. `false`: what came after a failure was left.
    pub(crate) fn apply(&mut self, plan: &RulePlan, fate: Fate) -> bool {
        for step in &plan.steps {
            let went_well = match step {
                RuleStep::Forget { rules } => {
                    for rule in rules {
                        self.ledger.remove(rule);
                    }
                    true
                }
                RuleStep::Confirm { rules } => {
                    for rule in rules {
                        let now = self.now;
                        let row = self.ledger.get_mut(&rule.permission).unwrap();
                        row.state = RuleState::Authorized;
                        row.rule = Some(rule.rule.clone());
                        row.changed_at = now;
                    }
                    true
                }
                RuleStep::Share { rules } => {
                    for rule in rules {
                        let row = self.ledger.get_mut(&rule.permission).unwrap();
                        row.clusters.clone_from(&rule.clusters);
                        row.bindings = Some(rule.bindings.clone());
                    }
                    true
                }
                RuleStep::Relinquish { rules, bindings } => {
                    for rule in rules {
                        self.ledger.remove(rule);
                    }
                    self.openings.retain(|binding, _| !bindings.contains(binding));
                    true
                }
                RuleStep::Authorize { rules } => {
                    let mut all = true;
                    for rule in rules {
                        all &= self.authorize(rule, fate);
                    }
                    all
                }
                RuleStep::Revoke { rules } => {
                    let mut all = true;
                    for rule in rules {
                        self.revoked.push((rule.rule.clone(), rule.why));
                        all &= self.revoke(&rule.permission, &rule.rule, fate);
                    }
                    all
                }
            };
            if !went_well {
                return false;
            }
        }
        true
    }

    fn authorize(&mut self, rule: &Authorization, fate: Fate) -> bool {
        let permission = &rule.permission;
        let before = self.ledger.get(permission).cloned();
        let lost_before = before
            .as_ref()
            .filter(|row| is_intent(row.state))
            .map(|_| self.now);
        let intent = LedgerRule {
            permission: permission.clone(),
            rule: before.as_ref().and_then(|row| row.rule.clone()),
            state: RuleState::Authorizing,
            clusters: rule.clusters.clone(),
            bindings: Some(rule.bindings.clone()),
            changed_at: self.now,
            ambiguous_at: lost_before.or(before.as_ref().and_then(|row| row.ambiguous_at)),
        };
        self.ledger.insert(permission.clone(), intent);
        let made = match fate {
            Fate::Answered | Fate::AnswerLost => self.make(permission, true),
            Fate::CallLost | Fate::Crash => None,
        };
        let now = self.now;
        let row = self.ledger.get_mut(permission).unwrap();
        match (fate, made) {
            (Fate::Answered, Some(id)) => {
                row.state = RuleState::Authorized;
                row.rule = Some(id);
                row.changed_at = now;
                return true;
            }
            // Refused: there is an equal one, or no room.
            (Fate::Answered, None) if row.ambiguous_at.is_none() => match before {
                Some(before) => drop(self.ledger.insert(
                    permission.clone(),
                    LedgerRule {
                        changed_at: now,
                        ..before
                    },
                )),
                None => drop(self.ledger.remove(permission)),
            },
            (Fate::Answered | Fate::Crash, _) => {}
            (Fate::AnswerLost | Fate::CallLost, _) => row.ambiguous_at = Some(now),
        }
        false
    }

    fn revoke(&mut self, permission: &Permission, id: &SecurityGroupRuleId, fate: Fate) -> bool {
        let now = self.now;
        if matches!(fate, Fate::Answered | Fate::AnswerLost) {
            self.aws.remove(id);
        }
        // A rule that is not ours has no row: only sabotage gets here without one.
        let Some(row) = self
            .ledger
            .get_mut(permission)
            .filter(|row| row.rule.as_ref() == Some(id))
        else {
            return true;
        };
        if is_intent(row.state) {
            row.ambiguous_at = Some(now);
        }
        row.changed_at = now;
        row.state = RuleState::Revoking;
        match fate {
            Fate::Answered => {
                row.state = RuleState::Revoked;
                true
            }
            Fate::AnswerLost | Fate::CallLost => {
                row.ambiguous_at = Some(now);
                false
            }
            Fate::Crash => false,
        }
    }

    /// Plans and applies, looks and waits, until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..40 {
            let plan = self.plan();
            if !plan.steps.is_empty() {
                if !self.apply(&plan, Fate::Answered) {
                    self.observe(SignedDuration::ZERO);
                }
            } else if plan.observe.is_some() {
                self.observe(SignedDuration::ZERO);
            } else if let Some(at) = plan.wake_at {
                self.wait(at.duration_since(self.now).as_secs() + 1);
            } else {
                return;
            }
        }
        panic!("it never settles: {:?}", self.plan());
    }
}

fn is_intent(state: RuleState) -> bool {
    matches!(state, RuleState::Authorizing | RuleState::Revoking)
}
