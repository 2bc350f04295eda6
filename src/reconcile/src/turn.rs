//! A pass's place among the others of its shard: so many work at once, and who waits for AWS's tokens gives its place up
//! meanwhile, so that it keeps nobody from working.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Held by one pass.
pub(crate) struct Turn {
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    /// What the pass is about was woken again.
    woken: Arc<Notify>,
    stop: CancellationToken,
}

/// How a wait ended.
pub(crate) enum Waited<T> {
    /// It was there already.
    AtOnce(T),
    /// Time passed, in which the plan may have changed.
    Later(T),
    /// It did not come yet, and there is a reason to plan again.
    Woken,
    /// It will not be used any more.
    Stopped,
}

impl<T> Waited<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Waited<U> {
        match self {
            Self::AtOnce(come) => Waited::AtOnce(change(come)),
            Self::Later(come) => Waited::Later(change(come)),
            Self::Woken => Waited::Woken,
            Self::Stopped => Waited::Stopped,
        }
    }
}

impl Turn {
    pub(crate) fn new(places: Arc<Semaphore>, woken: Arc<Notify>, stop: CancellationToken) -> Self {
        Self {
            places,
            place: None,
            woken,
            stop,
        }
    }

    /// Waits until there is room to work. `false`: there will be none any more.
    pub(crate) async fn take_place(&mut self) -> bool {
        if self.place.is_none() {
            let place = self.places.clone().acquire_owned();
            self.place = self.stop.run_until_cancelled(place).await.and_then(Result::ok);
        }
        self.place.is_some()
    }

    /// Gives the place up until `what` has come.
    pub(crate) async fn rest<T>(&mut self, what: impl Future<Output = T>) -> Waited<T> {
        self.wait(what, false, None).await
    }

    /// [`rest`](Self::rest), but ends `within` this time, and if `wakes` also when the pass is woken.
    pub(crate) async fn wait<T>(
        &mut self,
        what: impl Future<Output = T>,
        wakes: bool,
        within: Option<Duration>,
    ) -> Waited<T> {
        let mut what = pin!(what);
        if let Some(there) = what.as_mut().now_or_never() {
            return Waited::AtOnce(there);
        }
        self.place = None;
        let waited = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Waited::Stopped,
            come = what => Waited::Later(come),
            () = self.woken.notified(), if wakes => Waited::Woken,
            () = tokio::time::sleep(within.unwrap_or_default()), if within.is_some() => Waited::Woken,
        };
        if self.take_place().await {
            waited
        } else {
            Waited::Stopped
        }
    }
}
