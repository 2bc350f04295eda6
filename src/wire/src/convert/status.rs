//! The status of a binding, to be written into its object. One way: an agent passes on reasons newer than itself.

use model::condition::{BindingStatus, Readiness};

use crate::agent::v1 as wire;

impl From<BindingStatus> for wire::TargetGroupBindingStatus {
    fn from(status: BindingStatus) -> Self {
        let BindingStatus {
            observed_generation,
            ready,
            desired,
            registered,
            held,
            // It goes beside the status, into the spec.
            target_type: _,
        } = status;
        Self {
            observed_generation,
            conditions: vec![ready.into()],
            desired,
            registered,
            held,
        }
    }
}

impl From<Readiness> for wire::Condition {
    fn from(ready: Readiness) -> Self {
        let Readiness {
            status,
            reason,
            message,
        } = ready;
        Self {
            r#type: "Ready".to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.to_string(),
            message,
        }
    }
}
