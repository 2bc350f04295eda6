//! What was called: every call in order of arrival, and counters that never forget.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{place::Place, query::Form, service::Service};

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When the whole request had arrived: real time that never goes backwards.
    pub received: Timestamp,
    /// Simulated time of the same moment.
    pub simulated: Timestamp,
    /// When the answer went out. None while it is held, and for ever if none came.
    pub answered: Option<Timestamp>,
    pub service: Option<Service>,
    pub action: String,
    pub account: String,
    pub region: String,
    pub access_key: String,
    pub params: Form,
    /// Of the answer that was decided on arrival; none if no answer is to come.
    pub status: Option<u16>,
    pub error_code: Option<String>,
    pub request_id: String,
    /// Whether the call changed something. A late one becomes true when it does.
    pub applied: bool,
    pub fault: Option<String>,
    /// The client closed the connection before an answer.
    pub abandoned: bool,
    /// Targets in a RegisterTargets, DeregisterTargets or DescribeTargetHealth call.
    pub targets: usize,
}

impl Entry {
    pub fn param(&self, key: &str) -> Option<&str> {
        crate::query::lookup(&self.params, key)
    }

    /// Whether it was refused because the caller asked too often.
    pub fn is_throttled(&self) -> bool {
        let code = self.error_code.as_deref().unwrap_or_default();
        code.starts_with("Throttling") || code == "RequestLimitExceeded"
    }
}

/// Which entries to show. What is not given matches everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalFilter {
    /// Entries after this sequence number.
    pub since: u64,
    pub service: Option<Service>,
    pub action: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    pub target_group_arn: Option<String>,
    pub limit: Option<usize>,
}

impl JournalFilter {
    fn matches(&self, entry: &Entry) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        (self.service.is_none() || self.service == entry.service)
            && is(&self.action, &entry.action)
            && is(&self.account, &entry.account)
            && is(&self.region, &entry.region)
            && (self.target_group_arn.is_none()
                || self.target_group_arn.as_deref() == entry.param("TargetGroupArn"))
    }
}

/// A part of the journal.
#[derive(Debug, Clone, Serialize)]
pub struct JournalPage {
    pub entries: Vec<Entry>,
    /// The `since` that goes on after this page.
    pub next: u64,
}

/// Calls of one action in one account and region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counter {
    pub calls: u64,
    pub errors: u64,
    pub throttled: u64,
    pub applied: u64,
    pub targets: u64,
}

/// One row of the counters.
#[derive(Debug, Clone, Serialize)]
pub struct CounterRow {
    #[serde(flatten)]
    pub place: Place,
    pub action: String,
    #[serde(flatten)]
    pub counter: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    last: u64,
    counters: BTreeMap<(Place, String), Counter>,
}

impl Journal {
    /// Numbers the entry and keeps it.
    pub(crate) fn append(&mut self, mut entry: Entry, capacity: usize) -> u64 {
        self.last += 1;
        entry.sequence = self.last;
        let place = Place::new(&entry.account, &entry.region);
        let counter = self.counters.entry((place, entry.action.clone())).or_default();
        counter.calls += 1;
        counter.errors += u64::from(entry.error_code.is_some());
        counter.throttled += u64::from(entry.is_throttled());
        counter.applied += u64::from(entry.applied);
        counter.targets += entry.targets as u64;
        self.entries.push_back(entry);
        while self.entries.len() > capacity {
            self.entries.pop_front();
        }
        self.last
    }

    pub(crate) fn amend(&mut self, sequence: u64, change: impl FnOnce(&mut Entry)) {
        let first = self.entries.front().map_or(0, |entry| entry.sequence);
        let index = sequence
            .checked_sub(first)
            .and_then(|index| usize::try_from(index).ok());
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        let applied_before = entry.applied;
        change(entry);
        if entry.applied && !applied_before {
            let key = (Place::new(&entry.account, &entry.region), entry.action.clone());
            self.counters.entry(key).or_default().applied += 1;
        }
    }

    pub(crate) fn page(&self, filter: &JournalFilter) -> JournalPage {
        let from = self
            .entries
            .partition_point(|entry| entry.sequence <= filter.since);
        let limit = filter.limit.unwrap_or(usize::MAX);
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .skip(from)
            .filter(|entry| filter.matches(entry))
            .take(limit)
            .cloned()
            .collect();
        let cut = entries.len() == limit;
        let next = entries
            .last()
            .filter(|_| cut)
            .map_or(self.last.max(filter.since), |entry| entry.sequence);
        JournalPage { entries, next }
    }

    pub(crate) fn counters(&self) -> Vec<CounterRow> {
        let row = |((place, action), counter): (&(Place, String), &Counter)| CounterRow {
            place: place.clone(),
            action: action.clone(),
            counter: counter.clone(),
        };
        self.counters.iter().map(row).collect()
    }

    /// Forgets entries and counters. Sequence numbers go on.
    pub(crate) fn reset(&mut self) {
        self.entries.clear();
        self.counters.clear();
    }
}
