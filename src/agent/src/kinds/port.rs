//! A port of a Service or of an EndpointSlice.

use model::fact::Protocol;
use serde::Deserialize;

use super::Unreadable;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PortEntry {
    pub(super) name: Option<String>,
    pub(super) port: Option<i64>,
    pub(super) protocol: Option<String>,
    pub(super) node_port: Option<i64>,
}

pub(super) fn port(number: i64, field: &'static str) -> Result<u16, Unreadable> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Unreadable {
            field,
            given: number.to_string(),
        }),
    }
}

/// Absent means TCP (Kubernetes API, ServicePort and EndpointPort).
pub(super) fn protocol(text: Option<&str>) -> Result<Protocol, Unreadable> {
    match text {
        None | Some("TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(Unreadable {
            field: "protocol",
            given: other.to_owned(),
        }),
    }
}
