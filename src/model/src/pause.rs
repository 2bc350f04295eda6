//! Pauses: an operator's word that nothing is to be written to AWS.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{BindingId, ClusterId, Shard};

/// What a pause stops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every write of this installation.
    Installation,
    Shard(Shard),
    /// Whatever is written for a cluster's bindings.
    Cluster(ClusterId),
    Binding(BindingId),
}

/// Who paused, and why. Observing and planning go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
}
