//! Watches of the pods that Services select, begun and ended as the [`index`](crate::index) says.

use std::collections::HashMap;

use kube::{Api, Client};
use runtime::{Kind, Tasks};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    index::{Input, PodWatch},
    metrics::Metrics,
    watch::{self, Watch},
};

/// Runs the watches of pods.
pub struct PodWatcher {
    client: Client,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    tasks: Tasks,
    running: HashMap<u64, CancellationToken>,
}

impl PodWatcher {
    pub fn new(client: Client, inputs: mpsc::Sender<Input>, metrics: Metrics, tasks: Tasks) -> Self {
        Self {
            client,
            inputs,
            metrics,
            tasks,
            running: HashMap::new(),
        }
    }

    /// Begins or ends a watch.
    pub fn obey(&mut self, order: PodWatch) {
        let (id, service, view, selector) = match order {
            PodWatch::End { id } => {
                if let Some(stop) = self.running.remove(&id) {
                    stop.cancel();
                }
                return;
            }
            PodWatch::Begin {
                id,
                service,
                view,
                selector,
            } => (id, service, view, selector),
        };
        let labels: Vec<_> = selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let watched = Watch {
            api: Api::namespaced(self.client.clone(), &service.namespace),
            view,
            labels: Some(labels.join(",")),
            input: Box::new(move |event| Input::Pods {
                service: service.clone(),
                watch: id,
                event,
            }),
        };
        let stop = self.tasks.soft().child_token();
        let running =
            watch::run::<crate::kinds::Pod>(watched, self.inputs.clone(), self.metrics.clone(), stop.clone());
        self.tasks.spawn(Kind::Job, "watch pods", running);
        self.running.insert(id, stop);
    }
}
