//! Where a statement comes from: what it waited, and its trace.

use std::time::Duration;

use model::stream::Origin;

use crate::agent::v1 as wire;

/// Of version 00: `00-` and 32, 16 and 2 hexadecimal digits, each after a hyphen.
const TRACEPARENT_LENGTH: usize = 55;

/// Where a message comes from, as far as it says so in a form that is understood.
pub fn origin(message: &wire::AgentMessage) -> Option<Origin> {
    let wire::Origin {
        waited_microseconds,
        traceparent,
    } = message.origin.as_ref()?;
    let is_trace = traceparent.len() == TRACEPARENT_LENGTH
        && traceparent
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    Some(Origin {
        waited: Duration::from_micros((*waited_microseconds)?),
        trace: is_trace.then(|| traceparent.clone()),
    })
}

/// The same for the wire.
pub fn to_origin(Origin { waited, trace }: Origin) -> wire::Origin {
    wire::Origin {
        waited_microseconds: Some(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX)),
        traceparent: trace.unwrap_or_default(),
    }
}
