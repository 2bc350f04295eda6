//! One kind as the watch shows it.

use std::{collections::BTreeMap, fmt};

use model::{
    fact::{EndpointSlice, ObjectName, ObjectVersion, Service},
    node::Node,
    pod::Pod,
    sabotage,
    stream::Source,
};
use uuid::Uuid;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    TargetGroupBinding,
    Service,
    EndpointSlice,
    Node,
    Pod,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object of a watched kind.
pub trait Object: Clone + fmt::Debug {
    /// What tells objects of the kind apart.
    type Key: Clone + Ord + fmt::Debug + fmt::Display;
    fn key(&self) -> &Self::Key;
    fn version(&self) -> ObjectVersion;
    /// Whether the two say the same, but for the resourceVersion: writing a status or an annotation is no news.
    fn says_the_same(&self, other: &Self) -> bool;
}

macro_rules! object {
    ($type:ident by $key:ident: $key_type:ty { $($field:ident),* }) => {
        impl Object for $type {
            type Key = $key_type;
            fn key(&self) -> &$key_type {
                &self.$key
            }
            fn version(&self) -> ObjectVersion {
                self.version
            }
            fn says_the_same(&self, other: &Self) -> bool {
                let Self { $key, version, $($field),* } = self;
                *$key == other.$key && version.uid == other.version.uid $(&& *$field == other.$field)*
            }
        }
    };
}

object!(Source by object: ObjectName {
    generation,
    spec,
    deleting,
    marks
});
object!(Service by object: ObjectName {
    service_type,
    ports,
    selector
});
object!(EndpointSlice by object: ObjectName {
    service,
    family,
    ports,
    endpoints
});
object!(Node by name: String {
    provider_id,
    labels,
    taints,
    ready,
    unschedulable
});

object!(Pod by object: ObjectName {
    gates,
    containers_ready,
    terminating,
    grace_seconds
});

/// What a watch says.
#[derive(Clone, Debug)]
pub enum Event<T: Object> {
    /// A complete, consistent list begins.
    Init,
    InitApply(T),
    /// The list is complete: what it did not name is gone.
    InitDone,
    Apply(T),
    Delete {
        object: T::Key,
        uid: Uuid,
    },
    /// The object exists, but cannot be read: what was known of it stays.
    Unreadable(T::Key),
    /// The kind cannot be seen any more. What was known stays, and is not told until the next list is complete.
    Lost(String),
}

impl<T: Object> Event<T> {
    pub(super) fn is_news(&self) -> bool {
        matches!(self, Self::Apply(_) | Self::Delete { .. })
    }
}

/// What an event changed.
#[derive(Debug)]
pub(super) struct Outcome<T: Object> {
    pub(super) deltas: Vec<Delta<T>>,
    /// The kind became visible: everything is to be told.
    pub(super) synced: bool,
    /// The kind became invisible, or for another reason.
    pub(super) lost: bool,
}

/// An object that changed. Its present state is in the cache.
#[derive(Debug)]
pub(super) struct Delta<T: Object> {
    pub(super) object: T::Key,
    pub(super) uid: Uuid,
    pub(super) old: Option<T>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Never listed completely.
    New,
    Synced,
    Lost(String),
}

#[derive(Debug)]
pub(super) struct Cache<T: Object> {
    objects: BTreeMap<T::Key, T>,
    /// The list under way: its names, with the state where it is news.
    list: Option<BTreeMap<T::Key, Option<T>>>,
    state: State,
}

impl<T: Object> Default for Cache<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            list: None,
            state: State::New,
        }
    }
}

impl<T: Object> Cache<T> {
    pub(super) fn get(&self, object: &T::Key) -> Option<&T> {
        self.objects.get(object)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn is_synced(&self) -> bool {
        self.state == State::Synced || sabotage::is_on("S5")
    }

    /// Why the kind cannot be seen.
    pub(super) fn lost(&self) -> Option<&str> {
        match &self.state {
            State::Lost(reason) => Some(reason),
            State::New | State::Synced => None,
        }
    }

    pub(super) fn handle(&mut self, event: Event<T>) -> Outcome<T> {
        let mut outcome = Outcome {
            deltas: Vec::new(),
            synced: false,
            lost: false,
        };
        match event {
            Event::Init => self.list = Some(BTreeMap::new()),
            Event::InitApply(new) => {
                let news = self.is_news(&new);
                if let Some(list) = &mut self.list {
                    list.insert(new.key().clone(), news.then_some(new));
                }
            }
            Event::InitDone => {
                if let Some(list) = self.list.take() {
                    outcome.deltas = self.replace(list);
                    outcome.synced = self.state != State::Synced;
                    self.state = State::Synced;
                }
            }
            Event::Apply(new) => {
                if self.is_news(&new) {
                    outcome.deltas.push(self.put(new));
                }
            }
            Event::Delete { object, uid } => {
                // The deletion of a former object of this name says nothing about the present one.
                if self
                    .objects
                    .get(&object)
                    .is_some_and(|present| present.version().uid == uid)
                {
                    let old = self.objects.remove(&object);
                    outcome.deltas.push(Delta { object, uid, old });
                }
            }
            Event::Unreadable(object) => {
                if let Some(list) = &mut self.list {
                    list.insert(object, None);
                }
            }
            Event::Lost(reason) => {
                self.list = None;
                let lost = State::Lost(reason);
                outcome.lost = self.state != lost;
                self.state = lost;
            }
        }
        outcome
    }

    fn is_news(&self, new: &T) -> bool {
        self.objects
            .get(new.key())
            .is_none_or(|present| !present.says_the_same(new))
    }

    fn put(&mut self, new: T) -> Delta<T> {
        let (object, uid) = (new.key().clone(), new.version().uid);
        Delta {
            old: self.objects.insert(object.clone(), new),
            object,
            uid,
        }
    }

    fn replace(&mut self, list: BTreeMap<T::Key, Option<T>>) -> Vec<Delta<T>> {
        let gone: Vec<_> = self
            .objects
            .keys()
            .filter(|object| !list.contains_key(object))
            .cloned()
            .collect();
        let mut deltas = Vec::new();
        for object in gone {
            if let Some(old) = self.objects.remove(&object) {
                deltas.push(Delta {
                    uid: old.version().uid,
                    object,
                    old: Some(old),
                });
            }
        }
        deltas.extend(list.into_values().flatten().map(|new| self.put(new)));
        deltas
    }
}
