use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::*;

const TENANT: &str = "t";

fn group(n: usize) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/tg-{n}/0123456789abcdef")
        .parse()
        .expect("valid")
}

async fn take(budget: &Budget, lane: Lane) {
    budget.acquire(Category::Registration, lane, TENANT).await.spend();
}

/// Takes what is there at once.
async fn drain(budget: &Budget, lane: Lane) -> usize {
    let mut taken = 0;
    while timeout(Duration::from_millis(1), take(budget, lane))
        .await
        .is_ok()
    {
        taken += 1;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_burst_is_kept_for_terminating_targets_and_for_rested_tenants() {
    let budget = Budget::new(Settings::default(), Start::Full);
    assert_eq!(
        drain(&budget, Lane::Add).await,
        17,
        "20 without the headroom and the reserve"
    );
    assert_eq!(drain(&budget, Lane::RemoveTerminating).await, 1);
    let rested = budget.acquire(Category::Registration, Lane::Add, "somebody else");
    timeout(Duration::from_millis(1), rested)
        .await
        .expect("one is for who has not called for a while")
        .spend();
}

#[tokio::test(start_paused = true)]
async fn a_successor_reads_at_once_and_writes_as_the_bucket_fills() {
    let budget = Budget::new(Settings::default(), Start::Empty);
    let start = Instant::now();
    budget
        .acquire(Category::Describe, Lane::Describe, TENANT)
        .await
        .spend();
    assert_eq!(start.elapsed(), Duration::ZERO);
    take(&budget, Lane::RemoveTerminating).await;
    assert!(
        (250..260).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn when_tokens_are_scarce_the_urgent_lane_goes_first_though_it_asked_last() {
    let budget = Budget::new(Settings::default(), Start::Full);
    drain(&budget, Lane::RemoveTerminating).await;
    let order = std::sync::Mutex::new(Vec::new());
    let wait = async |lane: Lane| {
        take(&budget, lane).await;
        order.lock().expect("not poisoned").push(lane);
    };
    tokio::join!(
        biased;
        wait(Lane::RemoveOther),
        wait(Lane::Add),
        wait(Lane::RemoveTerminating),
    );
    assert_eq!(
        *order.lock().expect("not poisoned"),
        [Lane::RemoveTerminating, Lane::Add, Lane::RemoveOther]
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_gets_what_nobody_waits_for() {
    let budget = Budget::new(Settings::default(), Start::Full);
    let now = |lane| budget.try_acquire(Category::Registration, lane);
    now(Lane::Add).expect("the bucket is full").spend();
    drain(&budget, Lane::RemoveTerminating).await;
    assert!(now(Lane::RemoveTerminating).is_none(), "it is empty");
    let waiting = take(&budget, Lane::Add);
    let mut waiting = std::pin::pin!(waiting);
    assert!(
        timeout(Duration::from_millis(400), &mut waiting).await.is_err(),
        "the reserve is kept"
    );
    assert!(now(Lane::RemoveOther).is_none(), "somebody waits who goes before");
    now(Lane::RemoveTerminating)
        .expect("nobody waits who goes before")
        .spend();
    waiting.await;
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_costs_nothing_and_a_permit_unspent_goes_back() {
    let budget = Budget::new(Settings::default(), Start::Full);
    drain(&budget, Lane::RemoveTerminating).await;
    for _ in 0..10 {
        assert!(
            timeout(Duration::from_millis(10), take(&budget, Lane::RemoveTerminating))
                .await
                .is_err()
        );
    }
    sleep(Duration::from_secs(100)).await;
    drop(
        budget
            .acquire(Category::Registration, Lane::RemoveTerminating, TENANT)
            .await,
    );
    assert_eq!(drain(&budget, Lane::RemoveTerminating).await, 18);
}

#[tokio::test(start_paused = true)]
async fn throttling_slows_its_category_alone() {
    let budget = Budget::new(Settings::default(), Start::Full);
    budget.throttled(Category::Registration);
    assert!(budget.level(Category::Registration) < 1e-9);
    assert!((budget.level(Category::Describe) - 1.0).abs() < 1e-9);
    let start = Instant::now();
    take(&budget, Lane::RemoveTerminating).await;
    assert!(
        (350..370).contains(&start.elapsed().as_millis()),
        "1 / (4 × 0.7): {:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_account_bucket_limits_all_categories_of_elbv2_together_and_none_of_ec2() {
    let settings = Settings {
        account: Some(Rate::new(3.0, 1.0)),
        ..Settings::default()
    };
    let budget = Budget::new(settings, Start::Full);
    let start = Instant::now();
    budget
        .acquire(Category::Describe, Lane::Describe, TENANT)
        .await
        .spend();
    take(&budget, Lane::Add).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    budget
        .acquire(Category::Ec2Describe, Lane::Describe, TENANT)
        .await
        .spend();
    assert_eq!(start.elapsed(), Duration::ZERO);
    take(&budget, Lane::Add).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
}

/// M2: N dirty groups clear in about (N − 20) / 4 s, and AWS's own bucket is never overdrawn.
#[tokio::test(start_paused = true)]
async fn three_hundred_dirty_groups_take_what_the_bucket_takes() {
    let budget = Budget::new(Settings::default(), Start::Full);
    let start = Instant::now();
    let turns: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let waits = turns.iter().map(|turn| async {
        budget
            .acquire(Category::Registration, Lane::Add, turn.as_str())
            .await
            .spend();
        start.elapsed()
    });
    let mut sent = futures::future::join_all(waits).await;
    sent.sort();
    let bound = Duration::from_secs_f64(1.15 * 280.0 / 4.0 + 1.0);
    assert!(sent[299] <= bound, "{:?} > {bound:?}", sent[299]);
    for (n, at) in (1u32..).zip(&sent) {
        let allowed = 20.0 + at.as_secs_f64() * 4.0;
        assert!(f64::from(n) <= allowed, "call {n} at {at:?}");
    }
}

/// S18: one tenant changes a thousand groups a second, in every lane; the one change that another makes each ten seconds
/// waits no longer than if it were alone, which is not at all.
#[tokio::test(start_paused = true)]
async fn a_quiet_tenant_is_served_at_once_although_another_has_a_thousand_groups_waiting() {
    let budget = Budget::new(Settings::default(), Start::Full);
    let busy = async |lane: Lane, n: usize| loop {
        let name = n.to_string();
        let turn = Turn {
            tenant: "busy",
            name: &name,
        };
        budget.acquire(Category::Registration, lane, turn).await.spend();
    };
    let lanes = [Lane::RemoveTerminating, Lane::Add, Lane::RemoveOther];
    let busy = (0..1000).flat_map(|n| lanes.map(|lane| busy(lane, n)));
    let quiet = async {
        for change in 0..100 {
            sleep(Duration::from_secs(10)).await;
            let lane = lanes[change % 3];
            let gathers = budget.gather("quiet", &group(change), lane.into(), 1);
            assert_eq!(gathers, Duration::ZERO, "change {change}");
            let asked = Instant::now();
            budget
                .acquire(Category::Registration, lane, "quiet")
                .await
                .spend();
            assert!(
                asked.elapsed() <= Duration::from_millis(2),
                "change {change}: {:?}",
                asked.elapsed()
            );
        }
    };
    tokio::select! {
        _ = futures::future::join_all(busy) => unreachable!("the busy tenant is never done"),
        () = quiet => {}
    }
}

/// A tenant that changes all the time is not kept out by many that change now and then.
#[tokio::test(start_paused = true)]
async fn who_has_waited_for_long_is_rested_too() {
    let budget = Budget::new(Settings::default(), Start::Full);
    drain(&budget, Lane::RemoveTerminating).await;
    let now_and_then = async |n: usize| loop {
        let name = n.to_string();
        budget
            .acquire(Category::Registration, Lane::Add, name.as_str())
            .await
            .spend();
        sleep(Duration::from_secs(6)).await;
    };
    let crowd = futures::future::join_all((0..100).map(now_and_then));
    let busy = async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let asked = Instant::now();
            take(&budget, Lane::RemoveOther).await;
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    tokio::select! {
        _ = crowd => unreachable!("they are never done"),
        longest = busy => assert!(longest <= Duration::from_mins(1), "{longest:?}"),
        () = sleep(Duration::from_mins(20)) => panic!("it is kept out"),
    }
}

/// M1: twenty groups, one of them changed each 350 ms: every change goes at once, for ever.
#[tokio::test(start_paused = true)]
async fn slow_changes_of_twenty_groups_go_at_once() {
    let budget = Budget::new(Settings::default(), Start::Full);
    for change in 0..2000 {
        let (changed_at, group) = (Instant::now(), group(change % 20));
        let lane = if change % 2 == 0 {
            Lane::Add
        } else {
            Lane::RemoveTerminating
        };
        let wait = budget.gather(TENANT, &group, lane.into(), 1);
        assert_eq!(wait, Duration::ZERO, "change {change}");
        take(&budget, lane).await;
        assert_eq!(changed_at.elapsed(), Duration::ZERO, "change {change}");
        sleep(Duration::from_millis(350)).await;
    }
}

/// M3: a group that has just made calls is served like any other.
#[tokio::test(start_paused = true)]
async fn a_group_that_has_just_changed_has_its_next_change_at_once() {
    let budget = Budget::new(Settings::default(), Start::Full);
    let start = Instant::now();
    for lane in [Lane::Add, Lane::RemoveTerminating] {
        for change in 0..4 {
            let wait = budget.gather(TENANT, &group(0), lane.into(), 1);
            assert_eq!(wait, Duration::ZERO, "{lane:?} {change}");
            take(&budget, lane).await;
            sleep(Duration::from_millis(350)).await;
        }
    }
    assert_eq!(start.elapsed(), Duration::from_millis(8 * 350), "nobody waited");
}

/// M4: a rolling restart of 200 pods, as kube-controller-manager did it, is 400 changes and at most 20 calls.
#[tokio::test(start_paused = true)]
async fn a_recorded_restart_costs_few_calls_and_no_removal_waits_long() {
    let changes = include_str!("restart.csv").lines().map(|line| {
        let (at, what) = line.split_once(',').expect("two columns");
        let at = Duration::from_millis(at.parse().expect("milliseconds"));
        (
            at,
            if what == "ends" {
                Lane::RemoveTerminating
            } else {
                Lane::Add
            },
        )
    });
    let played = play(changes).await;
    let settings = Gather::default();
    assert_eq!(played.changes, 400);
    assert!(played.calls <= 20, "{played:?}");
    assert!(
        played.longest[0] <= settings.proven_at_most + ANSWER,
        "{played:?}"
    );
    assert!(
        played.longest[1] <= settings.others_at_most + ANSWER,
        "{played:?}"
    );
}

/// The same at other speeds: as many calls as the longest waits allow, and no more.
#[tokio::test(start_paused = true)]
async fn a_slow_restart_costs_calls_by_its_length_and_not_by_its_pods() {
    for (seconds, most) in [(10, 12), (20, 20), (40, 34), (80, 62)] {
        let step = Duration::from_secs(seconds) / 400;
        let changes = (0..400).map(|n| {
            let lane = if n % 2 == 0 {
                Lane::Add
            } else {
                Lane::RemoveTerminating
            };
            (step * n, lane)
        });
        let played = play(changes).await;
        assert!(played.calls <= most, "{seconds} s: {played:?}");
    }
}

/// Pods that start together come in the waves of a 25 % surge, each of which goes at once.
#[tokio::test(start_paused = true)]
async fn a_restart_in_waves_costs_a_call_for_each_wave() {
    for seconds in [10, 30, 60] {
        let step = Duration::from_secs(seconds) / 8;
        let changes = (0..8).flat_map(|wave| {
            let lane = if wave % 2 == 0 {
                Lane::Add
            } else {
                Lane::RemoveTerminating
            };
            (0..50).map(move |_| (step * wave, lane))
        });
        let played = play(changes).await;
        assert_eq!(played.calls, 8, "{seconds} s: {played:?}");
        assert_eq!(played.longest, [Duration::ZERO; 2], "{seconds} s");
    }
}

/// How long AWS takes to answer.
const ANSWER: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Played {
    changes: usize,
    calls: usize,
    /// The longest time that a change of each [`Batch`] waited.
    longest: [Duration; 2],
}

/// Plays changes of one group, each at its time.
async fn play(changes: impl Iterator<Item = (Duration, Lane)>) -> Played {
    let (budget, start) = (Budget::new(Settings::default(), Start::Full), Instant::now());
    let mut batches = [VecDeque::new(), VecDeque::new()];
    for (at, lane) in changes {
        batches[Batch::from(lane) as usize].push_back(start + at);
    }
    let changes = batches.iter().map(VecDeque::len).sum();
    let [proven, others] = batches;
    let (proven, others) = tokio::join!(
        play_batch(&budget, Lane::RemoveTerminating, proven),
        play_batch(&budget, Lane::Add, others),
    );
    Played {
        changes,
        calls: proven.0 + others.0,
        longest: [proven.1, others.1],
    }
}

async fn play_batch(budget: &Budget, lane: Lane, mut changes: VecDeque<Instant>) -> (usize, Duration) {
    let (mut calls, mut longest) = (0, Duration::ZERO);
    while let Some(first) = changes.front().copied() {
        tokio::time::sleep_until(first).await;
        let come = changes.partition_point(|at| *at <= Instant::now());
        let wait = budget.gather(TENANT, &group(0), lane.into(), come);
        if wait.is_zero() {
            take(budget, lane).await;
            longest = longest.max(first.elapsed());
            changes.drain(..come);
            calls += 1;
            sleep(ANSWER).await;
        } else {
            let due = Instant::now() + wait;
            let next = changes.get(come).map_or(due, |next| due.min(*next));
            tokio::time::sleep_until(next).await;
        }
    }
    (calls, longest)
}

/// What `/metrics` would say.
fn shown(registry: &prometheus_client::registry::Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a String takes everything");
    text
}

#[tokio::test(start_paused = true)]
async fn what_a_bucket_is_like_is_shown_when_somebody_looks() {
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = crate::Metrics::new(&mut registry);
    let budget = Budget::new(Settings::default(), Start::Full);
    metrics.show("aws/1/x", &budget);
    let spent = drain(&budget, Lane::RemoveTerminating).await;
    budget.throttled(Category::Registration);
    let mut late = std::pin::pin!(take(&budget, Lane::RemoveOther));
    assert!(futures::poll!(&mut late).is_pending());
    // Nothing comes into a bucket that AWS has emptied for a while, but somebody waits.
    budget.throttled(Category::Registration);
    let text = shown(&registry);
    let of = "{shard=\"aws/1/x\",bucket=\"registration\"";
    for line in [
        format!("aws_permits_total{of},lane=\"remove_terminating\"}} {spent}\n"),
        format!("aws_throttles_total{of}}} 2\n"),
        format!("aws_budget_waiting{of}}} 1.0\n"),
        format!("aws_budget_level{of}}} 0.0\n"),
    ] {
        assert!(text.contains(&line), "{line} is not in:\n{text}");
    }
    late.await;
    let line = format!("aws_budget_waiting{of}}} 0.0\n");
    assert!(shown(&registry).contains(&line), "{}", shown(&registry));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_nobody_has_any_more_is_not_shown() {
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = crate::Metrics::new(&mut registry);
    let budgets = [(); 2].map(|()| Budget::new(Settings::default(), Start::Full));
    let levels = || shown(&registry).matches("aws_budget_level{").count();
    // The successor's is shown in its place.
    for budget in &budgets {
        metrics.show("aws/1/x", budget);
        assert_eq!(levels(), Category::ALL.len());
    }
    drop(budgets);
    assert_eq!(levels(), 0);
}
