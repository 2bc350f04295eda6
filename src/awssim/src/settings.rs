//! Everything that can be set while the simulator runs.

use std::{collections::BTreeMap, time::Duration};

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::throttle::Throttling;

/// All settings. What a document leaves out keeps its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub throttling: Throttling,
    pub quotas: Quotas,
    pub latency: Latencies,
    pub health: HealthTiming,
    pub paging: Paging,
    pub load_balancers: LoadBalancerTiming,
    pub journal: JournalSettings,
}

/// AWS's quotas, per account and region unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    pub target_groups: usize,
    pub targets_per_target_group: usize,
    /// How often one target id may be registered with one load balancer, on any port and in any group.
    pub registrations_per_target_id: usize,
    /// Targets in one RegisterTargets or DeregisterTargets call. AWS publishes no number: this one is believed.
    pub targets_per_call: usize,
    pub load_balancers: usize,
    pub load_balancers_per_target_group: usize,
    pub listeners_per_load_balancer: usize,
    pub target_groups_per_action: usize,
    pub tags_per_resource: usize,
    pub rules_per_security_group: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            target_groups: 3000,
            targets_per_target_group: 1000,
            registrations_per_target_id: 100,
            targets_per_call: 200,
            load_balancers: 50,
            load_balancers_per_target_group: 1,
            listeners_per_load_balancer: 50,
            target_groups_per_action: 5,
            tags_per_resource: 50,
            rules_per_security_group: 60,
        }
    }
}

/// How long an answer is held back, in real time. The call takes effect when it arrives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Latencies {
    pub default: Latency,
    /// By action, such as `RegisterTargets`.
    pub actions: BTreeMap<String, Latency>,
}

impl Latencies {
    pub(crate) fn of(&self, action: &str) -> Latency {
        self.actions.get(action).copied().unwrap_or(self.default)
    }
}

/// `min` = `max` is a fixed latency; otherwise it is uniformly distributed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub min: Duration,
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub max: Duration,
}

impl Latency {
    pub const fn fixed(duration: Duration) -> Self {
        Self {
            min: duration,
            max: duration,
        }
    }

    pub(crate) fn sample(self, random: &mut impl Rng) -> Duration {
        if self.max <= self.min {
            self.min
        } else {
            random.random_range(self.min..=self.max)
        }
    }
}

/// How long a target stays `initial` once its group is in use, in simulated time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthTiming {
    /// `Elb.RegistrationInProgress`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub registration: Duration,
    /// `Elb.InitialHealthChecking`. Without it: interval × healthy threshold of the group, as AWS does.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub first_checks: Option<Duration>,
}

impl Default for HealthTiming {
    fn default() -> Self {
        Self {
            registration: Duration::from_millis(500),
            first_checks: Some(Duration::from_millis(500)),
        }
    }
}

/// Page sizes where the caller names none, and how long a marker is good for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paging {
    pub elbv2: usize,
    pub ec2: usize,
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub marker_lifetime: Duration,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            elbv2: 400,
            ec2: 1000,
            marker_lifetime: Duration::from_hours(24),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalancerTiming {
    /// How long a new load balancer stays `provisioning`, in simulated time.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub provisioning: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The oldest entries go when there are more. Counters count on.
    pub capacity: usize,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { capacity: 200_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_leaves_out_keeps_its_default_and_unknown_keys_are_refused() {
        let settings: Settings =
            serde_json::from_str(r#"{"latency":{"default":{"min":"5ms","max":"10ms"}}}"#).expect("parses");
        assert_eq!(settings.quotas, Quotas::default());
        assert_eq!(settings.latency.of("Any").max, Duration::from_millis(10));
        serde_json::from_str::<Settings>(r#"{"quota":{}}"#).expect_err("no such key");
    }
}
