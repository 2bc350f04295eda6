//! What is written into a TargetGroupBinding, and its events.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder},
};
use model::ownership::{LBC_FINALIZER, Marks};
use serde_json::{Value, json};
use tokio::time::timeout;
use wire::agent::v1;

use super::{CALL_TIMEOUT, Error, WriteBack, status::merge};
use crate::kinds::TargetGroupBinding;

/// The longest text that the events API takes.
const NOTE_BYTES: usize = 1024;
/// Who fills fields in, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "elbow-defaults";

impl WriteBack {
    pub(super) async fn write(&self, write_back: &v1::WriteBack, recorder: &Recorder) -> Result<(), Error> {
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
