//! The events that calls are measured by. They decide nothing, and may be lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws::budget::Batch;
use model::plan::Plan;
use store::News;

use crate::apply::lane_of;

/// The oldest event of a target group that each batch has not yet answered by a call. Clones are one: a pass hears what
/// comes while it is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<BTreeMap<Batch, Event>>>);

#[derive(Debug)]
struct Event {
    news: News,
    /// It was there before what is planned from was read.
    gathered: bool,
}

impl Heard {
    pub(crate) fn add(&self, news: &News) {
        let mut events = self.events();
        for batch in [Batch::Proven, Batch::Others] {
            events.entry(batch).or_insert_with(|| Event {
                news: news.clone(),
                gathered: false,
            });
        }
    }

    /// What is planned from is about to be read.
    pub(crate) fn gather(&self) {
        self.events().values_mut().for_each(|event| event.gathered = true);
    }

    /// An event that leads to nothing in a batch, or that a guard holds back, is not waited for by it.
    pub(crate) fn follow(&self, plan: &Plan) {
        self.events()
            .retain(|batch, event| !event.gathered || lane_of(plan, *batch).is_some());
    }

    /// The trace that the next pass continues.
    pub(crate) fn trace(&self) -> Option<String> {
        self.events().values().find_map(|event| event.news.trace.clone())
    }

    /// A call of the batch is about to be sent.
    pub(crate) fn take(&self, batch: Batch) -> Option<News> {
        self.events().remove(&batch).map(|event| event.news)
    }

    fn events(&self) -> MutexGuard<'_, BTreeMap<Batch, Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use model::plan::Step;

    use super::*;

    fn news(seconds: i64) -> News {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        News {
            ingested_at: at,
            seen_at: at,
            trace: None,
        }
    }

    fn plan(steps: Vec<Step>) -> Plan {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";
        Plan {
            target_group: arn.parse().unwrap(),
            steps,
            holds: Vec::new(),
            marks: BTreeMap::new(),
            relists: Vec::new(),
            observe: None,
            wake_at: None,
            statuses: BTreeMap::new(),
        }
    }

    #[test]
    fn a_call_is_measured_by_the_oldest_event_that_its_batch_has_not_answered() {
        let heard = Heard::default();
        heard.add(&news(1));
        heard.add(&news(2));
        assert_eq!(heard.take(Batch::Proven), Some(news(1)));
        assert_eq!(heard.take(Batch::Proven), None, "an event counts once in a batch");
        heard.add(&news(3));
        assert_eq!(
            heard.take(Batch::Others),
            Some(news(1)),
            "the other batch waits longer"
        );
        assert_eq!(heard.take(Batch::Proven), Some(news(3)));
    }

    #[test]
    fn an_event_that_leads_to_no_call_is_forgotten_and_one_that_was_not_yet_planned_for_is_not() {
        let targets = Vec::new();
        let removes = plan(vec![Step::Deregister { targets }]);
        let heard = Heard::default();
        heard.add(&news(1));
        heard.gather();
        heard.follow(&removes);
        assert_eq!(heard.take(Batch::Others), None, "nothing is registered for it");
        assert_eq!(heard.take(Batch::Proven), Some(news(1)));

        heard.gather();
        heard.add(&news(2));
        heard.follow(&plan(Vec::new()));
        assert_eq!(heard.take(Batch::Others), Some(news(2)));
    }
}
