//! One kind as the watches show it: by one list of the whole cluster, or by a list of each namespace that is looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use model::{
    fact::{EndpointSlice, ObjectName, ObjectVersion, Service},
    node::Node,
    pod::Pod,
    sabotage,
    stream::Source,
};
use prometheus_client::encoding::EncodeLabelValue;
use uuid::Uuid;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub enum Kind {
    TargetGroupBinding,
    Service,
    EndpointSlice,
    Node,
    Pod,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::TargetGroupBinding,
        Self::Service,
        Self::EndpointSlice,
        Self::Node,
        Self::Pod,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What one list shows: a namespace, or (`None`) the whole cluster.
pub type View = Option<String>;

/// The namespaces that the agent looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    #[default]
    All,
    These(BTreeSet<String>),
}

impl Namespaces {
    /// What is listed of a kind that lives in namespaces.
    pub fn views(&self) -> Vec<View> {
        match self {
            Self::All => vec![None],
            Self::These(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// What is listed shows this namespace, which is looked at, as a part of this.
    pub fn view_of(&self, namespace: &str) -> View {
        match self {
            Self::All => None,
            Self::These(_) => Some(namespace.to_owned()),
        }
    }

    pub fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// What tells objects of a kind apart.
pub trait Key: Clone + Ord + fmt::Debug + fmt::Display {
    /// `None`: the kind has no namespaces.
    fn namespace(&self) -> Option<&str>;
}

impl Key for ObjectName {
    fn namespace(&self) -> Option<&str> {
        Some(&self.namespace)
    }
}

impl Key for String {
    fn namespace(&self) -> Option<&str> {
        None
    }
}

/// An object of a watched kind.
pub trait Object: Clone + fmt::Debug {
    /// What tells objects of the kind apart.
    type Key: Key;
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
    Init(View),
    InitApply(T),
    /// The list is complete: what it did not name is gone.
    InitDone(View),
    Apply(T),
    Delete {
        object: T::Key,
        uid: Uuid,
    },
    /// The object exists, but cannot be read: what was known of it stays.
    Unreadable(T::Key),
    /// The kind cannot be seen there any more, for this reason. What was known stays, and is not told until the next list
    /// is complete.
    Lost(View, String),
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
    /// The view became visible: everything of it is to be told.
    pub(super) synced: Option<View>,
    /// The view became invisible, or for another reason.
    pub(super) lost: Option<View>,
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
    views: BTreeMap<View, Shown<T>>,
}

/// What one list has come to.
#[derive(Debug)]
struct Shown<T: Object> {
    /// The list under way: its names, with the state where it is news.
    list: Option<BTreeMap<T::Key, Option<T>>>,
    state: State,
}

impl<T: Object> Shown<T> {
    /// Whether all of it was listed, and can still be seen.
    fn is_synced(&self) -> bool {
        self.state == State::Synced || sabotage::is_on("S5")
    }
}

impl<T: Object> Cache<T> {
    pub(super) fn new(views: Vec<View>) -> Self {
        let unseen = |view| {
            let shown = Shown {
                list: None,
                state: State::New,
            };
            (view, shown)
        };
        Self {
            objects: BTreeMap::new(),
            views: views.into_iter().map(unseen).collect(),
        }
    }

    pub(super) fn get(&self, object: &T::Key) -> Option<&T> {
        self.objects.get(object)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether all of the kind was listed, wherever it is looked at.
    pub(super) fn is_synced(&self) -> bool {
        self.views.values().all(Shown::is_synced)
    }

    /// Whether what the kind has in this namespace was listed.
    pub(super) fn is_synced_in(&self, namespace: &str) -> bool {
        let shown = self
            .views
            .get(&None)
            .or_else(|| self.views.get(&Some(namespace.to_owned())));
        shown.is_some_and(Shown::is_synced) || sabotage::is_on("S5")
    }

    /// What was listed: all there is, or (`Some`) these namespaces of those that are looked at.
    pub(super) fn synced(&self) -> Option<BTreeSet<String>> {
        if self.views.contains_key(&None) {
            return None;
        }
        let listed = self.views.iter().filter(|(_, shown)| shown.is_synced());
        Some(listed.filter_map(|(view, _)| view.clone()).collect())
    }

    /// Where and why the kind cannot be seen.
    pub(super) fn lost(&self) -> Vec<(View, &str)> {
        let views = self.views.iter();
        views
            .filter_map(|(view, shown)| match &shown.state {
                State::Lost(reason) => Some((view.clone(), reason.as_str())),
                State::New | State::Synced => None,
            })
            .collect()
    }

    fn view_of(&mut self, object: &T::Key) -> Option<&mut Shown<T>> {
        let view = if self.views.contains_key(&None) {
            None
        } else {
            object.namespace().map(str::to_owned)
        };
        self.views.get_mut(&view)
    }

    pub(super) fn handle(&mut self, event: Event<T>) -> Outcome<T> {
        let mut outcome = Outcome {
            deltas: Vec::new(),
            synced: None,
            lost: None,
        };
        match event {
            Event::Init(view) => {
                if let Some(shown) = self.views.get_mut(&view) {
                    shown.list = Some(BTreeMap::new());
                }
            }
            Event::InitApply(new) => {
                let news = self.is_news(&new);
                let key = new.key().clone();
                self.note(key, news.then_some(new));
            }
            Event::InitDone(view) => {
                let shown = self.views.get_mut(&view);
                if let Some((list, shown)) = shown.and_then(|shown| Some((shown.list.take()?, shown))) {
                    let is_new = shown.state != State::Synced;
                    shown.state = State::Synced;
                    outcome.deltas = self.replace(&view, list);
                    outcome.synced = is_new.then_some(view);
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
            Event::Unreadable(object) => self.note(object, None),
            Event::Lost(view, reason) => {
                if let Some(shown) = self.views.get_mut(&view) {
                    shown.list = None;
                    let lost = State::Lost(reason);
                    let is_news = shown.state != lost;
                    shown.state = lost;
                    outcome.lost = is_news.then_some(view);
                }
            }
        }
        outcome
    }

    /// Names an object in the list under way.
    fn note(&mut self, object: T::Key, news: Option<T>) {
        if let Some(list) = self.view_of(&object).and_then(|shown| shown.list.as_mut()) {
            list.insert(object, news);
        }
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

    fn replace(&mut self, view: &View, list: BTreeMap<T::Key, Option<T>>) -> Vec<Delta<T>> {
        let is_shown = |object: &&T::Key| view.is_none() || object.namespace() == view.as_deref();
        let gone: Vec<_> = self
            .objects
            .keys()
            .filter(is_shown)
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
