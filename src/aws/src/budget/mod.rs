//! The budget of AWS calls of one shard: a token bucket per category of calls, lanes for who is next, and advice on how
//! long changes should gather.
//!
//! AWS meters calls per account and region and answers `Throttling` beyond. Whoever wants to call asks for a
//! [`Permit`] first. Waiting for it is the natural place to gather: changes that arrive meanwhile can still join the
//! call, if its content is decided after the permit has come.

mod bucket;
mod gather;
mod lanes;
mod settings;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::TargetGroupArn;
use tokio::{sync::oneshot, time::Instant};

use self::{bucket::Bucket, gather::Gathering, lanes::Lanes};
pub use self::{
    gather::Batch,
    lanes::Lane,
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
    lanes: Lanes<oneshot::Sender<Permit>>,
}

/// Remembered gatherings beyond which those that rest are forgotten.
const GATHERINGS: usize = 1024;

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
            }
        });
        let account = settings.account.map(full);
        let state = Mutex::new(State {
            lines,
            account,
            gatherings: HashMap::new(),
        });
        Self {
            inner: Arc::new(Inner { settings, state }),
        }
    }

    /// Waits for leave to make one call. `turn` says on whose behalf: within a lane, turns alternate.
    ///
    /// Dropping the future leaves the queue; dropping the permit unspent gives the call back.
    pub async fn acquire(&self, category: Category, lane: Lane, turn: &str) -> Permit {
        let (grant, mut granted) = oneshot::channel();
        self.lock().lines[category as usize].lanes.push(lane, turn, grant);
        // Whoever waits serves the whole line whenever a token may have come, since nobody knows who will be next then.
        loop {
            let next = self.serve(category);
            tokio::select! {
                biased;
                permit = &mut granted => {
                    break permit.expect("the sender is in the line until it is used");
                }
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// Leave to make one call now, if there is a token and nobody waits who would be served before.
    pub fn try_acquire(&self, category: Category, lane: Lane) -> Option<Permit> {
        let now = Instant::now();
        let mut state = self.lock();
        let State { lines, account, .. } = &mut *state;
        let Line { bucket, lanes } = &mut lines[category as usize];
        let mut account = account.as_mut().filter(|_| category.is_elbv2());
        if lanes.first().is_some_and(|waiting| waiting <= lane) {
            return None;
        }
        self.afford(bucket, account.as_deref_mut(), lane, now).ok()?;
        bucket.take();
        if let Some(account) = account {
            account.take();
        }
        Some(self.grant(category, lane))
    }

    /// How full the bucket is, 0 to 1; those who wait count as served.
    pub fn level(&self, category: Category) -> f64 {
        let mut state = self.lock();
        let Line { bucket, lanes } = &mut state.lines[category as usize];
        bucket.level(lanes.len(), Instant::now())
    }

    /// How much longer this batch of the target group, which is `targets` by now, should gather before it is planned
    /// for the last time and sent. Zero lets it go. Asked at each change, and when the wait is over.
    pub fn gather(&self, target_group: &TargetGroupArn, batch: Batch, targets: usize) -> Duration {
        let (settings, now) = (&self.inner.settings.gather, Instant::now());
        let scarcity = gather::scarcity(self.level(Category::Registration), settings);
        let gatherings = &mut self.lock().gatherings;
        if gatherings.len() > GATHERINGS {
            gatherings.retain(|_, gathering| !gathering.is_rested(settings, now));
        }
        gatherings
            .entry((target_group.clone(), batch))
            .or_insert_with(|| Gathering::rested(batch, settings, now))
            .wait(targets, scarcity, settings, now)
    }

    /// AWS throttled a call of this category.
    pub(crate) fn throttled(&self, category: Category) {
        let now = Instant::now();
        self.lock().lines[category as usize].bucket.throttled(now);
    }

    /// Grants what the bucket allows, and says when to look again.
    fn serve(&self, category: Category) -> Duration {
        let now = Instant::now();
        let mut grants = Vec::new();
        let mut state = self.lock();
        let State { lines, account, .. } = &mut *state;
        let Line { bucket, lanes } = &mut lines[category as usize];
        let mut account = account.as_mut().filter(|_| category.is_elbv2());
        let next = loop {
            let Some(lane) = lanes.first() else {
                break Duration::from_mins(1);
            };
            if let Err(until) = self.afford(bucket, account.as_deref_mut(), lane, now) {
                break until;
            }
            let Some(grant) = lanes.pop(lane).filter(|grant| !grant.is_closed()) else {
                continue;
            };
            bucket.take();
            if let Some(account) = &mut account {
                account.take();
            }
            grants.push((grant, self.grant(category, lane)));
        };
        // A permit that nobody takes gives its call back, which locks again.
        drop(state);
        for (grant, permit) in grants {
            drop(grant.send(permit));
        }
        // Timers count in milliseconds; looking a moment too early would spin.
        next + Duration::from_millis(1)
    }

    /// Whether a call of this lane can be made now, or in how long to look again.
    fn afford(
        &self,
        bucket: &mut Bucket,
        account: Option<&mut Bucket>,
        lane: Lane,
        now: Instant,
    ) -> Result<(), Duration> {
        let reserved = if lane == Lane::RemoveTerminating {
            0.0
        } else {
            self.inner.settings.reserved
        };
        let until = bucket.until(1.0 + reserved, now);
        let until = account.map_or(until, |account| until.max(account.until(1.0, now)));
        if until.is_zero() { Ok(()) } else { Err(until) }
    }

    fn grant(&self, category: Category, lane: Lane) -> Permit {
        Permit {
            budget: self.clone(),
            category,
            lane,
            spent: false,
        }
    }

    fn give_back(&self, category: Category) {
        let mut state = self.lock();
        state.lines[category as usize].bucket.give_back();
        if let Some(account) = state.account.as_mut().filter(|_| category.is_elbv2()) {
            account.give_back();
        }
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
