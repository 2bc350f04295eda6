//! Services.

use model::fact::{Protocol, Service, ServicePort};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, name, port, text, unreadable},
    object::{meta, to_meta},
};
use crate::agent::v1 as wire;

/// The longest value of a label.
pub(super) const LABEL_BYTES: usize = 63;
/// The longest key of a label: an optional prefix of 253 bytes, `/` and a name of 63.
pub(super) const LABEL_KEY_BYTES: usize = 317;

impl TryFrom<wire::Service> for Service {
    type Error = ConvertError;

    fn try_from(service: wire::Service) -> Result<Self> {
        let wire::Service {
            meta: object_meta,
            r#type,
            ports,
            selector,
            port_count,
        } = service;
        let (object, version) = meta(object_meta).at("meta")?;
        let selector = selector
            .into_iter()
            .map(|(key, value)| Ok((text(key, LABEL_KEY_BYTES)?, text(value, LABEL_BYTES)?)))
            .collect::<std::result::Result<_, Fault>>()
            .at("selector")?;
        Ok(Self {
            object,
            version,
            service_type: name(r#type).at("type")?,
            ports: counted(ports, port_count, "ports", ServicePort::try_from)?,
            selector,
        })
    }
}

impl From<Service> for wire::Service {
    fn from(service: Service) -> Self {
        let Service {
            object,
            version,
            service_type,
            ports,
            selector,
        } = service;
        Self {
            meta: Some(to_meta(object, version)),
            r#type: service_type,
            port_count: count(&ports),
            ports: ports.into_iter().map(Into::into).collect(),
            selector,
        }
    }
}

impl TryFrom<wire::ServicePort> for ServicePort {
    type Error = ConvertError;

    fn try_from(service_port: wire::ServicePort) -> Result<Self> {
        let wire::ServicePort {
            name,
            port: number,
            protocol: kind,
            node_port,
        } = service_port;
        Ok(Self {
            name: text(name, LABEL_BYTES).at("name")?,
            port: port(number).at("port")?,
            protocol: protocol(&kind).at("protocol")?,
            node_port: node_port.map(port).transpose().at("node_port")?,
        })
    }
}

impl From<ServicePort> for wire::ServicePort {
    fn from(service_port: ServicePort) -> Self {
        let ServicePort {
            name,
            port,
            protocol,
            node_port,
        } = service_port;
        Self {
            name,
            port: port.into(),
            protocol: to_protocol(protocol),
            node_port: node_port.map(Into::into),
        }
    }
}

pub(super) fn protocol(text: &str) -> std::result::Result<Protocol, Fault> {
    match text {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        "" => Err(Fault::Missing),
        _ => Err(unreadable(text, "TCP, UDP or SCTP")),
    }
}

pub(super) fn to_protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
    .to_owned()
}
