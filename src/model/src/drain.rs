//! Targets that were deregistered for the end of their pod, until AWS has let them finish what they serve.

use jiff::Timestamp;

use crate::{TargetKey, fact::PodRef};

/// A target of a pod that ends, which AWS was seen not to send to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub key: TargetKey,
    pub pod: PodRef,
    /// When AWS acknowledged that it is deregistered.
    pub since: Timestamp,
}

/// A drain that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    pub key: TargetKey,
    /// When AWS was asked and said that it does not drain (any more). `None`: something came in between, and there is
    /// nothing to tell.
    pub at: Option<Timestamp>,
}
