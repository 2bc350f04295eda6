//! The condition that a pod's readiness gate is.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use model::pod::condition_type;
use serde_json::json;
use tokio::time::timeout;
use wire::agent::v1;

use super::{CALL_TIMEOUT, Error, WriteBack};

impl WriteBack {
    /// Sets the condition of a pod's readiness gate, unless it says so already.
    pub(super) async fn write_gate(&self, pod: &v1::PodRef, gate: &v1::Gate) -> Result<(), Error> {
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
