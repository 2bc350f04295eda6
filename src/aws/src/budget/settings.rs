//! The numbers of the budgets. All are settings: AWS raises limits per account and changes them.

use std::time::Duration;

use super::lanes::Lane;

/// A token bucket as AWS publishes it: `burst` calls at once, then `per_second`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Calls at once.
    pub burst: f64,
    /// Calls a second from then on.
    pub per_second: f64,
}

impl Rate {
    /// `burst` calls at once, then `per_second`.
    pub const fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second }
    }
}

/// The budgets of one shard
/// (<https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html>).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// RegisterTargets, DeregisterTargets.
    pub registration: Rate,
    /// Other ELBv2 writes.
    pub mutating: Rate,
    /// CreateLoadBalancer, SetSubnets.
    pub resource_intensive: Rate,
    /// ELBv2 reads.
    pub describe: Rate,
    /// All ELBv2 calls together. Off by default: the published 40 and 10 are older than today's limit of reads,
    /// which they would undercut.
    pub account: Option<Rate>,
    /// EC2 reads.
    pub ec2_describe: Rate,
    /// EC2 writes.
    pub ec2_mutating: Rate,
    /// Calls of each burst that are not spent: calls that we space out may reach AWS closer together.
    pub headroom: f64,
    /// Calls of each burst that are kept for [`Lane::RemoveTerminating`](super::Lane::RemoveTerminating) and
    /// [`Lane::Delete`](super::Lane::Delete), and for tenants that have not called for a while.
    pub reserved: f64,
    /// How many of these are for such tenants alone.
    pub reserved_for_rested: f64,
    /// For so long a tenant must not have called.
    pub rested_after: Duration,
    /// What is learned from being throttled.
    pub learning: Learning,
    /// When changes gather.
    pub gather: Gather,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            registration: Rate::new(20.0, 4.0),
            mutating: Rate::new(20.0, 3.0),
            resource_intensive: Rate::new(10.0, 0.2),
            describe: Rate::new(200.0, 50.0),
            account: None,
            ec2_describe: Rate::new(100.0, 20.0),
            ec2_mutating: Rate::new(50.0, 5.0),
            headroom: 1.0,
            reserved: 2.0,
            reserved_for_rested: 1.0,
            rested_after: Duration::from_secs(5),
            learning: Learning::default(),
            gather: Gather::default(),
        }
    }
}

impl Settings {
    /// The tokens that a call leaves in the bucket.
    pub(super) fn kept_from(&self, lane: Lane, rested: bool) -> f64 {
        match lane {
            _ if rested => 0.0,
            Lane::RemoveTerminating | Lane::Delete => self.reserved_for_rested,
            _ => self.reserved,
        }
    }
}

/// Additive increase, multiplicative decrease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learning {
    /// What a throttled call leaves of the rate.
    pub decrease: f64,
    /// The share of the set rate that comes back in a second without throttling.
    pub recovery_per_second: f64,
    /// The share of the set rate below which it never falls.
    pub floor: f64,
    /// Answers of calls that were under way together count once.
    pub once_per: Duration,
}

impl Default for Learning {
    fn default() -> Self {
        Self {
            decrease: 0.7,
            recovery_per_second: 0.005,
            floor: 0.05,
            once_per: Duration::from_secs(1),
        }
    }
}

/// When changes gather, so that one call carries many. See [`gather`](super::gather).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gather {
    /// A bucket at least this full (0 to 1) makes nobody wait.
    pub full_above: f64,
    /// How long changes gather when the bucket is empty.
    pub when_empty: Duration,
    /// How long nothing must follow until changes have stopped coming.
    pub still: Duration,
    /// How long proven removals gather at most while there are tokens.
    pub proven_at_most: Duration,
    /// How long other changes gather at most while there are tokens.
    pub others_at_most: Duration,
    /// Calls that a batch of a target group may make one right after the other.
    pub calls_at_once: f64,
    /// Calls a second that it gets back.
    pub calls_per_second: f64,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            full_above: 0.9,
            when_empty: Duration::from_secs(1),
            still: Duration::from_millis(300),
            proven_at_most: Duration::from_millis(2500),
            others_at_most: Duration::from_secs(4),
            calls_at_once: 5.0,
            calls_per_second: 0.2,
        }
    }
}
