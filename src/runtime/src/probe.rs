//! Readiness that depends on something outside of the process.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::{Kind, Tasks, admin::Readiness};

/// How often is asked, and how long no answer is borne.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What is asked, as `/readyz` names it.
    pub name: &'static str,
    pub every: Duration,
    /// For so long a process that was ready stays it without an answer: what is short disturbs less than a replica that
    /// leaves its load balancer and returns, and all replicas together would leave nobody to say what is wrong.
    pub patience: Duration,
}

impl Probe {
    /// Asks until the soft stop. Not ready before the first answer.
    pub fn spawn<F>(self, readiness: &Readiness, tasks: &Tasks, ask: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let Self {
            name,
            every,
            patience,
        } = self;
        readiness.set(name, false);
        let (readiness, soft) = (readiness.clone(), tasks.soft());
        let run = async move {
            let mut tick = tokio::time::interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut ready, mut answered) = (false, Instant::now());
            loop {
                tick.tick().await;
                let answer = ask().await;
                let now = Instant::now();
                match answer {
                    Ok(()) => {
                        answered = now;
                        if !std::mem::replace(&mut ready, true) {
                            tracing::info!(name, "ready");
                            readiness.set(name, true);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(name, error = format!("{error:#}"), "no answer");
                        if ready && now.duration_since(answered) >= patience {
                            tracing::warn!(name, error = format!("{error:#}"), "no longer ready");
                            ready = false;
                            readiness.set(name, false);
                        }
                    }
                }
            }
        };
        tasks.spawn(Kind::Critical, "readiness", async move {
            soft.run_until_cancelled(run).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    struct World {
        answers: Arc<AtomicBool>,
        readiness: Readiness,
        _tasks: Tasks,
    }

    impl World {
        fn new(answers: bool) -> Self {
            let (answers, readiness) = (Arc::new(AtomicBool::new(answers)), Readiness::default());
            let (asked, tasks) = (answers.clone(), Tasks::new());
            let probe = Probe {
                name: "database",
                every: Duration::from_secs(2),
                patience: Duration::from_secs(15),
            };
            probe.spawn(&readiness, &tasks, move || {
                let answer = asked.load(Ordering::SeqCst);
                async move {
                    if answer {
                        Ok(())
                    } else {
                        Err(anyhow::anyhow!("nobody there"))
                    }
                }
            });
            Self {
                answers,
                readiness,
                _tasks: tasks,
            }
        }

        async fn ready_after(&self, seconds: u64) -> bool {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            self.readiness.missing().is_empty()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_ready_before_the_first_answer() {
        let world = World::new(false);
        assert!(!world.ready_after(60).await);
        world.answers.store(true, Ordering::SeqCst);
        assert!(world.ready_after(3).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_outage_is_borne_and_a_long_one_is_told_until_it_ends() {
        let world = World::new(true);
        assert!(world.ready_after(1).await);
        world.answers.store(false, Ordering::SeqCst);
        assert!(world.ready_after(10).await, "short");
        world.answers.store(true, Ordering::SeqCst);
        assert!(world.ready_after(5).await);
        world.answers.store(false, Ordering::SeqCst);
        assert!(!world.ready_after(20).await, "long");
        assert_eq!(world.readiness.missing(), ["database"]);
        world.answers.store(true, Ordering::SeqCst);
        assert!(world.ready_after(3).await, "over");
    }
}
