use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;

fn group(n: usize) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/tg-{n}/0123456789abcdef")
        .parse()
        .expect("valid")
}

async fn take(budget: &Budget, lane: Lane) {
    budget.acquire(Category::Registration, lane, "t").await.spend();
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
async fn a_part_of_the_burst_is_kept_for_terminating_targets() {
    let budget = Budget::new(Settings::default(), Start::Full);
    assert_eq!(
        drain(&budget, Lane::Add).await,
        17,
        "20 without the headroom and the reserve"
    );
    assert_eq!(drain(&budget, Lane::RemoveTerminating).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_successor_reads_at_once_and_writes_as_the_bucket_fills() {
    let budget = Budget::new(Settings::default(), Start::Empty);
    let start = Instant::now();
    budget
        .acquire(Category::Describe, Lane::Describe, "t")
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
            .acquire(Category::Registration, Lane::RemoveTerminating, "t")
            .await,
    );
    assert_eq!(drain(&budget, Lane::RemoveTerminating).await, 19);
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
        .acquire(Category::Describe, Lane::Describe, "t")
        .await
        .spend();
    take(&budget, Lane::Add).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    budget
        .acquire(Category::Ec2Describe, Lane::Describe, "t")
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
            .acquire(Category::Registration, Lane::Add, turn)
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

/// S18: a tenant that keeps the line long does not keep another out.
#[tokio::test(start_paused = true)]
async fn a_quiet_tenant_is_next_although_another_has_a_thousand_groups_waiting() {
    let budget = Budget::new(Settings::default(), Start::Full);
    drain(&budget, Lane::RemoveTerminating).await;
    let busy = async {
        let calls = (0..1000).map(|_| budget.acquire(Category::Registration, Lane::Add, "busy"));
        for permit in futures::future::join_all(calls).await {
            permit.spend();
        }
    };
    let quiet = async {
        sleep(Duration::from_secs(5)).await;
        let asked = Instant::now();
        budget
            .acquire(Category::Registration, Lane::Add, "quiet")
            .await
            .spend();
        asked.elapsed()
    };
    tokio::select! {
        () = busy => panic!("the busy tenant cannot be done"),
        wait = quiet => assert!(wait <= Duration::from_millis(510), "{wait:?}"),
    }
}

/// M1: twenty groups, one of them changed each 350 ms: every change goes at once, for ever.
#[tokio::test(start_paused = true)]
async fn slow_changes_of_twenty_groups_go_at_once() {
    let budget = Budget::new(Settings::default(), Start::Full);
    for change in 0..2000 {
        let (changed_at, group) = (Instant::now(), group(change % 20));
        assert_eq!(budget.gather_for(&group), Duration::ZERO, "change {change}");
        take(
            &budget,
            if change % 2 == 0 {
                Lane::Add
            } else {
                Lane::RemoveTerminating
            },
        )
        .await;
        budget.called(&group, 1);
        assert_eq!(changed_at.elapsed(), Duration::ZERO, "change {change}");
        sleep(Duration::from_millis(350)).await;
    }
}

/// M4: a rolling restart of 200 pods is 400 changes in one group, and costs at most 20 calls however long it takes.
#[tokio::test(start_paused = true)]
async fn a_rolling_restart_costs_few_calls() {
    for seconds in [10, 20, 30, 45, 60] {
        let (calls, longest) = restart(Duration::from_secs(seconds), 1).await;
        assert!(calls <= 20, "{calls} calls in {seconds} s");
        assert!(
            longest <= Duration::from_secs(15),
            "a change waited {longest:?} in {seconds} s"
        );
    }
}

/// The same when the pods come in the waves of a 25 % surge.
#[tokio::test(start_paused = true)]
async fn a_rolling_restart_in_waves_costs_few_calls() {
    for seconds in [10, 30, 60] {
        let (calls, _) = restart(Duration::from_secs(seconds), 50).await;
        assert!(calls <= 20, "{calls} calls in {seconds} s");
    }
}

/// Replaces 200 pods over `length`, `wave` at a time: additions first, then removals. Answers with the calls made and
/// the longest time that a change waited.
async fn restart(length: Duration, wave: u32) -> (u32, Duration) {
    let budget = Budget::new(Settings::default(), Start::Full);
    let (group, start) = (group(0), Instant::now());
    let waves = 200 / wave;
    let step = length / (2 * waves);
    // (when, is it an addition), in order.
    let mut changes = (0..2 * waves)
        .flat_map(|n| (0..wave).map(move |_| (start + step * n, n % 2 == 0)))
        .collect::<std::collections::VecDeque<_>>();
    let (mut calls, mut longest) = (0, Duration::ZERO);
    while let Some((first, _)) = changes.front().copied() {
        tokio::time::sleep_until(first).await;
        sleep(budget.gather_for(&group)).await;
        let now = Instant::now();
        let ripe: Vec<_> = changes.iter().take_while(|(at, _)| *at <= now).copied().collect();
        changes.drain(..ripe.len());
        longest = longest.max(now.duration_since(first));
        for (lane, adds) in [(Lane::Add, true), (Lane::RemoveTerminating, false)] {
            let targets = ripe.iter().filter(|(_, addition)| *addition == adds).count();
            if targets > 0 {
                take(&budget, lane).await;
                budget.called(&group, targets);
                calls += 1;
                // AWS's answer.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    (calls, longest)
}
