//! Pods and their readiness gates.

use model::{
    condition::Truth,
    pod::{GateState, Pod},
    stream::{Change, Tombstone},
};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, name, text, unreadable},
    object::{meta, to_meta},
};
use crate::agent::v1 as wire;

/// A condition's reason (Kubernetes API, Condition).
const REASON_BYTES: usize = 1024;
const MESSAGE_BYTES: usize = 32_768;

impl TryFrom<wire::Pod> for Pod {
    type Error = ConvertError;

    fn try_from(pod: wire::Pod) -> Result<Self> {
        let wire::Pod {
            meta: object_meta,
            gates,
            gate_count,
            containers_ready,
            terminating,
            grace_seconds,
        } = pod;
        let (object, version) = meta(object_meta).at("meta")?;
        Ok(Self {
            object,
            version,
            gates: counted(gates, gate_count, "gates", gate)?.into_iter().collect(),
            containers_ready,
            terminating,
            grace_seconds,
        })
    }
}

impl From<Pod> for wire::Pod {
    fn from(pod: Pod) -> Self {
        let Pod {
            object,
            version,
            gates,
            containers_ready,
            terminating,
            grace_seconds,
        } = pod;
        let gates: Vec<_> = gates
            .into_iter()
            .map(|(binding, state)| to_gate(binding, state))
            .collect();
        Self {
            meta: Some(to_meta(object, version)),
            gate_count: count(&gates),
            gates,
            containers_ready,
            terminating,
            grace_seconds,
        }
    }
}

fn gate(gate: wire::Gate) -> Result<(String, Option<GateState>)> {
    let wire::Gate { binding, state } = gate;
    let state = state.map(GateState::try_from).transpose().at("state")?;
    Ok((name(binding).at("binding")?, state))
}

/// The gate of a binding, with the state of its condition.
pub fn to_gate(binding: String, state: Option<GateState>) -> wire::Gate {
    wire::Gate {
        binding,
        state: state.map(Into::into),
    }
}

impl TryFrom<wire::GateState> for GateState {
    type Error = ConvertError;

    fn try_from(state: wire::GateState) -> Result<Self> {
        let wire::GateState {
            status,
            reason,
            message,
        } = state;
        Ok(Self {
            status: truth(&status).at("status")?,
            reason: text(reason, REASON_BYTES).at("reason")?,
            message: text(message, MESSAGE_BYTES).at("message")?,
        })
    }
}

impl From<GateState> for wire::GateState {
    fn from(state: GateState) -> Self {
        let GateState {
            status,
            reason,
            message,
        } = state;
        Self {
            status: status.as_str().to_owned(),
            reason,
            message,
        }
    }
}

fn truth(text: &str) -> std::result::Result<Truth, Fault> {
    match Truth::parse(text) {
        Some(truth) => Ok(truth),
        None if text.is_empty() => Err(Fault::Missing),
        None => Err(unreadable(text, "True, False or Unknown")),
    }
}

pub(super) fn change(change: wire::pod_update::Change) -> Result<Change<Pod>> {
    match change {
        wire::pod_update::Change::Reset(wire::PodReset { pods, pod_count }) => {
            counted(pods, pod_count, "pods", Pod::try_from)
                .at("reset")
                .map(Change::Reset)
        }
        wire::pod_update::Change::Patch(wire::PodPatch { upserted, deleted }) => Ok(Change::Patch {
            upserted: each(upserted, "upserted", Pod::try_from).at("patch")?,
            deleted: each(deleted, "deleted", Tombstone::try_from).at("patch")?,
        }),
    }
}

pub(super) fn to_change(change: Change<Pod>) -> wire::pod_update::Change {
    match change {
        Change::Reset(pods) => wire::pod_update::Change::Reset(wire::PodReset {
            pod_count: count(&pods),
            pods: pods.into_iter().map(Into::into).collect(),
        }),
        Change::Patch { upserted, deleted } => wire::pod_update::Change::Patch(wire::PodPatch {
            upserted: upserted.into_iter().map(Into::into).collect(),
            deleted: deleted.into_iter().map(Into::into).collect(),
        }),
    }
}
