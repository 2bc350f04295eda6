//! Faults by rule: which calls, and what goes wrong.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::service::Service;

/// Which calls a rule is for. What is not given matches everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultMatch {
    pub service: Option<Service>,
    pub action: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    pub target_group_arn: Option<String>,
    /// Lets calls pass until this one, counted from 1 among those that match.
    pub nth: Option<u64>,
    /// How often it fires. Without it: once with `nth`, otherwise always.
    pub count: Option<u64>,
    /// Between 0 and 1, drawn by `seed`.
    pub probability: Option<f64>,
    pub seed: u64,
}

/// What goes wrong. Durations are real time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Any error, not applied.
    Error {
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default = "bad_request")]
        status: u16,
    },
    /// The service's own throttling error.
    Throttle,
    /// `InternalFailure`, 500.
    Http500,
    /// Takes effect, and no answer comes until the client gives up or the connection is cut after `hold`.
    AppliedThenTimeout {
        #[serde(
            default,
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
        )]
        hold: Option<Duration>,
    },
    /// Has no effect, and no answer comes.
    TimeoutNotApplied {
        #[serde(
            default,
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
        )]
        hold: Option<Duration>,
    },
    /// No answer comes, and the call takes effect `after` that time, whether the client still waits or not.
    LateApply {
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        after: Duration,
    },
    /// The connection is closed without an answer.
    DroppedConnection {
        applied: bool,
    },
    /// The right answer, late by this much more.
    Slow {
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        by: Duration,
    },
    /// IAM's answer, which names the missing permission.
    AccessDenied,
    ExpiredToken,
    /// Reads answer the state of `age` (simulated time) ago. The past is kept from the moment the rule is set.
    StaleReads {
        #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
        age: Duration,
    },
}

fn bad_request() -> u16 {
    400
}

impl Fault {
    /// Whether the caller hears anything at all.
    pub(crate) fn lets_answer(&self) -> bool {
        !matches!(
            self,
            Self::AppliedThenTimeout { .. }
                | Self::TimeoutNotApplied { .. }
                | Self::LateApply { .. }
                | Self::DroppedConnection { .. }
        )
    }

    /// Whether the call has no effect when it arrives.
    pub(crate) fn skips(&self) -> bool {
        matches!(
            self,
            Self::TimeoutNotApplied { .. }
                | Self::LateApply { .. }
                | Self::DroppedConnection { applied: false }
        )
    }

    /// The name that the journal shows.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Throttle => "throttle",
            Self::Http500 => "http500",
            Self::AppliedThenTimeout { .. } => "applied_then_timeout",
            Self::TimeoutNotApplied { .. } => "timeout_not_applied",
            Self::LateApply { .. } => "late_apply",
            Self::DroppedConnection { .. } => "dropped_connection",
            Self::Slow { .. } => "slow",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::StaleReads { .. } => "stale_reads",
        }
    }
}

/// A rule. The first one that fires decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    #[serde(default)]
    pub when: FaultMatch,
    pub fault: Fault,
}

impl FaultRule {
    /// For every call of an action.
    pub fn on(action: &str, fault: Fault) -> Self {
        Self {
            when: FaultMatch {
                action: Some(action.to_owned()),
                ..FaultMatch::default()
            },
            fault,
        }
    }

    /// For the nth call only, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.when.nth = Some(nth);
        self
    }

    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.when.count = Some(count);
        self
    }
}

/// An installed rule with what it has seen.
#[derive(Debug, Clone, Serialize)]
pub struct FaultStatus {
    pub id: u64,
    pub rule: FaultRule,
    /// Calls that matched.
    pub seen: u64,
    /// Calls that it hit.
    pub fired: u64,
}

/// What of a call a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) service: Service,
    pub(crate) action: &'a str,
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(crate) target_group_arn: Option<&'a str>,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    installed: Vec<(FaultStatus, StdRng)>,
    last_id: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, rule: FaultRule) -> u64 {
        self.last_id += 1;
        let random = StdRng::seed_from_u64(rule.when.seed);
        self.installed.push((
            FaultStatus {
                id: self.last_id,
                rule,
                seen: 0,
                fired: 0,
            },
            random,
        ));
        self.last_id
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.installed.len();
        self.installed.retain(|(status, _)| status.id != id);
        self.installed.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.installed.clear();
    }

    pub(crate) fn list(&self) -> Vec<FaultStatus> {
        self.installed.iter().map(|(status, _)| status.clone()).collect()
    }

    /// The fault that hits this call.
    pub(crate) fn hit(&mut self, subject: Subject<'_>) -> Option<Fault> {
        self.installed.iter_mut().find_map(|(status, random)| {
            (status.matches(subject) && status.fires(random)).then(|| status.rule.fault.clone())
        })
    }

    /// How far back stale reads look.
    pub(crate) fn oldest_read(&self) -> Option<Duration> {
        let ages = self
            .installed
            .iter()
            .filter_map(|(status, _)| match status.rule.fault {
                Fault::StaleReads { age } => Some(age),
                _ => None,
            });
        ages.max()
    }
}

impl FaultStatus {
    fn matches(&self, subject: Subject<'_>) -> bool {
        fn is(wanted: Option<&str>, found: Option<&str>) -> bool {
            wanted.is_none() || wanted == found
        }
        let when = &self.rule.when;
        let only_reads = matches!(self.rule.fault, Fault::StaleReads { .. });
        when.service.is_none_or(|service| service == subject.service)
            && is(when.action.as_deref(), Some(subject.action))
            && is(when.account.as_deref(), Some(subject.account))
            && is(when.region.as_deref(), Some(subject.region))
            && is(when.target_group_arn.as_deref(), subject.target_group_arn)
            && (!only_reads || subject.action.starts_with("Describe"))
    }

    fn fires(&mut self, random: &mut StdRng) -> bool {
        let when = &self.rule.when;
        self.seen += 1;
        let limit = when.count.or(when.nth.map(|_| 1));
        if when.nth.is_some_and(|nth| self.seen < nth) || limit.is_some_and(|limit| self.fired >= limit) {
            return false;
        }
        if when
            .probability
            .is_some_and(|probability| random.random::<f64>() >= probability)
        {
            return false;
        }
        self.fired += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(action: &str) -> Subject<'_> {
        Subject {
            service: Service::Elbv2,
            action,
            account: "111122223333",
            region: "eu-central-1",
            target_group_arn: None,
        }
    }

    fn fired(faults: &mut Faults, calls: usize) -> Vec<bool> {
        (0..calls)
            .map(|_| faults.hit(subject("RegisterTargets")).is_some())
            .collect()
    }

    #[test]
    fn the_nth_call_and_no_other_is_hit() {
        let mut faults = Faults::default();
        faults.add(FaultRule::on("RegisterTargets", Fault::Throttle).nth(2));
        assert!(faults.hit(subject("DeregisterTargets")).is_none());
        assert_eq!(fired(&mut faults, 4), [false, true, false, false]);
    }

    #[test]
    fn a_count_limits_how_often_it_fires() {
        let mut faults = Faults::default();
        faults.add(FaultRule::on("RegisterTargets", Fault::Http500).nth(2).times(2));
        assert_eq!(fired(&mut faults, 5), [false, true, true, false, false]);
    }

    #[test]
    fn a_probability_is_the_same_for_the_same_seed() {
        let run = |seed| {
            let mut faults = Faults::default();
            let when = FaultMatch {
                probability: Some(0.5),
                seed,
                ..FaultMatch::default()
            };
            faults.add(FaultRule {
                when,
                fault: Fault::Throttle,
            });
            fired(&mut faults, 64)
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_rule_for_one_group_leaves_others_alone() {
        let mut faults = Faults::default();
        let when = FaultMatch {
            target_group_arn: Some("arn:a".to_owned()),
            ..FaultMatch::default()
        };
        faults.add(FaultRule {
            when,
            fault: Fault::Throttle,
        });
        assert!(faults.hit(subject("RegisterTargets")).is_none());
        let own = Subject {
            target_group_arn: Some("arn:a"),
            ..subject("RegisterTargets")
        };
        assert!(faults.hit(own).is_some());
    }

    #[test]
    fn stale_reads_touch_no_write() {
        let mut faults = Faults::default();
        let fault = Fault::StaleReads {
            age: Duration::from_secs(1),
        };
        faults.add(FaultRule {
            when: FaultMatch::default(),
            fault,
        });
        assert!(faults.hit(subject("RegisterTargets")).is_none());
        assert!(faults.hit(subject("DescribeTargetHealth")).is_some());
    }

    #[test]
    fn a_rule_is_written_as_plain_json() {
        let rule: FaultRule = serde_json::from_str(
            r#"{"when":{"action":"RegisterTargets","nth":1},"fault":{"kind":"applied_then_timeout","hold":"2s"}}"#,
        )
        .expect("parses");
        assert_eq!(
            rule.fault,
            Fault::AppliedThenTimeout {
                hold: Some(Duration::from_secs(2))
            }
        );
    }
}
