//! The health of a target: a function of its history and of the time, never of a probe.
//!
//! registered → `unused` while no load balancer uses the group → `initial` (`Elb.RegistrationInProgress`, then
//! `Elb.InitialHealthChecking`) → `healthy`, or what a script says → deregistered: `draining` for the
//! deregistration delay → gone.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{Target, TargetGroup, TargetKey, TargetType};
use crate::{
    ec2::model::InstanceState,
    world::{Region, View},
};

/// A state as DescribeTargetHealth spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Initial,
    Healthy,
    Unhealthy,
    #[serde(rename = "unhealthy.draining")]
    UnhealthyDraining,
    Unused,
    Draining,
    Unavailable,
}

impl HealthState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::UnhealthyDraining => "unhealthy.draining",
            Self::Unused => "unused",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The verdict of the health checks, set from outside. It counts once the target is no longer `initial`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedHealth {
    pub state: HealthState,
    /// Such as `Target.Timeout`; without it the usual one of the state.
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
}

/// What DescribeTargetHealth says of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    pub state: HealthState,
    pub reason: Option<String>,
    pub description: Option<String>,
}

impl Health {
    fn new(state: HealthState, reason: &str, description: &str) -> Self {
        Self {
            state,
            reason: Some(reason.to_owned()),
            description: Some(description.to_owned()),
        }
    }

    pub(crate) fn not_registered() -> Self {
        Self::new(
            HealthState::Unused,
            "Target.NotRegistered",
            "Target is not registered to the target group",
        )
    }

    fn scripted(script: &ScriptedHealth) -> Self {
        let usual = match script.state {
            HealthState::Unhealthy | HealthState::UnhealthyDraining => {
                Some(("Target.FailedHealthChecks", "Health checks failed"))
            }
            HealthState::Unavailable => Some(("Elb.InternalError", "Internal error")),
            HealthState::Initial => Some(("Elb.InitialHealthChecking", "Initial health checks in progress")),
            HealthState::Unused => Some(("Target.NotInUse", "Target is not in use")),
            HealthState::Draining => Some((
                "Target.DeregistrationInProgress",
                "Target deregistration is in progress",
            )),
            HealthState::Healthy => None,
        };
        Self {
            state: script.state,
            reason: script
                .reason
                .clone()
                .or_else(|| usual.map(|(reason, _)| reason.to_owned())),
            description: script
                .description
                .clone()
                .or_else(|| usual.map(|(_, text)| text.to_owned())),
        }
    }
}

/// The health of a target now, or `None` when it has drained and is gone.
pub(crate) fn of(view: &View<'_>, group: &TargetGroup, key: &TargetKey, target: &Target) -> Option<Health> {
    if let Some(deregistered) = target.deregistered {
        return (view.now < deregistered + group.deregistration_delay()).then(|| {
            Health::new(
                HealthState::Draining,
                "Target.DeregistrationInProgress",
                "Target deregistration is in progress",
            )
        });
    }
    Some(while_registered(view, group, key, target))
}

fn while_registered(view: &View<'_>, group: &TargetGroup, key: &TargetKey, target: &Target) -> Health {
    let Some(in_use_since) = group.in_use_since else {
        return Health::new(
            HealthState::Unused,
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        );
    };
    let instance =
        (group.spec.target_type == TargetType::Instance).then(|| view.region.instances.get(&key.id));
    if let Some(state) =
        instance.map(|found| found.map_or(InstanceState::Terminated, |instance| instance.state))
        && state != InstanceState::Running
    {
        let description = format!("Target is in the {} state", state.as_str());
        return Health::new(HealthState::Unused, "Target.InvalidState", &description);
    }
    if zone_is_off(view.region, group, key, target) {
        return Health::new(
            HealthState::Unused,
            "Target.NotInUse",
            "Target is in an Availability Zone that is not enabled for the load balancer",
        );
    }
    let age = view.now.duration_since(target.registered.max(in_use_since));
    let age = Duration::try_from(age).unwrap_or_default();
    let timing = &view.settings.health;
    let first_checks = timing.first_checks.unwrap_or_else(|| group.first_checks());
    if age < timing.registration {
        Health::new(
            HealthState::Initial,
            "Elb.RegistrationInProgress",
            "Target registration is in progress",
        )
    } else if age < timing.registration + first_checks {
        Health::new(
            HealthState::Initial,
            "Elb.InitialHealthChecking",
            "Initial health checks in progress",
        )
    } else if let Some(script) = &target.scripted {
        Health::scripted(script)
    } else {
        Health {
            state: HealthState::Healthy,
            reason: None,
            description: None,
        }
    }
}

/// Whether the target is in a zone where no load balancer of the group has a subnet.
fn zone_is_off(region: &Region, group: &TargetGroup, key: &TargetKey, target: &Target) -> bool {
    let zone = match group.spec.target_type {
        TargetType::Alb => None,
        TargetType::Instance => region
            .instances
            .get(&key.id)
            .map(|instance| instance.zone.as_str()),
        TargetType::Ip => target.zone.as_deref(),
    };
    let Some(zone) = zone.filter(|zone| *zone != "all") else {
        return false;
    };
    let mut enabled = group
        .load_balancers
        .iter()
        .filter_map(|arn| region.load_balancers.get(arn))
        .flat_map(|load_balancer| &load_balancer.spec.subnets)
        .filter_map(|subnet| region.subnets.get(subnet));
    !enabled.any(|subnet| subnet.zone == zone)
}

impl TargetGroup {
    pub(crate) fn deregistration_delay(&self) -> Duration {
        let seconds = self
            .attributes
            .get("deregistration_delay.timeout_seconds")
            .and_then(|seconds| seconds.parse().ok())
            .expect("every group has the attribute, and it was checked when it was set");
        Duration::from_secs(seconds)
    }

    fn first_checks(&self) -> Duration {
        let check = &self.spec.health_check;
        Duration::from_secs(u64::from(check.interval) * u64::from(check.healthy_threshold))
    }

    /// Forgets the targets that have drained.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        let delay = self.deregistration_delay();
        self.targets
            .retain(|_, target| target.deregistered.is_none_or(|at| now < at + delay));
    }

    /// Starts to drain a target. One that nobody sends traffic to is gone at once.
    pub(crate) fn deregister(&mut self, key: &TargetKey, now: Timestamp) {
        if self.in_use_since.is_none() {
            self.targets.remove(key);
        } else if let Some(target) = self.targets.get_mut(key) {
            target.deregistered.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drift::{self, Drift, TargetSpec},
        testing::Bench,
    };

    #[test]
    fn a_target_walks_from_unused_over_initial_to_healthy() {
        let mut bench = Bench::new();
        bench.register(&[("10.0.0.9", "80")]);
        bench.advance(60.0);
        assert_eq!(bench.health(), ["10.0.0.9:80 unused Target.NotInUse"]);
        bench.put_to_use();
        assert_eq!(bench.health(), ["10.0.0.9:80 initial Elb.RegistrationInProgress"]);
        bench.advance(0.5);
        assert_eq!(bench.health(), ["10.0.0.9:80 initial Elb.InitialHealthChecking"]);
        bench.advance(0.5);
        assert_eq!(bench.health(), ["10.0.0.9:80 healthy -"]);
    }

    #[test]
    fn without_a_setting_the_first_checks_take_interval_times_threshold() {
        let mut bench = Bench::new();
        bench.core.settings.health.first_checks = None;
        bench.put_to_use();
        bench.register(&[("10.0.0.9", "80")]);
        bench.advance(150.0);
        assert_eq!(bench.health(), ["10.0.0.9:80 initial Elb.InitialHealthChecking"]);
        bench.advance(0.6);
        assert_eq!(bench.health(), ["10.0.0.9:80 healthy -"]);
    }

    #[test]
    fn a_deregistered_target_drains_for_the_delay_and_is_gone() {
        let mut bench = Bench::new();
        bench.put_to_use();
        bench.register(&[("10.0.0.9", "80"), ("10.0.0.9", "81")]);
        bench.advance(10.0);
        bench.targets("DeregisterTargets", &[("10.0.0.9", "81")]);
        bench.advance(299.9);
        let draining = "10.0.0.9:81 draining Target.DeregistrationInProgress";
        assert_eq!(bench.health(), ["10.0.0.9:80 healthy -", draining]);
        bench.advance(0.1);
        assert_eq!(bench.health(), ["10.0.0.9:80 healthy -"]);
    }

    #[test]
    fn a_draining_target_that_is_registered_again_begins_anew() {
        let mut bench = Bench::new();
        bench.put_to_use();
        bench.register(&[("10.0.0.9", "80")]);
        bench.advance(10.0);
        bench.targets("DeregisterTargets", &[("10.0.0.9", "80")]);
        bench.register(&[("10.0.0.9", "80")]);
        assert_eq!(bench.health(), ["10.0.0.9:80 initial Elb.RegistrationInProgress"]);
        bench.advance(1000.0);
        assert_eq!(bench.health(), ["10.0.0.9:80 healthy -"]);
    }

    #[test]
    fn a_target_that_nobody_uses_is_gone_at_once() {
        let mut bench = Bench::new();
        bench.register(&[("10.0.0.9", "80")]);
        bench.targets("DeregisterTargets", &[("10.0.0.9", "80")]);
        assert!(bench.health().is_empty());
    }

    #[test]
    fn a_script_counts_once_the_target_is_no_longer_initial() {
        let mut bench = Bench::new();
        bench.put_to_use();
        bench.register(&[("10.0.0.9", "80")]);
        let script = Drift::SetHealth {
            target_group_arn: bench.group.clone(),
            target: TargetSpec::new("10.0.0.9", 80),
            health: Some(ScriptedHealth {
                state: HealthState::Unhealthy,
                reason: None,
                description: None,
            }),
        };
        drift::apply(&mut bench.core, &script).expect("the target is there");
        assert_eq!(bench.health(), ["10.0.0.9:80 initial Elb.RegistrationInProgress"]);
        bench.advance(1.0);
        assert_eq!(
            bench.health(),
            ["10.0.0.9:80 unhealthy Target.FailedHealthChecks"]
        );
    }

    #[test]
    fn a_target_in_a_zone_without_a_subnet_of_the_load_balancer_is_unused() {
        let mut bench = Bench::new();
        bench.put_to_use();
        bench.register(&[("10.0.0.9", "80"), ("10.0.128.9", "80")]);
        bench.advance(10.0);
        assert_eq!(
            bench.health(),
            ["10.0.0.9:80 healthy -", "10.0.128.9:80 unused Target.NotInUse"]
        );
    }
}
