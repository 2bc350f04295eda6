//! The budget of AWS calls of one shard: a token bucket per category of calls, lanes for who is next, and advice on how
//! long changes should gather.
//!
//! AWS meters calls per account and region and answers `Throttling` beyond. Whoever wants to call asks for a
//! [`Permit`] first. Waiting for it is the natural place to gather: changes that arrive meanwhile can still join the
//! call, if its content is decided after the permit has come.

mod bucket;
mod export;
mod gather;
mod lanes;
mod settings;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{TargetGroupArn, sabotage};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

pub(crate) use self::export::Budgets;
use self::{
    bucket::Bucket,
    export::BucketState,
    gather::Gathering,
    lanes::{Lanes, Rested},
};
pub use self::{
    gather::Batch,
    lanes::{Lane, Turn},
    settings::{Gather, Learning, Rate, Settings},
};

/// AWS's categories of calls, each with a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// RegisterTargets, DeregisterTargets.
    Registration,
    /// Other ELBv2 writes.
    Mutating,
    /// CreateLoadBalancer, SetSubnets.
    ResourceIntensive,
    /// ELBv2 reads.
    Describe,
    /// EC2 reads.
    Ec2Describe,
    /// EC2 writes.
    Ec2Mutating,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Registration,
        Self::Mutating,
        Self::ResourceIntensive,
        Self::Describe,
        Self::Ec2Describe,
        Self::Ec2Mutating,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Mutating => "mutating",
            Self::ResourceIntensive => "resource_intensive",
            Self::Describe => "describe",
            Self::Ec2Describe => "ec2_describe",
            Self::Ec2Mutating => "ec2_mutating",
        }
    }

    fn is_elbv2(self) -> bool {
        !matches!(self, Self::Ec2Describe | Self::Ec2Mutating)
    }

    fn rate(self, settings: &Settings) -> Rate {
        match self {
            Self::Registration => settings.registration,
            Self::Mutating => settings.mutating,
            Self::ResourceIntensive => settings.resource_intensive,
            Self::Describe => settings.describe,
            Self::Ec2Describe => settings.ec2_describe,
            Self::Ec2Mutating => settings.ec2_mutating,
        }
    }
}

/// What a writer knows of the buckets when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody has called before.
    Full,
    /// A former writer may have spent everything a moment ago.
    Empty,
}

/// The budget of one shard. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    state: Mutex<State>,
    /// By [`Category`].
    doors: [Doors; Category::ALL.len()],
}

/// Where a line is served.
#[derive(Debug, Default)]
struct Doors {
    /// Held by the one that serves.
    open: tokio::sync::Mutex<()>,
    /// Somebody came, or a call was given back.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// By [`Category`].
    lines: [Line; Category::ALL.len()],
    account: Option<Bucket>,
    /// Of target groups that changed lately.
    gatherings: HashMap<(TargetGroupArn, Batch), Gathering>,
}

#[derive(Debug)]
struct Line {
    bucket: Bucket,
    lanes: Lanes<Waiting>,
    /// When each tenant was last given leave.
    served: HashMap<String, Instant>,
    throttles: u64,
    /// By [`Lane`].
    spent: [u64; Lane::ALL.len()],
}

/// Somebody who waits for a permit.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    grant: oneshot::Sender<Permit>,
}

impl Line {
    /// Whether the tenant has not called for a while: it goes first, and does not wait for company.
    fn rested(
        served: &HashMap<String, Instant>,
        tenant: &str,
        settings: &Settings,
        now: Instant,
    ) -> Option<Rested> {
        let last = served.get(tenant).copied();
        let rests = last.is_none_or(|last| now.duration_since(last) >= settings.rested_after);
        (rests && !sabotage::is_on("S18")).then_some(Rested(last))
    }

    /// Grants what the bucket allows; answers with when to look again.
    fn serve(
        &mut self,
        mut account: Option<&mut Bucket>,
        settings: &Settings,
        now: Instant,
        mut grant: impl FnMut(Lane, oneshot::Sender<Permit>),
    ) -> Duration {
        let Self {
            bucket,
            lanes,
            served,
            ..
        } = self;
        loop {
            // Nobody is served with less, so nobody need be looked for.
            if let Err(until) = afford(bucket, account.as_deref_mut(), 0.0, now) {
                return until;
            }
            let Some(next) = lanes.first(|tenant| Self::rested(served, tenant, settings, now)) else {
                return Duration::from_mins(1);
            };
            let kept = settings.kept_from(next.lane, next.rested);
            if let Err(until) = afford(bucket, account.as_deref_mut(), kept, now) {
                return until;
            }
            let Some(waiting) = lanes.pop(&next).filter(|waiting| !waiting.grant.is_closed()) else {
                continue;
            };
            if served.len() > REMEMBERED {
                served.retain(|_, served| now.duration_since(*served) < settings.rested_after);
            }
            served.insert(next.tenant, now);
            bucket.take();
            if let Some(account) = account.as_deref_mut() {
                account.take();
            }
            grant(next.lane, waiting.grant);
        }
    }
}

/// Whether a call can be made now that leaves `kept` tokens in the bucket, or in how long to look again.
fn afford(
    bucket: &mut Bucket,
    account: Option<&mut Bucket>,
    kept: f64,
    now: Instant,
) -> Result<(), Duration> {
    let until = bucket.until(1.0 + kept, now);
    let until = account.map_or(until, |account| until.max(account.until(1.0, now)));
    if until.is_zero() { Ok(()) } else { Err(until) }
}

/// Gatherings and tenants that are remembered; beyond, those that rest are forgotten.
const REMEMBERED: usize = 1024;

impl Budget {
    /// A budget whose buckets are as `start` says. Only the registration bucket can start empty: a successor must not
    /// write in a burst right after its predecessor's, but it must read at once to become useful.
    pub fn new(settings: Settings, start: Start) -> Self {
        let now = Instant::now();
        let full = |rate| Bucket::full(rate, settings.headroom, settings.learning, now);
        let lines = Category::ALL.map(|category| {
            let rate = category.rate(&settings);
            let bucket = match (start, category) {
                (Start::Empty, Category::Registration | Category::Mutating | Category::ResourceIntensive) => {
                    Bucket::empty(rate, settings.headroom, settings.learning, now)
                }
                (Start::Full | Start::Empty, _) => full(rate),
            };
            Line {
                bucket,
                lanes: Lanes::new(),
                served: HashMap::new(),
                throttles: 0,
                spent: [0; Lane::ALL.len()],
            }
        });
        let account = settings.account.map(full);
        let state = Mutex::new(State {
            lines,
            account,
            gatherings: HashMap::new(),
        });
        Self {
            inner: Arc::new(Inner {
                settings,
                state,
                doors: Default::default(),
            }),
        }
    }

    /// Waits for leave to make one call. `turn` says on whose behalf: within a lane, turns alternate.
    ///
    /// Dropping the future leaves the queue; dropping the permit unspent gives the call back.
    pub async fn acquire(&self, category: Category, lane: Lane, turn: impl Into<Turn<'_>>) -> Permit {
        let (grant, granted) = oneshot::channel();
        let since = Instant::now();
        self.lock().lines[category as usize]
            .lanes
            .push(lane, turn.into(), Waiting { since, grant });
        self.serve(category);
        self.inner.doors[category as usize].changed.notify_one();
        tokio::select! {
            biased;
            permit = granted => permit.expect("the sender is in the line until it is used"),
            never = self.serve_on(category) => match never {},
        }
    }

    /// One of those who wait serves the whole line whenever a token may have come, since nobody knows who will be next
    /// then; when it is served itself, another takes over.
    async fn serve_on(&self, category: Category) -> Infallible {
        let Doors { open, changed } = &self.inner.doors[category as usize];
        let _open = open.lock().await;
        loop {
            let next = self.serve(category);
            drop(tokio::time::timeout(next, changed.notified()).await);
        }
    }

    /// Leave to make one call now, if there is a token and nobody waits who would be served before.
    pub fn try_acquire(&self, category: Category, lane: Lane) -> Option<Permit> {
        let now = Instant::now();
        let mut state = self.lock();
        let State { lines, account, .. } = &mut *state;
        let Line { bucket, lanes, .. } = &mut lines[category as usize];
        let mut account = account.as_mut().filter(|_| category.is_elbv2());
        if lanes.first(|_| None).is_some_and(|waiting| waiting.lane <= lane) {
            return None;
        }
        let kept = self.inner.settings.kept_from(lane, false);
        afford(bucket, account.as_deref_mut(), kept, now).ok()?;
        bucket.take();
        if let Some(account) = account {
            account.take();
        }
        Some(self.grant(category, lane))
    }

    /// How full the bucket is, 0 to 1; those who wait count as served.
    pub fn level(&self, category: Category) -> f64 {
        let mut state = self.lock();
        let Line { bucket, lanes, .. } = &mut state.lines[category as usize];
        bucket.level(lanes.len(), Instant::now())
    }

    /// How much longer this batch of the target group, which is `targets` by now, should gather before it is planned
    /// for the last time and sent. Zero lets it go. Asked at each change, and when the wait is over. Scarcity is no
    /// matter of a tenant that has not called for a while.
    pub fn gather(
        &self,
        tenant: &str,
        target_group: &TargetGroupArn,
        batch: Batch,
        targets: usize,
    ) -> Duration {
        let (settings, now) = (&self.inner.settings, Instant::now());
        let mut state = self.lock();
        let State {
            lines, gatherings, ..
        } = &mut *state;
        let Line {
            bucket,
            lanes,
            served,
            ..
        } = &mut lines[Category::Registration as usize];
        let scarcity = if Line::rested(served, tenant, settings, now).is_some() {
            Duration::ZERO
        } else {
            gather::scarcity(bucket.level(lanes.len(), now), &settings.gather)
        };
        if gatherings.len() > REMEMBERED {
            gatherings.retain(|_, gathering| !gathering.is_rested(&settings.gather, now));
        }
        gatherings
            .entry((target_group.clone(), batch))
            .or_insert_with(|| Gathering::rested(batch, &settings.gather, now))
            .wait(targets, scarcity, &settings.gather, now)
    }

    /// AWS throttled a call of this category.
    pub(crate) fn throttled(&self, category: Category) {
        let now = Instant::now();
        let line = &mut self.lock().lines[category as usize];
        line.bucket.throttled(now);
        line.throttles += 1;
    }

    /// Grants what the bucket allows, and says when to look again.
    fn serve(&self, category: Category) -> Duration {
        let mut grants = Vec::new();
        let mut state = self.lock();
        let State { lines, account, .. } = &mut *state;
        let account = account.as_mut().filter(|_| category.is_elbv2());
        let next =
            lines[category as usize].serve(account, &self.inner.settings, Instant::now(), |lane, grant| {
                grants.push((grant, self.grant(category, lane)));
            });
        // A permit that nobody takes gives its call back, which locks again.
        drop(state);
        for (grant, permit) in grants {
            drop(grant.send(permit));
        }
        // Timers count in milliseconds; looking a moment too early would spin.
        next + Duration::from_millis(1)
    }

    fn grant(&self, category: Category, lane: Lane) -> Permit {
        Permit {
            budget: self.clone(),
            category,
            lane,
            spent: false,
        }
    }

    fn state(&self, category: Category) -> BucketState {
        let now = Instant::now();
        let mut state = self.lock();
        let Line {
            bucket,
            lanes,
            served: _,
            throttles,
            spent,
        } = &mut state.lines[category as usize];
        // Who has given up stays in line until it would be served.
        let waiting = lanes.iter().filter(|waiting| !waiting.grant.is_closed());
        let waiting: Vec<_> = waiting.map(|waiting| waiting.since).collect();
        let oldest = waiting.iter().min();
        BucketState {
            level: bucket.level(lanes.len(), now),
            rate: bucket.rate(),
            throttles: *throttles,
            spent: *spent,
            waiting: waiting.len(),
            oldest: oldest.map_or(Duration::ZERO, |since| now.duration_since(*since)),
        }
    }

    fn spent(&self, category: Category, lane: Lane) {
        self.lock().lines[category as usize].spent[lane as usize] += 1;
    }

    fn give_back(&self, category: Category) {
        let mut state = self.lock();
        state.lines[category as usize].bucket.give_back();
        if let Some(account) = state.account.as_mut().filter(|_| category.is_elbv2()) {
            account.give_back();
        }
        drop(state);
        self.inner.doors[category as usize].changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves the state valid at every step.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to make one call. Dropped unspent, it goes back into the bucket.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    budget: Budget,
    category: Category,
    lane: Lane,
    spent: bool,
}

impl Permit {
    /// The lane in which it was waited for.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The bucket that it was taken from.
    pub fn category(&self) -> Category {
        self.category
    }

    /// The call is about to be sent.
    pub(crate) fn spend(mut self) {
        self.spent = true;
        self.budget.spent(self.category, self.lane);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.spent {
            self.budget.give_back(self.category);
        }
    }
}

#[cfg(test)]
mod tests;
