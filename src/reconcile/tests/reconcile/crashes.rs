//! S23: the loops are killed, and Postgres under them, at random times and at the points where a call to AWS is known
//! to be; nothing is lost, leaked or done twice.
//!
//! What a killed process leaves is what Postgres and AWS have. So the points are told from outside: before the call has
//! an effect, after it, or while it is still under way. The judge is the history that the test itself states, and AWS's
//! journal and state; our ledger is not asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use awssim::{Entry, Fault, FaultRule, JournalFilter};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use runtime::Clock;
use sandbox::{
    Progress, Wait,
    postgres::{Options, Postgres},
    wait_until,
};
use tokio::sync::{RwLock, watch};

use crate::world::{FOREIGN, MUTATING, Pace, World, address, with_foreign};

/// Histories side by side.
const HISTORIES: u64 = 16;
const KILLS: u64 = 512;
/// Kills of the loops for one of Postgres.
const PER_POSTGRES_KILL: u64 = 64;
const LIMIT: Duration = Duration::from_mins(1);
const ATTEMPT: Duration = Duration::from_millis(150);
const PACE: Pace = Pace {
    lease: Duration::from_millis(600),
    attempt: ATTEMPT,
    sweep: Duration::from_millis(200),
    observe_every: Duration::from_millis(250),
    consistency_grace: Duration::from_millis(300),
};
/// For so long after the binding is back, a call for its absence may still be under way.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(5);

/// Where the loops are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// At a random time after a change.
    Anywhere,
    /// The intent is written, and the call never has an effect.
    Unsent,
    /// AWS has done it, and nobody heard of it.
    Unheard,
    /// The call is under way and arrives after the death of its sender.
    UnderWay,
}

impl Point {
    const ALL: [Self; 4] = [Self::Anywhere, Self::Unsent, Self::Unheard, Self::UnderWay];

    fn fault(self) -> Option<Fault> {
        match self {
            Self::Anywhere => None,
            Self::Unsent => Some(Fault::TimeoutNotApplied { hold: None }),
            Self::Unheard => Some(Fault::AppliedThenTimeout { hold: None }),
            Self::UnderWay => Some(Fault::LateApply { after: ATTEMPT / 2 }),
        }
    }
}

/// What the cluster has, and had: the model that AWS is held against.
struct Cluster {
    bound: bool,
    ready: BTreeSet<u16>,
    ending: BTreeSet<u16>,
    ended: BTreeMap<String, Timestamp>,
    /// When the binding went, and when it came back.
    unbound: Vec<(Timestamp, Option<Timestamp>)>,
    next: u16,
}

impl Cluster {
    fn wanted(&self) -> Vec<u16> {
        if self.bound {
            self.ready.iter().copied().collect()
        } else {
            Vec::new()
        }
    }

    /// Whether a removal of this target that AWS received then has a reason in the cluster.
    fn may_lose(&self, target: &str, at: Timestamp) -> bool {
        let ended = self.ended.get(target).is_some_and(|ended| *ended <= at);
        let unbound = self
            .unbound
            .iter()
            .any(|(from, to)| *from <= at && to.is_none_or(|to| at <= to + UNDER_WAY));
        ended || unbound
    }
}

/// When Postgres was killed.
type Outages = Mutex<Vec<Timestamp>>;

/// What AWS was called for.
#[derive(Default)]
struct Verdict {
    calls: usize,
    /// The same for the same target again, though the first answer could be written down.
    repeated: Vec<String>,
}

/// Loops, from their start to their end.
struct Life {
    began: Timestamp,
    ended: Timestamp,
    /// They kept their lease and had every answer in time. On a machine that is too slow for the short times of this test
    /// they did not, whatever AWS's journal says.
    heard_all: bool,
}

impl Life {
    /// Whether they may have sent this. What they sent last arrives after their end, and their successor waits for the end
    /// of their lease.
    fn sent(&self, entry: &Entry) -> bool {
        let late = SignedDuration::try_from(PACE.lease).expect("a short time");
        (self.began..self.ended + late).contains(&entry.received)
    }
}

struct History {
    world: World,
    cluster: Cluster,
    random: StdRng,
    clock: Clock,
    /// When the loops of now began.
    born: Timestamp,
    /// Those before them, one after the other.
    lives: Vec<Life>,
    points: BTreeMap<Point, u64>,
}

impl History {
    async fn begin(postgres: &Postgres, seed: u64) -> Result<Self> {
        let cluster = Cluster {
            bound: true,
            ready: BTreeSet::new(),
            ending: BTreeSet::new(),
            ended: BTreeMap::new(),
            unbound: Vec::new(),
            next: 1,
        };
        Ok(Self {
            world: World::start(postgres, PACE).await?,
            cluster,
            random: StdRng::seed_from_u64(seed),
            born: Clock::real().now(),
            clock: Clock::real(),
            lives: Vec::new(),
            points: BTreeMap::new(),
        })
    }

    /// Changes the cluster so that AWS must be called, if it is as the cluster wants it.
    async fn change(&mut self) -> Result<()> {
        let now = self.clock.now();
        if !self.cluster.bound {
            self.scale(true, false);
            self.world.bind().await?;
            self.world.describe_service().await?;
            self.cluster.bound = true;
            let back = self.clock.now();
            self.cluster.unbound.last_mut().context("it was unbound")?.1 = Some(back);
        } else if !self.cluster.ready.is_empty() && self.random.random_ratio(1, 12) {
            // From here on, since the loops may be faster than this task.
            self.cluster.unbound.push((now, None));
            self.cluster.bound = false;
            return self.world.unbind().await;
        } else {
            let grows = self.cluster.ready.len() < 2 || self.random.random_bool(0.5);
            let shrinks = !grows || self.random.random_ratio(1, 3);
            self.scale(grows, shrinks && self.cluster.ready.len() > 1);
        }
        self.tell().await
    }

    fn scale(&mut self, grows: bool, shrinks: bool) {
        let now = self.clock.now();
        if shrinks {
            let ready: Vec<_> = self.cluster.ready.iter().copied().collect();
            let count = self.random.random_range(1..=ready.len().div_ceil(2));
            for pod in ready.choose_multiple(&mut self.random, count) {
                self.cluster.ready.remove(pod);
                self.cluster.ending.insert(*pod);
                self.cluster.ended.insert(address(*pod), now);
            }
        }
        if grows {
            for _ in 0..self.random.random_range(1..=3) {
                self.cluster.ready.insert(self.cluster.next);
                self.cluster.next += 1;
            }
        }
    }

    /// The agent states the pods. Those that ended leave the slices by and by.
    async fn tell(&mut self) -> Result<()> {
        let gone: Vec<u16> = self.cluster.ending.iter().copied().collect();
        let gone: Vec<u16> = gone
            .into_iter()
            .filter(|_| self.random.random_bool(0.3))
            .collect();
        let ending = &mut self.cluster.ending;
        ending.retain(|pod| !gone.contains(pod));
        let ready: Vec<_> = self.cluster.ready.iter().copied().collect();
        let ending: Vec<_> = ending.iter().copied().collect();
        self.world.state(&ready, &ending, &gone).await
    }

    /// One change under which the loops are killed; sometimes another while they are dead.
    async fn round(&mut self) -> Result<()> {
        let settled = self.random.random_bool(0.7);
        if settled {
            self.settles().await?;
        }
        // Where calls of an earlier change may be about, the next call is not the one that is meant.
        let point = if settled {
            *Point::ALL.choose(&mut self.random).context("there are points")?
        } else {
            Point::Anywhere
        };
        let since = self.last();
        let aws = self.world.aws.handle().clone();
        for (action, fault) in MUTATING.into_iter().zip(std::iter::repeat(point.fault())) {
            if let Some(fault) = fault {
                aws.add_fault(FaultRule::on(action, fault).nth(1));
            }
        }
        self.change().await?;
        if point == Point::Anywhere {
            let pause = Duration::from_micros(self.random.random_range(0..40_000));
            // The time is the randomness that is tested, not a wait for something.
            tokio::time::timeout(pause, std::future::pending::<()>())
                .await
                .ok();
        } else {
            self.called(since).await?;
        }
        self.live_until_now()?;
        self.world.kill();
        *self.points.entry(point).or_default() += 1;
        aws.clear_faults();
        if self.random.random_bool(0.5) {
            self.change().await?;
        }
        self.born = self.clock.now();
        self.world.launch().await
    }

    /// The loops of now end.
    fn live_until_now(&mut self) -> Result<()> {
        self.lives.push(Life {
            began: self.born,
            ended: self.clock.now(),
            heard_all: self.world.lost_leases()? == 0 && self.world.unanswered()? == 0,
        });
        Ok(())
    }

    async fn called(&self, mut since: u64) -> Result<()> {
        loop {
            let filter = JournalFilter {
                since,
                ..JournalFilter::default()
            };
            let page = self.world.aws.handle().wait_journal(&filter, LIMIT).await;
            ensure!(!page.entries.is_empty(), "AWS is not called for a change");
            if page
                .entries
                .iter()
                .any(|entry| MUTATING.contains(&entry.action.as_str()))
            {
                return Ok(());
            }
            since = page.next;
        }
    }

    async fn settles(&self) -> Result<()> {
        self.world.settles("the end", &self.cluster.wanted(), LIMIT).await
    }

    /// Waits until the loops have looked at AWS again and again and found nothing to do: nothing comes late.
    async fn rests(&mut self) -> Result<()> {
        if !self.cluster.bound {
            // Nobody looks at a group in which nothing is ours and nothing bound.
            self.change().await?;
        }
        self.settles().await?;
        let from = self.last();
        let wanted = with_foreign(&self.cluster.wanted());
        Ok(wait_until(LIMIT, "rest", &Progress::silent(), async || {
            let registered = self.world.registered().map_err(Wait::Never)?;
            if registered != wanted {
                return Err(Wait::Never(sandbox::Error::Aws(format!(
                    "AWS had what is wanted, and then {registered:?} for {wanted:?}"
                ))));
            }
            let filter = JournalFilter {
                since: from,
                action: Some("DescribeTargetHealth".to_owned()),
                ..JournalFilter::default()
            };
            let looks = self.world.aws.handle().journal(&filter).entries.len();
            if looks < 4 {
                return Err(Wait::not_yet(format!("{looks} looks")));
            }
            Ok(())
        })
        .await?)
    }

    /// Holds every call that AWS received against what the cluster had.
    fn judge(&self, outages: &Outages) -> Result<Verdict> {
        let entries = self.world.aws.handle().journal(&JournalFilter::default()).entries;
        ensure!(
            entries.first().is_none_or(|entry| entry.sequence == 1),
            "the journal is too short for this history"
        );
        let mut last: BTreeMap<&str, &Entry> = BTreeMap::new();
        let mut verdict = Verdict::default();
        for entry in &entries {
            let removes = match entry.action.as_str() {
                "RegisterTargets" => false,
                "DeregisterTargets" => true,
                action if action.starts_with("Describe") => continue,
                action => bail!("nobody wanted {action}"),
            };
            verdict.calls += 1;
            for target in targets(entry) {
                ensure!(target != FOREIGN, "the foreign target was touched: {entry:?}");
                ensure!(
                    !removes || self.cluster.may_lose(target, entry.received),
                    "{target} was removed without a reason: {entry:?}"
                );
                if let Some(before) = last.insert(target, entry)
                    && before.action == entry.action
                    && !self.excused(before, entry, outages)
                {
                    verdict.repeated.push(format!(
                        "{} of {target}: received {} and answered {:?}, and received again {}",
                        entry.action, before.received, before.answered, entry.received
                    ));
                }
            }
        }
        Ok(verdict)
    }

    /// Whether the writer could not know, or not write down, what became of the first of these calls.
    fn excused(&self, before: &Entry, entry: &Entry, outages: &Outages) -> bool {
        let unheard = self
            .lives
            .iter()
            .any(|life| life.sent(before) && (!life.heard_all || life.ended < entry.received));
        let time = before.received - SignedDuration::from_secs(1)..entry.received;
        let outage = outages.lock().unwrap().iter().any(|at| time.contains(at));
        unheard || outage || before.abandoned || before.fault.is_some()
    }

    fn last(&self) -> u64 {
        self.world.aws.handle().journal(&JournalFilter::default()).next
    }
}

fn targets(entry: &Entry) -> impl Iterator<Item = &str> {
    let ids = (1..).map(|index| entry.param(&format!("Targets.member.{index}.Id")));
    ids.take_while(Option::is_some).flatten()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_and_postgres_killed_anywhere_lose_leak_and_repeat_nothing() -> Result<()> {
    let kills = number("ELBOW_KILLS").unwrap_or(KILLS).div_ceil(HISTORIES) * HISTORIES;
    let seed = number("ELBOW_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!(
        "{kills} kills in {HISTORIES} histories, ELBOW_SEED={seed} (ELBOW_KILLS=10000 for the full size)"
    );
    let options = Options {
        max_connections: 400,
        ..Options::default()
    };
    let postgres = RwLock::new(Postgres::start_own(options).await?);
    let (count, mut counted) = watch::channel(0_u64);
    let outages = Outages::default();
    let histories = (0..HISTORIES).map(|index| {
        let (postgres, count, outages) = (&postgres, &count, &outages);
        async move {
            let mut history = History::begin(&*postgres.read().await, seed.wrapping_add(index)).await?;
            for _ in 0..kills / HISTORIES {
                history.round().await?;
                count.send_modify(|count| *count += 1);
            }
            history.rests().await?;
            history.live_until_now()?;
            let verdict = history.judge(outages)?;
            history.world.stop().await;
            Ok::<_, anyhow::Error>((verdict, history.points))
        }
    });
    let histories = futures::future::try_join_all(histories);
    let chaos = async {
        for next in (PER_POSTGRES_KILL..).step_by(usize::try_from(PER_POSTGRES_KILL)?) {
            counted.wait_for(|count| *count >= next).await?;
            let mut postgres = postgres.write().await;
            outages.lock().unwrap().push(Clock::real().now());
            postgres.kill().await?;
            postgres.restart().await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let done = tokio::select! {
        done = histories => done.with_context(|| format!("ELBOW_SEED={seed}"))?,
        failed = chaos => return failed,
    };
    let mut points: BTreeMap<Point, u64> = BTreeMap::new();
    let mut all = Verdict::default();
    for (Verdict { calls, repeated }, at) in done {
        all.calls += calls;
        all.repeated.extend(repeated);
        for (point, count) in at {
            *points.entry(point).or_default() += count;
        }
    }
    println!(
        "{} calls changed AWS, {} of them for nothing; killed at {points:?}; Postgres killed {} times",
        all.calls,
        all.repeated.len(),
        outages.lock().unwrap().len()
    );
    ensure!(points.len() == Point::ALL.len(), "a point was never reached");
    ensure!(
        all.repeated.is_empty(),
        "calls are repeated for nothing: {:#?}",
        all.repeated
    );
    Ok(())
}
