//! Whether a statement may be believed: nothing is missing before it, and a patch follows a reset of its scope.

use std::collections::BTreeSet;

use model::{
    fact::ObjectName,
    stream::{Change, Confirm, Update},
};

/// What a reset replaces and a patch changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All objects of the source kinds.
    Sources,
    /// One Service with its slices.
    Service(ObjectName),
    /// The gated pods of one Service.
    Pods(ObjectName),
    /// All nodes.
    Nodes,
}

/// What is known of one stream's revisions and scopes.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    last: u64,
    /// Scopes whose reset was stored, and every patch since.
    followed: BTreeSet<Scope>,
    /// Scopes that the agent was asked to reset, and has not yet.
    asked: BTreeSet<Scope>,
    subscribed: BTreeSet<ObjectName>,
    nodes_subscribed: bool,
}

/// What to do about a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) take: bool,
    /// Scopes to ask a reset of.
    pub(super) resync: Vec<Scope>,
    pub(super) reason: &'static str,
}

impl Continuity {
    /// What the agent was told to stream. What it said of others is no longer followed.
    pub(super) fn subscribe(&mut self, services: BTreeSet<ObjectName>, nodes: bool) {
        let keep = |scope: &Scope| match scope {
            Scope::Sources => true,
            Scope::Service(service) | Scope::Pods(service) => services.contains(service),
            Scope::Nodes => nodes,
        };
        self.followed.retain(keep);
        self.asked.retain(keep);
        self.subscribed = services;
        self.nodes_subscribed = nodes;
    }

    pub(super) fn judge(&mut self, revision: u64, update: &Update) -> Verdict {
        let mut resync = Vec::new();
        let mut reason = "";
        if self.last.checked_add(1) != Some(revision) {
            // Which scope the lost statement was of cannot be known.
            reason = "a revision is missing";
            resync = std::mem::take(&mut self.followed).into_iter().collect();
            self.asked.extend(resync.iter().cloned());
        }
        self.last = revision;
        let take = match update {
            Update::Sources(change) => {
                self.follow(Scope::Sources, is_reset(change), &mut resync, &mut reason)
            }
            Update::SourcesOf { .. } => self.follow(Scope::Sources, true, &mut resync, &mut reason),
            Update::Slices { service, change } => {
                self.subscribed.contains(service)
                    && self.follow(
                        Scope::Service(service.clone()),
                        is_reset(change),
                        &mut resync,
                        &mut reason,
                    )
            }
            Update::Pods { service, change, .. } => {
                self.subscribed.contains(service)
                    && self.follow(
                        Scope::Pods(service.clone()),
                        is_reset(change),
                        &mut resync,
                        &mut reason,
                    )
            }
            Update::Nodes(change) => {
                self.nodes_subscribed && self.follow(Scope::Nodes, is_reset(change), &mut resync, &mut reason)
            }
            Update::NodesGone(_) => self.nodes_subscribed,
            // Each says all that it is about.
            Update::Service { object, .. } | Update::Confirm(Confirm { object, .. }) => {
                self.subscribed.contains(object)
            }
            Update::Departures { service, .. } => self.subscribed.contains(service),
        };
        Verdict { take, resync, reason }
    }

    /// What was followed turned out not to be stored. Whether the agent is yet to be asked for it.
    pub(super) fn lose(&mut self, scope: &Scope) -> bool {
        self.followed.remove(scope);
        self.asked.insert(scope.clone())
    }

    fn follow(
        &mut self,
        scope: Scope,
        reset: bool,
        resync: &mut Vec<Scope>,
        reason: &mut &'static str,
    ) -> bool {
        if reset {
            resync.retain(|lost| *lost != scope);
            self.asked.remove(&scope);
            self.followed.insert(scope);
            return true;
        }
        if self.followed.contains(&scope) {
            return true;
        }
        if self.asked.insert(scope.clone()) {
            *reason = "a patch came before the reset that it is relative to";
            resync.push(scope);
        }
        false
    }
}

fn is_reset<T, D>(change: &Change<T, D>) -> bool {
    matches!(change, Change::Reset(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch() -> Update {
        Update::Sources(Change::Patch {
            upserted: vec![],
            deleted: vec![],
        })
    }

    fn reset() -> Update {
        Update::Sources(Change::Reset(vec![]))
    }

    fn slices(service: &str, reset: bool) -> Update {
        let change = if reset {
            Change::Reset(vec![])
        } else {
            Change::Patch {
                upserted: vec![],
                deleted: vec![],
            }
        };
        Update::Slices {
            service: ObjectName::new("default", service),
            change,
        }
    }

    fn scope(service: &str) -> Scope {
        Scope::Service(ObjectName::new("default", service))
    }

    #[test]
    fn a_patch_before_the_reset_of_its_scope_is_not_taken_and_asks_for_the_reset_once() {
        let mut stream = Continuity::default();
        let verdict = stream.judge(1, &patch());
        assert_eq!((verdict.take, verdict.resync), (false, vec![Scope::Sources]));
        let verdict = stream.judge(2, &patch());
        assert_eq!((verdict.take, verdict.resync), (false, vec![]));
        assert!(stream.judge(3, &reset()).take);
        assert!(stream.judge(4, &patch()).take);
    }

    #[test]
    fn a_missing_revision_asks_for_every_scope_again() {
        let mut stream = Continuity::default();
        stream.subscribe([ObjectName::new("default", "web")].into(), false);
        assert!(stream.judge(1, &reset()).take);
        assert!(stream.judge(2, &slices("web", true)).take);
        let verdict = stream.judge(4, &patch());
        assert!(!verdict.take);
        assert_eq!(verdict.resync, [Scope::Sources, scope("web")]);
        assert!(!stream.judge(5, &slices("web", false)).take);
        assert!(stream.judge(6, &slices("web", true)).take);
        assert!(stream.judge(7, &reset()).take);
        assert_eq!(
            stream.judge(8, &patch()),
            Verdict {
                take: true,
                resync: vec![],
                reason: ""
            }
        );
    }

    #[test]
    fn a_reset_after_a_missing_revision_is_taken_and_not_asked_for() {
        let mut stream = Continuity::default();
        assert!(stream.judge(1, &reset()).take);
        let verdict = stream.judge(7, &reset());
        assert_eq!((verdict.take, verdict.resync), (true, vec![]));
    }

    #[test]
    fn a_repeated_revision_is_a_missing_one() {
        let mut stream = Continuity::default();
        assert!(stream.judge(1, &reset()).take);
        assert!(!stream.judge(1, &patch()).take);
    }

    #[test]
    fn nodes_are_taken_while_they_are_wanted_and_from_a_reset_on() {
        let nodes = |reset| {
            Update::Nodes(if reset {
                Change::Reset(vec![])
            } else {
                Change::Patch {
                    upserted: vec![],
                    deleted: vec![],
                }
            })
        };
        let mut stream = Continuity::default();
        assert!(!stream.judge(1, &nodes(true)).take);
        stream.subscribe(BTreeSet::new(), true);
        let verdict = stream.judge(2, &nodes(false));
        assert_eq!((verdict.take, verdict.resync), (false, vec![Scope::Nodes]));
        assert!(stream.judge(3, &nodes(true)).take);
        assert!(stream.judge(4, &nodes(false)).take);
        stream.subscribe(BTreeSet::new(), false);
        assert!(!stream.judge(5, &nodes(false)).take);
    }

    #[test]
    fn a_service_that_is_not_subscribed_is_not_taken() {
        let mut stream = Continuity::default();
        assert!(!stream.judge(1, &slices("web", true)).take);
        stream.subscribe([ObjectName::new("default", "web")].into(), false);
        assert!(stream.judge(2, &slices("web", true)).take);
        stream.subscribe(BTreeSet::new(), false);
        stream.subscribe([ObjectName::new("default", "web")].into(), false);
        let verdict = stream.judge(3, &slices("web", false));
        assert_eq!((verdict.take, verdict.resync), (false, vec![scope("web")]));
    }
}
