//! EndpointSlices.

use model::{
    fact::{AddressFamily, Endpoint, EndpointSlice, PodRef, SlicePort},
    stream::{Change, Tombstone},
};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, port, required, text, unreadable},
    object::{meta, to_meta},
    service::{protocol, to_protocol},
};
use crate::agent::v1 as wire;

/// A slice carries no name of its Service; the scope of its update says it.
pub(super) fn slice(slice: wire::EndpointSlice, service: &str) -> Result<EndpointSlice> {
    let wire::EndpointSlice {
        meta: object_meta,
        address_type,
        ports,
        endpoints,
        port_count,
        endpoint_count,
    } = slice;
    let (object, version) = meta(object_meta).at("meta")?;
    let family = match address_type.as_str() {
        "IPv4" => Ok(AddressFamily::Ipv4),
        "IPv6" => Ok(AddressFamily::Ipv6),
        "FQDN" => Ok(AddressFamily::Fqdn),
        "" => Err(Fault::Missing),
        other => Err(unreadable(other, "IPv4, IPv6 or FQDN")),
    };
    Ok(EndpointSlice {
        object,
        version,
        service: service.to_owned(),
        family: family.at("address_type")?,
        ports: counted(ports, port_count, "ports", SlicePort::try_from)?,
        endpoints: counted(endpoints, endpoint_count, "endpoints", Endpoint::try_from)?,
    })
}

impl From<EndpointSlice> for wire::EndpointSlice {
    fn from(slice: EndpointSlice) -> Self {
        let EndpointSlice {
            object,
            version,
            service: _,
            family,
            ports,
            endpoints,
        } = slice;
        let address_type = match family {
            AddressFamily::Ipv4 => "IPv4",
            AddressFamily::Ipv6 => "IPv6",
            AddressFamily::Fqdn => "FQDN",
        };
        Self {
            meta: Some(to_meta(object, version)),
            address_type: address_type.to_owned(),
            port_count: count(&ports),
            ports: ports.into_iter().map(Into::into).collect(),
            endpoint_count: count(&endpoints),
            endpoints: endpoints.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::SlicePort> for SlicePort {
    type Error = ConvertError;

    fn try_from(slice_port: wire::SlicePort) -> Result<Self> {
        let wire::SlicePort {
            name,
            port: number,
            protocol: kind,
        } = slice_port;
        Ok(Self {
            name: text(name, 63).at("name")?,
            port: match required(number).at("port")? {
                0 => None,
                number => Some(port(number).at("port")?),
            },
            protocol: protocol(&kind).at("protocol")?,
        })
    }
}

impl From<SlicePort> for wire::SlicePort {
    fn from(slice_port: SlicePort) -> Self {
        let SlicePort { name, port, protocol } = slice_port;
        Self {
            name,
            port: Some(port.map_or(0, Into::into)),
            protocol: to_protocol(protocol),
        }
    }
}

impl TryFrom<wire::Endpoint> for Endpoint {
    type Error = ConvertError;

    fn try_from(endpoint: wire::Endpoint) -> Result<Self> {
        let wire::Endpoint {
            addresses,
            ready,
            serving,
            terminating,
            node,
            zone,
            pod,
            address_count,
        } = endpoint;
        if addresses.is_empty() {
            return Err(Fault::Missing).at("addresses");
        }
        Ok(Self {
            addresses: counted(addresses, address_count, "addresses", |address| {
                Ok(address
                    .parse()
                    .map_err(|_| unreadable(&address, "an IP address"))?)
            })?,
            ready,
            serving,
            terminating,
            node: node.map(|node| text(node, 253)).transpose().at("node")?,
            zone: zone.map(|zone| text(zone, 253)).transpose().at("zone")?,
            pod: pod.map(PodRef::try_from).transpose().at("pod")?,
        })
    }
}

impl From<Endpoint> for wire::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let Endpoint {
            addresses,
            ready,
            serving,
            terminating,
            node,
            zone,
            pod,
        } = endpoint;
        Self {
            address_count: count(&addresses),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            ready,
            serving,
            terminating,
            node,
            zone,
            pod: pod.map(Into::into),
        }
    }
}

pub(super) fn change(
    change: wire::endpoint_slice_update::Change,
    service: &str,
) -> Result<Change<EndpointSlice>> {
    match change {
        wire::endpoint_slice_update::Change::Reset(wire::EndpointSliceReset { slices, slice_count }) => {
            counted(slices, slice_count, "slices", |item| slice(item, service))
                .at("reset")
                .map(Change::Reset)
        }
        wire::endpoint_slice_update::Change::Patch(wire::EndpointSlicePatch { upserted, deleted }) => {
            Ok(Change::Patch {
                upserted: each(upserted, "upserted", |item| slice(item, service)).at("patch")?,
                deleted: each(deleted, "deleted", Tombstone::try_from).at("patch")?,
            })
        }
    }
}

pub(super) fn to_change(change: Change<EndpointSlice>) -> wire::endpoint_slice_update::Change {
    match change {
        Change::Reset(slices) => wire::endpoint_slice_update::Change::Reset(wire::EndpointSliceReset {
            slice_count: count(&slices),
            slices: slices.into_iter().map(Into::into).collect(),
        }),
        Change::Patch { upserted, deleted } => {
            wire::endpoint_slice_update::Change::Patch(wire::EndpointSlicePatch {
                upserted: upserted.into_iter().map(Into::into).collect(),
                deleted: deleted.into_iter().map(Into::into).collect(),
            })
        }
    }
}
