//! AWS's request limits: a token bucket per account, region and category of calls.
//!
//! Numbers: <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html> and
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{error::AwsError, place::Place};

/// The bucket that a call draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    ElbResourceIntensive,
    ElbRegistration,
    ElbMutating,
    ElbDescribe,
    /// All ELB calls together.
    ElbAccount,
    Ec2Describe,
    Ec2Mutating,
    Unlimited,
}

/// A token bucket: `burst` calls at once, then `per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub burst: f64,
    pub per_second: f64,
}

impl Bucket {
    pub const fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second }
    }
}

/// The buckets. A category without one is not limited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttling {
    pub enabled: bool,
    /// ELB's code on the wire: `Throttling`, or `ThrottlingException` as some calls have it.
    pub elb_error_code: String,
    pub elb_resource_intensive: Option<Bucket>,
    pub elb_registration: Option<Bucket>,
    pub elb_mutating: Option<Bucket>,
    pub elb_describe: Option<Bucket>,
    /// Off by default: the published 40 / 10 is older than today's 200 / 50 for Describe, which it would undercut.
    pub elb_account: Option<Bucket>,
    pub ec2_describe: Option<Bucket>,
    pub ec2_mutating: Option<Bucket>,
}

impl Default for Throttling {
    fn default() -> Self {
        Self {
            enabled: true,
            elb_error_code: "Throttling".to_owned(),
            elb_resource_intensive: Some(Bucket::new(10.0, 0.2)),
            elb_registration: Some(Bucket::new(20.0, 4.0)),
            elb_mutating: Some(Bucket::new(20.0, 3.0)),
            elb_describe: Some(Bucket::new(200.0, 50.0)),
            elb_account: None,
            ec2_describe: Some(Bucket::new(100.0, 20.0)),
            ec2_mutating: Some(Bucket::new(50.0, 5.0)),
        }
    }
}

impl Throttling {
    pub fn off() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }

    fn bucket(&self, category: Category) -> Option<Bucket> {
        match category {
            Category::ElbResourceIntensive => self.elb_resource_intensive,
            Category::ElbRegistration => self.elb_registration,
            Category::ElbMutating => self.elb_mutating,
            Category::ElbDescribe => self.elb_describe,
            Category::ElbAccount => self.elb_account,
            Category::Ec2Describe => self.ec2_describe,
            Category::Ec2Mutating => self.ec2_mutating,
            Category::Unlimited => None,
        }
    }

    pub(crate) fn error(&self, category: Category) -> AwsError {
        match category {
            Category::Ec2Describe | Category::Ec2Mutating => {
                AwsError::new("RequestLimitExceeded", "Request limit exceeded.").with_status(503)
            }
            _ => AwsError::new(self.elb_error_code.clone(), "Rate exceeded"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Timestamp,
}

/// The levels of all buckets.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    levels: HashMap<(Place, Category), Level>,
}

impl Throttle {
    /// Takes one token, or answers the error that AWS would.
    pub(crate) fn take(
        &mut self,
        settings: &Throttling,
        place: &Place,
        category: Category,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        if !settings.enabled || category == Category::Unlimited {
            return Ok(());
        }
        let is_elb = !matches!(category, Category::Ec2Describe | Category::Ec2Mutating);
        let account = is_elb.then_some(Category::ElbAccount);
        for category in [Some(category), account].into_iter().flatten() {
            let Some(bucket) = settings.bucket(category) else {
                continue;
            };
            let full = Level {
                tokens: bucket.burst,
                at: now,
            };
            let level = self.levels.entry((place.clone(), category)).or_insert(full);
            let passed = now.duration_since(level.at).as_secs_f64().max(0.0);
            level.tokens = (level.tokens + passed * bucket.per_second).min(bucket.burst);
            level.at = now;
            if level.tokens < 1.0 {
                return Err(settings.error(category));
            }
            level.tokens -= 1.0;
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self) {
        self.levels.clear();
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::service::Service;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn taken(throttle: &mut Throttle, settings: &Throttling, place: &Place, now: Timestamp) -> usize {
        (0..1000)
            .take_while(|_| {
                throttle
                    .take(settings, place, Category::ElbRegistration, now)
                    .is_ok()
            })
            .count()
    }

    #[test]
    fn registrations_burst_to_twenty_and_refill_by_four_a_second() {
        let (mut throttle, settings) = (Throttle::default(), Throttling::default());
        let place = Place::new("111122223333", "eu-central-1");
        assert_eq!(taken(&mut throttle, &settings, &place, at(0)), 20);
        assert_eq!(taken(&mut throttle, &settings, &place, at(1)), 4);
        assert_eq!(taken(&mut throttle, &settings, &place, at(100)), 20);
    }

    #[test]
    fn regions_and_accounts_have_their_own_buckets() {
        let (mut throttle, settings) = (Throttle::default(), Throttling::default());
        for place in [
            Place::new("111122223333", "eu-central-1"),
            Place::new("111122223333", "eu-west-1"),
            Place::new("444455556666", "eu-central-1"),
        ] {
            assert_eq!(taken(&mut throttle, &settings, &place, at(0)), 20);
        }
    }

    #[test]
    fn the_account_bucket_limits_all_elb_calls_together() {
        let settings = Throttling {
            elb_account: Some(Bucket::new(3.0, 0.0)),
            ..Throttling::default()
        };
        let place = Place::new("111122223333", "eu-central-1");
        let mut throttle = Throttle::default();
        throttle
            .take(&settings, &place, Category::ElbDescribe, at(0))
            .expect("first");
        throttle
            .take(&settings, &place, Category::ElbMutating, at(0))
            .expect("second");
        throttle
            .take(&settings, &place, Category::ElbRegistration, at(0))
            .expect("third");
        let error = throttle
            .take(&settings, &place, Category::ElbDescribe, at(0))
            .expect_err("fourth");
        assert_eq!(error.code(Service::Elbv2), "Throttling");
    }

    #[test]
    fn ec2_answers_request_limit_exceeded_with_503() {
        let error = Throttling::default().error(Category::Ec2Mutating);
        assert_eq!(
            (error.code(Service::Ec2), error.status),
            ("RequestLimitExceeded", 503)
        );
    }

    #[test]
    fn switched_off_nothing_is_limited() {
        let (mut throttle, settings) = (Throttle::default(), Throttling::off());
        assert_eq!(
            taken(&mut throttle, &settings, &Place::new("1", "eu-central-1"), at(0)),
            1000
        );
    }
}
