//! What an operator can set about AWS.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

use crate::budget;

/// How AWS is reached, and how much is asked of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where every AWS service is, instead of AWS's own endpoints.
    pub endpoint_url: Option<String>,
    /// PEM certificates to trust beside the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long one attempt of a call may take, from before it is signed until its answer is read.
    pub attempt_timeout: Duration,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How often a read is tried in all. Each attempt is paid for from the budget. Writes are tried once.
    pub read_attempts: usize,
    /// Targets in one RegisterTargets or DeregisterTargets call. AWS publishes no limit and intermittently refuses
    /// large calls; 200 is known to pass.
    pub targets_per_call: usize,
    /// How long the CIDR blocks of a VPC are believed.
    pub vpc_ttl: Duration,
    /// How long the security groups of a network interface, and their tags, are believed.
    pub interface_ttl: Duration,
    /// How long it is believed that no network interface has an address.
    pub missing_interface_ttl: Duration,
    /// The budgets of every shard.
    pub budgets: budget::Settings,
    /// Who we are in AWS.
    pub credentials: Credentials,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint_url: None,
            ca_file: None,
            attempt_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            read_attempts: 3,
            targets_per_call: 200,
            vpc_ttl: Duration::from_mins(10),
            interface_ttl: Duration::from_mins(10),
            missing_interface_ttl: Duration::from_secs(15),
            budgets: budget::Settings::default(),
            credentials: Credentials::DefaultChain,
        }
    }
}

/// Where the credentials come from.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Environment, shared files, web identity, container and instance roles, in the SDK's order.
    DefaultChain,
    /// A key that was given to us.
    Static {
        /// The access key id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: SecretString,
    },
}
