//! Watches of the API server, turned into [`index`](crate::index) events.
//!
//! A kind is listed by a streaming list where the API server offers it, else in pages, always consistently. A kind that
//! cannot be seen is said to be lost and listed anew when it can; every other error is retried where it happened.

use std::{pin::pin, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, InitialListStrategy, watcher},
    },
};
use runtime::backoff::Backoff;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    index::{Event, Input, Object, View},
    kinds::{Watched, version},
    metrics::Metrics,
};

/// A connection that died without a word is noticed this much later, plus five seconds.
const WATCH_SECONDS: u32 = 60;
/// A streaming list that has not begun to answer by now is not going to.
const STREAMING_PATIENCE: Duration = Duration::from_secs(20);
const PAGE: u32 = 100;

enum Broken {
    /// The receiver is gone.
    Stopped,
    Lost(String),
    /// The API server does not offer streaming lists.
    NotStreaming(String),
    Ended,
}

/// What is watched: some objects of a kind, and what becomes of the events.
pub struct Watch<K: Watched> {
    pub api: Api<K>,
    /// What its lists are of.
    pub view: View,
    /// Only those with these labels.
    pub labels: Option<String>,
    pub input: Box<dyn Fn(Event<K::Fact>) -> Input + Send + Sync>,
}

impl<K: Watched> Watch<K> {
    /// One kind in the whole cluster.
    pub fn everywhere(client: Client, input: fn(Event<K::Fact>) -> Input) -> Self {
        Self {
            api: Api::all(client),
            view: None,
            labels: None,
            input: Box::new(input),
        }
    }

    /// One kind in what the view shows.
    pub fn of(client: Client, view: View, input: fn(Event<K::Fact>) -> Input) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        let everywhere = Self::everywhere(client.clone(), input);
        match view {
            None => everywhere,
            Some(namespace) => Self {
                api: Api::namespaced(client, &namespace),
                view: Some(namespace),
                ..everywhere
            },
        }
    }
}

/// Watches until `stop`.
pub async fn run<K: Watched>(
    watch: Watch<K>,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut strategy = InitialListStrategy::StreamingList;
    loop {
        let attempt = follow(&watch, strategy.clone(), &inputs, &metrics, &mut backoff);
        let Some(broken) = stop.run_until_cancelled(attempt).await else {
            return;
        };
        match broken {
            Broken::Stopped => return,
            Broken::NotStreaming(reason) => {
                tracing::debug!(kind = %K::KIND, reason, "no streaming lists here: listing in pages");
                strategy = InitialListStrategy::ListWatch;
                continue;
            }
            Broken::Lost(reason) => {
                tracing::warn!(kind = %K::KIND, namespace = watch.view, reason, "the kind cannot be seen; what was stated stays");
                let lost = Event::Lost(watch.view.clone(), reason);
                if inputs.send((watch.input)(lost)).await.is_err() {
                    return;
                }
            }
            Broken::Ended => {}
        }
        let delay = tokio::time::sleep(backoff.next_delay());
        if stop.run_until_cancelled(delay).await.is_none() {
            return;
        }
    }
}

async fn follow<K: Watched>(
    watch: &Watch<K>,
    strategy: InitialListStrategy,
    inputs: &mpsc::Sender<Input>,
    metrics: &Metrics,
    backoff: &mut Backoff,
) -> Broken {
    let streaming = matches!(strategy, InitialListStrategy::StreamingList);
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    config.initial_list_strategy = strategy;
    config.label_selector.clone_from(&watch.labels);
    let mut events = pin!(watcher(watch.api.clone(), config).default_backoff());
    let mut listed = false;
    loop {
        let next = if streaming && !listed {
            match timeout(STREAMING_PATIENCE, events.try_next()).await {
                Ok(next) => next,
                Err(_) => return Broken::NotStreaming("a streaming list did not answer".to_owned()),
            }
        } else {
            events.try_next().await
        };
        let event = match next {
            Ok(Some(event)) => event,
            Ok(None) => return Broken::Ended,
            Err(error) => {
                metrics.watch_failed(K::KIND);
                if let Some(broken) = judge(&error, streaming && !listed) {
                    return broken;
                }
                tracing::info!(kind = %K::KIND, %error, "the watch failed and is retried");
                continue;
            }
        };
        if matches!(event, watcher::Event::InitDone) {
            listed = true;
            backoff.reset();
        }
        let event = translate(event, &watch.view);
        if inputs.send((watch.input)(event)).await.is_err() {
            return Broken::Stopped;
        }
    }
}

/// `None`: the watcher's own retry is enough.
fn judge(error: &watcher::Error, streaming_list: bool) -> Option<Broken> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return None;
    };
    match status.code {
        401 | 403 | 404 => Some(Broken::Lost(format!("{}: {}", status.code, status.message))),
        // Expired, or too many requests: the watcher lists again, or waits.
        410 | 429 => None,
        400..500 if streaming_list => Some(Broken::NotStreaming(status.message.clone())),
        _ => None,
    }
}

fn translate<K: Watched>(event: watcher::Event<K>, view: &View) -> Event<K::Fact> {
    match event {
        watcher::Event::Init => Event::Init(view.clone()),
        watcher::Event::InitDone => Event::InitDone(view.clone()),
        watcher::Event::InitApply(object) => readable(object, Event::InitApply),
        watcher::Event::Apply(object) => readable(object, Event::Apply),
        watcher::Event::Delete(object) => {
            let key = K::key(object.meta());
            match version(object.meta()) {
                Ok(version) => Event::Delete {
                    object: key,
                    uid: version.uid,
                },
                Err(error) => unreadable(key, &error),
            }
        }
    }
}

fn readable<K: Watched>(object: K, event: impl FnOnce(K::Fact) -> Event<K::Fact>) -> Event<K::Fact> {
    let name = K::key(object.meta());
    match object.fact() {
        Ok(fact) => event(fact),
        Err(error) => unreadable(name, &error),
    }
}

fn unreadable<T: Object>(object: T::Key, error: &crate::kinds::Unreadable) -> Event<T> {
    tracing::warn!(%object, %error, "an object is ignored; what was known of it stays");
    Event::Unreadable(object)
}
