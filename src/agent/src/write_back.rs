//! Writes the service's answers into the cluster: status and events of TargetGroupBindings, readiness gates of pods. The
//! latest per object, and of a pod per gate, wins.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use model::{
    ownership::{LBC_FINALIZER, Marks},
    pod::condition_type,
};
use runtime::{Clock, backoff::Backoff};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::agent::v1;

use crate::{engine::Finding, kinds::TargetGroupBinding, metrics::Metrics};

/// At most so many statuses a second.
pub const STATUS_PACE: Duration = Duration::from_millis(20);
/// Gates are many at once and somebody waits for each.
pub const GATE_PACE: Duration = Duration::from_millis(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;
/// The longest text that the events API takes.
const NOTE_BYTES: usize = 1024;

/// Who fills fields in, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "elbow-defaults";

/// Namespace, name, and of a pod the gate.
type Key = (String, String, Option<String>);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server refused the write: {0}")]
    Kube(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Error {
    /// Whether the same write may succeed later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Kube(kube::Error::Api(status)) => matches!(status.code, 409 | 429 | 500..),
            Self::Kube(_) | Self::Timeout(_) => true,
        }
    }
}

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
    fn id(&self) -> u64 {
        match self {
            Self::Object(write_back) => write_back.write_back_id,
            Self::Gate { id, .. } => *id,
        }
    }

    fn key(&self) -> Key {
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
struct Job {
    epoch: u64,
    order: Order,
    attempt: u32,
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

    async fn next(&self) -> Job {
        loop {
            if let Some((_, job)) = self.jobs().pop_first() {
                return job;
            }
            self.0.arrived.notified().await;
        }
    }

    /// Back in line, unless something newer is there.
    fn retry(&self, job: Job) {
        self.jobs().entry(job.order.key()).or_insert(Job {
            attempt: job.attempt + 1,
            ..job
        });
        self.0.arrived.notify_one();
    }
}

/// Does the writing.
pub struct WriteBack {
    pub client: Client,
    pub writer: Writer,
    /// Between two objects.
    pub pace: Duration,
    pub findings: mpsc::Sender<Finding>,
    pub instance: String,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Whether the cluster's definition of the kind has our counts. Another's drops them, and they would be written anew
    /// each time.
    pub knows_counts: AtomicBool,
}

impl WriteBack {
    /// Runs until the soft stop.
    pub async fn run(self, soft: CancellationToken) {
        let reporter = Reporter {
            controller: "elbow-agent".to_owned(),
            instance: Some(self.instance.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut pace = interval(self.pace);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let Some(job) = soft.run_until_cancelled(self.writer.next()).await else {
                return;
            };
            let written = match &job.order {
                Order::Object(write_back) => self.write(write_back, &recorder).await,
                Order::Gate { id: _, pod, gate } => self.write_gate(pod, gate).await,
            };
            self.metrics.wrote_back(written.is_ok());
            let error = match written {
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(error) if error.is_passing() && job.attempt < ATTEMPTS => {
                    tracing::info!(object = ?job.order.key(), %error, "what is to be written back is written again later");
                    self.writer.retry(job);
                    soft.run_until_cancelled(tokio::time::sleep(backoff.next_delay()))
                        .await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(object = ?job.order.key(), %error, "what is to be written back cannot be written");
                    Some(error.to_string())
                }
            };
            let found = Finding::WrittenBack {
                epoch: job.epoch,
                id: job.order.id(),
                error,
            };
            if self.findings.send(found).await.is_err() {
                return;
            }
        }
    }

    async fn write(&self, write_back: &v1::WriteBack, recorder: &Recorder) -> Result<(), Error> {
        let v1::WriteBack {
            write_back_id: _,
            namespace,
            name,
            uid,
            target_group_binding,
            event,
            take_over,
            target_type,
        } = write_back;
        let kind = ApiResource::erase::<TargetGroupBinding>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let Some(mut object) = timeout(CALL_TIMEOUT, api.get_opt(name)).await?? else {
            return Ok(());
        };
        if object.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        if let Some(status) = target_group_binding {
            let present = object.data.get("status").cloned().unwrap_or(Value::Null);
            let counts = self.knows_counts.load(Ordering::Relaxed);
            let wanted = merge(&present, status, counts, &self.clock.now().to_string());
            if wanted != present {
                // The UID and the version that were read: neither a later object of this name nor a later state of it
                // is overwritten.
                let patch = Patch::Merge(json!({
                    "metadata": {"uid": uid, "resourceVersion": object.metadata.resource_version},
                    "status": wanted,
                }));
                let params = PatchParams::default();
                let written = timeout(CALL_TIMEOUT, api.patch_status(name, &params, &patch)).await??;
                if counts && written.data["status"].get("desired").is_none() {
                    self.knows_counts.store(false, Ordering::Relaxed);
                }
                object = written;
            }
        }
        if *take_over && let Some(patch) = without_lbc(&object) {
            let patch = Patch::Merge(patch);
            object = timeout(CALL_TIMEOUT, api.patch(name, &PatchParams::default(), &patch)).await??;
            tracing::info!(
                namespace,
                name,
                "the object is taken over from the AWS Load Balancer Controller"
            );
        }
        if !target_type.is_empty() && object.data["spec"].get("targetType").is_none() {
            fill_in(&api, &object, target_type).await?;
        }
        if let Some(event) = event {
            let reference = ObjectReference {
                api_version: Some(kind.api_version.clone()),
                kind: Some(kind.kind.clone()),
                namespace: Some(namespace.clone()),
                name: Some(name.clone()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            };
            timeout(CALL_TIMEOUT, recorder.publish(&to_event(event), &reference)).await??;
        }
        Ok(())
    }
}

impl WriteBack {
    /// Sets the condition of a pod's readiness gate, unless it says so already.
    async fn write_gate(&self, pod: &v1::PodRef, gate: &v1::Gate) -> Result<(), Error> {
        let v1::PodRef { namespace, name, uid } = pod;
        let v1::Gate {
            binding,
            state: Some(state),
        } = gate
        else {
            return Ok(());
        };
        let v1::GateState {
            status,
            reason,
            message,
        } = state;
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let Some(pod) = timeout(CALL_TIMEOUT, api.get_opt(name)).await?? else {
            return Ok(());
        };
        if pod.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        let kind = condition_type(binding);
        let conditions = pod.status.and_then(|status| status.conditions);
        let present = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == kind);
        let mut since = json!(self.clock.now());
        if let Some(present) = present.filter(|present| present.status == *status) {
            let says = |given: &Option<String>, text: &str| given.as_deref().unwrap_or_default() == text;
            if says(&present.reason, reason) && says(&present.message, message) {
                return Ok(());
            }
            since = json!(present.last_transition_time);
        }
        // The UID: a later pod of this name is not touched. Conditions are merged by their type.
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": uid},
            "status": {"conditions": [{
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since,
            }]},
        }));
        match timeout(
            CALL_TIMEOUT,
            api.patch_status(name, &PatchParams::default(), &patch),
        )
        .await?
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            patched => Ok(patched.map(drop)?),
        }
    }
}

/// What removes the finalizer and the annotations of the AWS Load Balancer Controller, if the object has any of them.
fn without_lbc(object: &DynamicObject) -> Option<Value> {
    let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let others: Vec<_> = finalizers.iter().filter(|name| *name != LBC_FINALIZER).collect();
    let its: BTreeMap<_, _> = annotations
        .keys()
        .filter(|name| Marks::is_annotation(name))
        .map(|name| (name, Value::Null))
        .collect();
    if others.len() == finalizers.len() && its.is_empty() {
        return None;
    }
    Some(json!({"metadata": {
        "uid": object.metadata.uid,
        "resourceVersion": object.metadata.resource_version,
        "finalizers": others,
        "annotations": its,
    }}))
}

/// Sets `spec.targetType` of an object that has none, by server-side apply under a name of its own: whoever applies the
/// object keeps what is theirs, and nothing is forced.
async fn fill_in(api: &Api<DynamicObject>, object: &DynamicObject, target_type: &str) -> Result<(), Error> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let kind = ApiResource::erase::<TargetGroupBinding>(&());
    let apply = Patch::Apply(json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "uid": object.metadata.uid,
            "resourceVersion": object.metadata.resource_version,
        },
        "spec": {"targetType": target_type},
    }));
    let applied = timeout(
        CALL_TIMEOUT,
        api.patch(name, &PatchParams::apply(FIELD_MANAGER), &apply),
    )
    .await?;
    match applied.map_err(Error::from) {
        Ok(_) => Ok(()),
        Err(error) if error.is_passing() => Err(error),
        Err(error) => {
            // A convenience that the definition or our rights refuse: the binding works without it.
            tracing::info!(object = name, %error, "spec.targetType is not filled in");
            Ok(())
        }
    }
}

fn to_event(event: &v1::Event) -> Event {
    let v1::Event {
        r#type,
        reason,
        message,
    } = event;
    let end = message.floor_char_boundary(NOTE_BYTES);
    Event {
        type_: if r#type == "Warning" {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: reason.clone(),
        note: Some(message[..end].to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// `present` with what the service says. Conditions of others stay, and a status that did not change keeps its time.
fn merge(present: &Value, status: &v1::TargetGroupBindingStatus, counts: bool, now: &str) -> Value {
    let v1::TargetGroupBindingStatus {
        observed_generation,
        conditions,
        desired,
        registered,
        held,
    } = status;
    let mut merged = present.as_object().cloned().unwrap_or_default();
    let mut list = merged
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for condition in conditions {
        let v1::Condition {
            r#type,
            status,
            reason,
            message,
        } = condition;
        let slot = list.iter_mut().find(|present| present["type"] == json!(r#type));
        let former = slot.as_ref().filter(|present| present["status"] == json!(status));
        let since = former
            .and_then(|present| present["lastTransitionTime"].as_str())
            .unwrap_or(now)
            .to_owned();
        let condition = json!({
            "type": r#type,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": observed_generation,
            "lastTransitionTime": since,
        });
        match slot {
            Some(slot) => *slot = condition,
            None => list.push(condition),
        }
    }
    merged.insert("observedGeneration".to_owned(), json!(observed_generation));
    merged.insert("conditions".to_owned(), Value::Array(list));
    if counts {
        for (field, count) in [("desired", desired), ("registered", registered), ("held", held)] {
            merged.insert(field.to_owned(), json!(count));
        }
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(truth: &str, message: &str) -> v1::TargetGroupBindingStatus {
        v1::TargetGroupBindingStatus {
            observed_generation: 2,
            conditions: vec![v1::Condition {
                r#type: "Ready".into(),
                status: truth.into(),
                reason: "Reconciled".into(),
                message: message.into(),
            }],
            desired: 3,
            registered: 3,
            held: 0,
        }
    }

    #[test]
    fn a_status_that_did_not_change_keeps_its_time_and_is_not_written() {
        let first = merge(&Value::Null, &status("True", "all"), true, "2026-01-01T00:00:00Z");
        let second = merge(&first, &status("True", "all"), true, "2026-01-02T00:00:00Z");
        assert_eq!(first, second);
        let third = merge(
            &first,
            &status("True", "other words"),
            true,
            "2026-01-03T00:00:00Z",
        );
        assert_eq!(
            third["conditions"][0]["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
        let fourth = merge(&third, &status("False", "none"), true, "2026-01-04T00:00:00Z");
        assert_eq!(
            fourth["conditions"][0]["lastTransitionTime"],
            "2026-01-04T00:00:00Z"
        );
    }

    #[test]
    fn conditions_of_others_stay() {
        let present = json!({"conditions": [{"type": "Theirs", "status": "True"}]});
        let merged = merge(&present, &status("True", "all"), true, "2026-01-01T00:00:00Z");
        assert_eq!(merged["conditions"][0]["type"], "Theirs");
        assert_eq!(merged["conditions"][1]["type"], "Ready");
    }

    #[test]
    fn a_definition_without_our_counts_is_not_written_again_and_again() {
        let written = merge(
            &Value::Null,
            &status("True", "all"),
            false,
            "2026-01-01T00:00:00Z",
        );
        assert_eq!(written.get("desired"), None);
        assert_eq!(
            merge(&written, &status("True", "all"), false, "2026-01-02T00:00:00Z"),
            written
        );
    }

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
