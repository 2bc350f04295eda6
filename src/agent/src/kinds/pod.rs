//! Pod, as far as its readiness gates go.

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use model::{
    condition::Truth,
    fact::ObjectName,
    pod::{self, GateState},
};
use serde::Deserialize;

use super::{
    Unreadable, Watched, kind,
    meta::{Unlabelled, object_name, slim, version},
};
use crate::index::Kind;

/// What is kept of a condition's message. AWS's own are far shorter.
const MESSAGE_BYTES: usize = 1024;
/// What the API server gives a pod that does not say.
const GRACE_SECONDS: i64 = 30;

/// A pod, as far as its readiness gates go.
#[derive(Clone, Debug, Deserialize)]
pub struct Pod {
    #[serde(deserialize_with = "slim::<Unlabelled, _>")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    readiness_gates: Option<Vec<ReadinessGate>>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadinessGate {
    condition_type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    conditions: Option<Vec<PodCondition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

kind!(Pod, "", "v1", "pods", NamespaceResourceScope);

impl Watched for Pod {
    type Fact = model::pod::Pod;
    const KIND: Kind = Kind::Pod;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Self::Fact, Unreadable> {
        let Self {
            metadata,
            spec:
                PodSpec {
                    readiness_gates,
                    termination_grace_period_seconds,
                },
            status: PodStatus { conditions },
        } = self;
        let conditions = conditions.unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|condition| condition.r#type == kind);
        let gates = readiness_gates.unwrap_or_default().into_iter();
        let gates = gates.filter_map(|ReadinessGate { condition_type }| {
            let binding = pod::gate_of(&condition_type)?;
            Some((binding.to_owned(), condition(&condition_type).map(gate_state)))
        });
        let grace = termination_grace_period_seconds.unwrap_or(GRACE_SECONDS);
        Ok(Self::Fact {
            object: object_name(&metadata),
            version: version(&metadata)?,
            gates: gates.collect(),
            containers_ready: condition("ContainersReady")
                .is_some_and(|condition| condition.status == "True"),
            terminating: metadata.deletion_timestamp.is_some(),
            // A negative one means 1 (Kubernetes API, PodSpec).
            grace_seconds: u32::try_from(grace).unwrap_or(1),
        })
    }
}

fn gate_state(condition: &PodCondition) -> GateState {
    let PodCondition {
        r#type: _,
        status,
        reason,
        message,
    } = condition;
    // Postgres holds no NUL.
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default().replace('\0', "\u{fffd}");
        text[..text.floor_char_boundary(MESSAGE_BYTES)].to_owned()
    };
    GateState {
        status: Truth::parse(status).unwrap_or(Truth::Unknown),
        reason: text(reason),
        message: text(message),
    }
}
