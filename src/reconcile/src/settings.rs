//! The numbers of the loops.

use std::time::Duration;

use model::guard::Guards;

/// How a replica leases shards and works on them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who holds the leases; unique per process.
    pub replica: String,
    /// How long a lease lasts when it is not renewed. A successor waits this long.
    pub lease_ttl: Duration,
    /// How often leases are renewed and free ones taken.
    pub lease_renewal: Duration,
    /// How many shards one replica takes.
    pub max_shards: u32,
    /// How long one AWS call may take; the same as the AWS client's.
    pub attempt_timeout: Duration,
    /// How often all groups are looked at without being woken.
    pub sweep: Duration,
    /// How old what AWS said may grow before it is asked again.
    pub observe_every: Duration,
    /// The same while somebody waits for AWS to find targets healthy.
    pub observe_waiting_every: Duration,
    /// How many groups of a shard are worked on at once.
    pub concurrency: usize,
    /// How many ingress rules AWS lets a security group have.
    pub rules_per_security_group: usize,
    /// The guards of removals.
    pub guards: Guards,
}

impl Settings {
    pub fn new(replica: String) -> Self {
        Self {
            replica,
            lease_ttl: Duration::from_secs(6),
            lease_renewal: Duration::from_millis(1500),
            max_shards: 1000,
            attempt_timeout: Duration::from_secs(3),
            sweep: Duration::from_secs(30),
            observe_every: Duration::from_mins(2),
            observe_waiting_every: Duration::from_secs(5),
            concurrency: 64,
            rules_per_security_group: 60,
            guards: Guards::default(),
        }
    }
}
