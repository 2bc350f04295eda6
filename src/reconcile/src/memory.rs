//! What a writer remembers of a group between passes. All of it can be lost: it is read or asked again.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use model::{
    BindingId, Observed,
    condition::{BindingStatus, Problem},
    plan::Hold,
    target::ObservedTarget,
    target_group::TargetGroupFacts,
};
use runtime::backoff::Backoff;

/// What is remembered of one target group.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    /// Whether what a former writer stored about the group was read.
    pub(crate) recalled: bool,
    pub(crate) facts: Observed<TargetGroupFacts>,
    pub(crate) targets: Observed<Vec<ObservedTarget>>,
    /// What AWS last refused, if that was the last thing it said.
    pub(crate) failure: Option<Problem>,
    pub(crate) backoff: Backoff,
    /// What was reported last: the same is not written again.
    pub(crate) statuses: BTreeMap<BindingId, BindingStatus>,
    pub(crate) holds: Option<Vec<Hold>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            recalled: false,
            facts: Observed::Unknown,
            targets: Observed::Unknown,
            failure: None,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_mins(1)),
            statuses: BTreeMap::new(),
            holds: None,
        }
    }
}

impl Memory {
    /// Whether AWS was not asked since `since`.
    pub(crate) fn is_older_than(&self, since: Timestamp) -> bool {
        let older = |at: Option<Timestamp>| at.is_none_or(|at| at < since);
        older(self.facts.at()) || older(self.targets.at())
    }
}
