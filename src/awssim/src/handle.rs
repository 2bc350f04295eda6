//! The typed way to drive a simulator: what the admin API does over HTTP, as methods.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    clock::{ClockMode, WallClock},
    core::{Call, Core, Decision, LateCall},
    drift::{self, Drift},
    ec2::model::{Peer, Rule, RuleMatch},
    elbv2::{
        health::{self, HealthState},
        model::TargetGroup,
    },
    faults::{FaultRule, FaultStatus},
    fixture::{self, Fixture, Loaded},
    iam::Policy,
    journal::{CounterRow, JournalFilter, JournalPage},
    place::Place,
    settings::Settings,
    sts::Role,
    world::View,
};

/// What an admin call refuses.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("there is no {kind} '{id}'; load a fixture that has it or create it through the API")]
    Unknown { kind: &'static str, id: String },
    #[error("the fixture cannot be loaded: {0}")]
    Fixture(String),
}

/// The clock as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ClockState {
    pub now: Timestamp,
    pub manual: bool,
}

/// A target straight from the state.
#[derive(Debug, Clone, Serialize)]
pub struct TargetState {
    pub id: String,
    pub port: u16,
    pub zone: Option<String>,
    pub state: HealthState,
    pub reason: Option<String>,
    pub description: Option<String>,
    pub registered: Timestamp,
    pub deregistered: Option<Timestamp>,
}

/// A target group straight from the state, with all of its targets, also draining ones.
#[derive(Debug, Clone, Serialize)]
pub struct TargetGroupState {
    pub arn: String,
    pub name: String,
    pub load_balancer_arns: Vec<String>,
    pub health_check: HealthCheckState,
    pub attributes: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub targets: Vec<TargetState>,
}

/// Of a target group, what tests set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthCheckState {
    pub path: Option<String>,
    pub interval_seconds: u32,
    pub healthy_threshold: u32,
}

/// A rule of a security group straight from the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SecurityGroupRuleState {
    pub id: String,
    pub egress: bool,
    /// `tcp`, `udp`, …; `-1` for all.
    pub protocol: String,
    /// The first and the last port; `None` where the protocol has none.
    pub ports: Option<(i32, i32)>,
    /// A CIDR, a prefix list or a security group.
    pub peer: String,
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// Drives a running simulator. Clones drive the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    core: Mutex<Core>,
    wall: WallClock,
    appended: watch::Sender<u64>,
}

impl Handle {
    pub(crate) fn new(core: Core, wall: WallClock) -> Self {
        Self {
            shared: Arc::new(Shared {
                core: Mutex::new(core),
                wall,
                appended: watch::Sender::new(0),
            }),
        }
    }

    /// A call that panicked left the state as it was before or after one change; tests go on with it.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wall_now(&self) -> Timestamp {
        self.shared.wall.now()
    }

    pub(crate) fn handle_call(&self, call: Call) -> Decision {
        let decision = self.core().handle(call);
        self.shared.appended.send_if_modified(|last| {
            let is_later = decision.sequence > *last;
            *last = decision.sequence.max(*last);
            is_later
        });
        decision
    }

    pub(crate) fn apply_late(&self, call: &LateCall) {
        self.core().apply_late(call);
    }

    pub(crate) fn note_answered(&self, sequence: u64) {
        let now = self.wall_now();
        self.core()
            .journal
            .amend(sequence, |entry| entry.answered = Some(now));
    }

    pub(crate) fn note_abandoned(&self, sequence: u64) {
        self.core()
            .journal
            .amend(sequence, |entry| entry.abandoned = true);
    }

    pub fn settings(&self) -> Settings {
        self.core().settings.clone()
    }

    pub fn set_settings(&self, settings: Settings) {
        self.core().settings = settings;
    }

    /// Changes some of the settings.
    pub fn update_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.core().settings);
    }

    pub fn clock(&self) -> ClockState {
        let core = self.core();
        ClockState {
            now: core.clock.now(),
            manual: core.clock.is_manual(),
        }
    }

    pub fn set_clock(&self, mode: &ClockMode) {
        self.core().clock.set(mode);
    }

    /// Moves simulated time ahead, on a manual clock or on a running one.
    pub fn advance(&self, by: Duration) {
        self.core().clock.advance(by);
    }

    /// The journal from `filter.since` on, as far as it goes now.
    pub fn journal(&self, filter: &JournalFilter) -> JournalPage {
        self.core().journal.page(filter)
    }

    /// The same, but waits until at least one entry matches or `wait` is over.
    pub async fn wait_journal(&self, filter: &JournalFilter, wait: Duration) -> JournalPage {
        let mut appended = self.shared.appended.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            appended.borrow_and_update();
            let page = self.journal(filter);
            let is_over = !page.entries.is_empty()
                || !matches!(
                    tokio::time::timeout_at(deadline, appended.changed()).await,
                    Ok(Ok(()))
                );
            if is_over {
                return if page.entries.is_empty() {
                    self.journal(filter)
                } else {
                    page
                };
            }
        }
    }

    pub fn counters(&self) -> Vec<CounterRow> {
        self.core().journal.counters()
    }

    /// Forgets entries and counters; sequence numbers go on.
    pub fn reset_journal(&self) {
        self.core().journal.reset();
    }

    /// Installs a rule and answers its id.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        let mut core = self.core();
        let id = core.faults.add(rule);
        let age = core.faults.oldest_read();
        core.world.remember(age);
        id
    }

    pub fn faults(&self) -> Vec<FaultStatus> {
        self.core().faults.list()
    }

    /// Whether there was one.
    pub fn remove_fault(&self, id: u64) -> bool {
        let mut core = self.core();
        let removed = core.faults.remove(id);
        let age = core.faults.oldest_read();
        core.world.remember(age);
        removed
    }

    pub fn clear_faults(&self) {
        let mut core = self.core();
        core.faults.clear();
        core.world.remember(None);
    }

    /// Says which account an access key belongs to.
    pub fn set_account(&self, access_key: impl Into<String>, account: impl Into<String>) {
        self.core()
            .identities
            .set_account(access_key.into(), account.into());
    }

    /// Says who may assume a role.
    pub fn set_role(&self, arn: impl Into<String>, role: Role) {
        self.core().identities.set_role(arn.into(), role);
    }

    /// Says what a principal (an access key, or the ARN of a role) may do. Without a policy it may do everything.
    pub fn set_policy(&self, principal: impl Into<String>, policy: Option<Policy>) {
        self.core().policies.set(principal.into(), policy);
    }

    /// Adds the resources of a fixture, all or none.
    pub fn load(&self, fixture: &Fixture) -> Result<Loaded, AdminError> {
        let mut core = self.core();
        fixture::load(&mut core, fixture)
    }

    /// Changes the state behind the callers' backs.
    pub fn drift(&self, drift: &Drift) -> Result<(), AdminError> {
        let mut core = self.core();
        drift::apply(&mut core, drift)
    }

    /// All targets of a group now, draining ones too.
    pub fn targets(&self, arn: &str) -> Result<Vec<TargetState>, AdminError> {
        let unknown = || AdminError::Unknown {
            kind: "target group",
            id: arn.to_owned(),
        };
        let place = Place::of_arn(arn).ok_or_else(unknown)?;
        let core = self.core();
        let region = core.world.region(&place);
        let view = View {
            region: &region,
            now: core.clock.now(),
            settings: &core.settings,
        };
        view.region
            .target_groups
            .get(arn)
            .map(|group| targets(&view, group))
            .ok_or_else(unknown)
    }

    /// All target groups everywhere.
    pub fn target_groups(&self) -> Vec<TargetGroupState> {
        let core = self.core();
        let now = core.clock.now();
        let mut states = Vec::new();
        for place in core.world.places() {
            let region = core.world.region(&place);
            let view = View {
                region: &region,
                now,
                settings: &core.settings,
            };
            states.extend(region.target_groups.values().map(|group| TargetGroupState {
                arn: group.arn.clone(),
                name: group.spec.name.clone(),
                load_balancer_arns: group.load_balancers.iter().cloned().collect(),
                health_check: HealthCheckState {
                    path: group.spec.health_check.path.clone(),
                    interval_seconds: group.spec.health_check.interval,
                    healthy_threshold: group.spec.health_check.healthy_threshold,
                },
                attributes: group.attributes.clone(),
                tags: group.tags.clone(),
                targets: targets(&view, group),
            }));
        }
        states
    }

    /// All rules of a security group of this place.
    pub fn security_group_rules(
        &self,
        place: &Place,
        security_group: &str,
    ) -> Result<Vec<SecurityGroupRuleState>, AdminError> {
        let region = self.core().world.region(place);
        let group = region.security_groups.get(security_group);
        let group = group.ok_or_else(|| AdminError::Unknown {
            kind: "security group",
            id: security_group.to_owned(),
        })?;
        Ok(group.rules.values().cloned().map(Into::into).collect())
    }

    /// Forgets all resources, faults, buckets and the journal. Settings, clock, keys, roles and policies stay.
    pub fn reset(&self) {
        let mut core = self.core();
        core.world.remember(None);
        core.world.clear();
        core.faults.clear();
        core.throttle.reset();
        core.journal.reset();
    }
}

impl From<Rule> for SecurityGroupRuleState {
    fn from(rule: Rule) -> Self {
        let Rule {
            id,
            egress,
            matches:
                RuleMatch {
                    protocol,
                    ports,
                    peer,
                },
            description,
            tags,
        } = rule;
        let peer = match peer {
            Peer::V4(peer) | Peer::V6(peer) | Peer::PrefixList(peer) | Peer::Group { id: peer, owner: _ } => {
                peer
            }
        };
        Self {
            id,
            egress,
            protocol,
            ports,
            peer,
            description,
            tags,
        }
    }
}

fn targets(view: &View<'_>, group: &TargetGroup) -> Vec<TargetState> {
    let state = |(key, target): (&crate::elbv2::model::TargetKey, &crate::elbv2::model::Target)| {
        let health = health::of(view, group, key, target)?;
        Some(TargetState {
            id: key.id.clone(),
            port: key.port,
            zone: target.zone.clone(),
            state: health.state,
            reason: health.reason,
            description: health.description,
            registered: target.registered,
            deregistered: target.deregistered,
        })
    };
    group.targets.iter().filter_map(state).collect()
}
