//! What waits to be written.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;
use wire::agent::v1;

/// Namespace, name, and of a pod the gate.
type Key = (String, String, Option<String>);

/// What is to be written.
#[derive(Debug)]
pub enum Order {
    /// Into a TargetGroupBinding.
    Object(v1::WriteBack),
    /// Into a readiness gate of a pod.
    Gate {
        id: u64,
        pod: v1::PodRef,
        gate: v1::Gate,
    },
}

impl Order {
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Object(write_back) => write_back.write_back_id,
            Self::Gate { id, .. } => *id,
        }
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Self::Object(write_back) => (write_back.namespace.clone(), write_back.name.clone(), None),
            Self::Gate { id: _, pod, gate } => (
                pod.namespace.clone(),
                pod.name.clone(),
                Some(gate.binding.clone()),
            ),
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) epoch: u64,
    pub(super) order: Order,
    pub(super) attempt: u32,
}

/// Takes what is to be written.
#[derive(Clone, Debug, Default)]
pub struct Writer(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    jobs: Mutex<BTreeMap<Key, Job>>,
    arrived: Notify,
}

impl Writer {
    /// Replaces what waits for the same object; only what is written is answered.
    pub fn write(&self, epoch: u64, order: Order) {
        let job = Job {
            epoch,
            order,
            attempt: 1,
        };
        self.jobs().insert(job.order.key(), job);
        self.0.arrived.notify_one();
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Job>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn next(&self) -> Job {
        loop {
            if let Some((_, job)) = self.jobs().pop_first() {
                return job;
            }
            self.0.arrived.notified().await;
        }
    }

    /// Back in line, unless something newer is there.
    pub(super) fn retry(&self, job: Job) {
        self.jobs().entry(job.order.key()).or_insert(Job {
            attempt: job.attempt + 1,
            ..job
        });
        self.0.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_write_of_an_object_wins() {
        let writer = Writer::default();
        for id in 1..=3 {
            let write_back = v1::WriteBack {
                write_back_id: id,
                namespace: "a".into(),
                name: "b".into(),
                uid: String::new(),
                target_group_binding: None,
                event: None,
                take_over: false,
                target_type: String::new(),
            };
            writer.write(1, Order::Object(write_back));
        }
        let jobs = writer.jobs();
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs.values().next().unwrap().order.id(), 3);
    }
}
