//! One kind as the watch shows it.

use std::{collections::BTreeMap, fmt};

use model::{
    fact::{EndpointSlice, ObjectName, ObjectVersion, Service},
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
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object of a watched kind.
pub trait Object: Clone + fmt::Debug {
    fn object(&self) -> &ObjectName;
    fn version(&self) -> ObjectVersion;
    /// Whether the two say the same, but for the resourceVersion: writing a status or an annotation is no news.
    fn says_the_same(&self, other: &Self) -> bool;
}

macro_rules! object {
    ($type:ident { $($field:ident),* }) => {
        impl Object for $type {
            fn object(&self) -> &ObjectName {
                &self.object
            }
            fn version(&self) -> ObjectVersion {
                self.version
            }
            fn says_the_same(&self, other: &Self) -> bool {
                let Self { object, version, $($field),* } = self;
                *object == other.object && version.uid == other.version.uid $(&& *$field == other.$field)*
            }
        }
    };
}

object!(Source {
    generation,
    spec,
    deleting
});
object!(Service {
    service_type,
    ports,
    selector
});
object!(EndpointSlice {
    service,
    family,
    ports,
    endpoints
});

/// What a watch says.
#[derive(Clone, Debug)]
pub enum Event<T> {
    /// A complete, consistent list begins.
    Init,
    InitApply(T),
    /// The list is complete: what it did not name is gone.
    InitDone,
    Apply(T),
    Delete {
        object: ObjectName,
        uid: Uuid,
    },
    /// The object exists, but cannot be read: what was known of it stays.
    Unreadable(ObjectName),
    /// The kind cannot be seen any more. What was known stays, and is not told until the next list is complete.
    Lost(String),
}

/// What an event changed.
#[derive(Debug)]
pub(super) struct Outcome<T> {
    pub(super) deltas: Vec<Delta<T>>,
    /// The kind became visible: everything is to be told.
    pub(super) synced: bool,
    /// The kind became invisible, or for another reason.
    pub(super) lost: bool,
}

/// An object that changed. Its present state is in the cache.
#[derive(Debug)]
pub(super) struct Delta<T> {
    pub(super) object: ObjectName,
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
pub(super) struct Cache<T> {
    objects: BTreeMap<ObjectName, T>,
    /// The list under way: its names, with the state where it is news.
    list: Option<BTreeMap<ObjectName, Option<T>>>,
    state: State,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            list: None,
            state: State::New,
        }
    }
}

impl<T: Object> Cache<T> {
    pub(super) fn get(&self, object: &ObjectName) -> Option<&T> {
        self.objects.get(object)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
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
                    list.insert(new.object().clone(), news.then_some(new));
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
            .get(new.object())
            .is_none_or(|present| !present.says_the_same(new))
    }

    fn put(&mut self, new: T) -> Delta<T> {
        let (object, uid) = (new.object().clone(), new.version().uid);
        Delta {
            old: self.objects.insert(object.clone(), new),
            object,
            uid,
        }
    }

    fn replace(&mut self, list: BTreeMap<ObjectName, Option<T>>) -> Vec<Delta<T>> {
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
