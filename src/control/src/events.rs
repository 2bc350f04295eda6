//! Events: following what changes.

use store::{Event, EventId};
use tokio::{sync::watch, time::timeout};

use crate::{Control, Error, Principal};

/// Told in one go at most.
const BATCH: u32 = 200;

/// Somebody who follows, from a place on.
#[derive(Debug)]
pub struct Follower {
    control: Control,
    principal: Principal,
    wakes: watch::Receiver<()>,
    after: EventId,
    forgotten: bool,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Event(Event),
    /// What came after the given place is forgotten in part: read again what is followed.
    Forgotten,
    /// Nothing has changed for a while.
    Quiet,
}

impl Control {
    /// Follows what changes in the caller's scope, from now on, or from after an event that was told before.
    pub async fn follow(&self, principal: &Principal, after: Option<&str>) -> Result<Follower, Error> {
        principal.read("follow events")?;
        // From before the first look, so that nothing is missed.
        let wakes = self.wakes.events();
        let (after, forgotten) = match after {
            None => (self.store.latest_event().await?, false),
            Some(text) => {
                let after: EventId = text.parse().map_err(|()| {
                    Error::at(
                        "Last-Event-ID",
                        "it is none that this stream has given: follow anew without it",
                    )
                })?;
                (after, self.store.is_before_events(after).await?)
            }
        };
        Ok(Follower {
            control: self.clone(),
            principal: principal.clone(),
            wakes,
            after,
            forgotten,
        })
    }
}

impl Follower {
    /// The next news; [`News::Quiet`] when there is none for a while.
    pub async fn next(&mut self) -> Result<Vec<News>, Error> {
        self.wakes.mark_unchanged();
        let news = self.ready().await?;
        if !news.is_empty() {
            return Ok(news);
        }
        // Woken or late: either way it is looked at again. A lost wake costs one poll.
        let patience = self.control.settings.poll;
        timeout(patience, self.wakes.changed()).await.ok();
        let news = self.ready().await?;
        Ok(if news.is_empty() { vec![News::Quiet] } else { news })
    }

    /// The news that there is by now; empty: there is none.
    pub async fn ready(&mut self) -> Result<Vec<News>, Error> {
        if std::mem::take(&mut self.forgotten) {
            return Ok(vec![News::Forgotten]);
        }
        // Following lasts, and a token may have ended meanwhile or have another scope.
        self.principal = self.control.again(&self.principal).await?;
        let (store, scope) = (&self.control.store, self.principal.scope.as_ref());
        let seen = store.latest_event().await?;
        let events = store.events(scope, self.after, BATCH).await?;
        let told = events.last().map(|event| event.id);
        // What is out of scope is not looked at again.
        let passed = (events.len() < BATCH as usize).then_some(seen);
        self.after = self.after.max(told.max(passed).unwrap_or(seen));
        Ok(events.into_iter().map(News::Event).collect())
    }
}
