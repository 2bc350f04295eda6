//! Objects: names, versions, tombstones, pods and what was read of them.

use model::{
    fact::{Evidence, ObjectName, ObjectVersion, PodRef},
    stream::{PodReading, Tombstone, Vanished},
};

use super::{
    ConvertError, Fault,
    field::{At, Result, name, positive, required, uid, unreadable},
};
use crate::agent::v1 as wire;

pub(super) fn object_name(namespace: String, object: String, field: &str) -> Result<ObjectName> {
    Ok(ObjectName {
        namespace: name(namespace).at("namespace")?,
        name: name(object).at(field)?,
    })
}

impl TryFrom<wire::ServiceName> for ObjectName {
    type Error = ConvertError;

    fn try_from(service: wire::ServiceName) -> Result<Self> {
        let wire::ServiceName { namespace, name } = service;
        object_name(namespace, name, "name")
    }
}

impl From<ObjectName> for wire::ServiceName {
    fn from(object: ObjectName) -> Self {
        let ObjectName { namespace, name } = object;
        Self { namespace, name }
    }
}

pub(super) fn meta(meta: Option<wire::ObjectMeta>) -> Result<(ObjectName, ObjectVersion)> {
    let wire::ObjectMeta {
        namespace,
        name,
        uid: id,
        resource_version,
    } = required(meta)?;
    Ok((
        object_name(namespace, name, "name")?,
        ObjectVersion {
            uid: uid(&id).at("uid")?,
            resource_version: positive(resource_version).at("resource_version")?,
        },
    ))
}

pub(super) fn to_meta(object: ObjectName, version: ObjectVersion) -> wire::ObjectMeta {
    let ObjectName { namespace, name } = object;
    let ObjectVersion {
        uid,
        resource_version,
    } = version;
    wire::ObjectMeta {
        namespace,
        name,
        uid: uid.to_string(),
        resource_version,
    }
}

impl TryFrom<wire::Tombstone> for Tombstone {
    type Error = ConvertError;

    fn try_from(tombstone: wire::Tombstone) -> Result<Self> {
        let wire::Tombstone {
            namespace,
            name,
            uid: id,
        } = tombstone;
        Ok(Self {
            object: object_name(namespace, name, "name")?,
            uid: uid(&id).at("uid")?,
        })
    }
}

impl From<Tombstone> for wire::Tombstone {
    fn from(tombstone: Tombstone) -> Self {
        let Tombstone {
            object: ObjectName { namespace, name },
            uid,
        } = tombstone;
        Self {
            namespace,
            name,
            uid: uid.to_string(),
        }
    }
}

impl TryFrom<wire::PodRef> for PodRef {
    type Error = ConvertError;

    fn try_from(pod: wire::PodRef) -> Result<Self> {
        let wire::PodRef {
            namespace,
            name: pod,
            uid: id,
        } = pod;
        Ok(Self {
            namespace: name(namespace).at("namespace")?,
            name: name(pod).at("name")?,
            uid: uid(&id).at("uid")?,
        })
    }
}

impl From<PodRef> for wire::PodRef {
    fn from(pod: PodRef) -> Self {
        let PodRef { namespace, name, uid } = pod;
        Self {
            namespace,
            name,
            uid: uid.to_string(),
        }
    }
}

fn evidence(value: i32) -> std::result::Result<Evidence, Fault> {
    match wire::Evidence::try_from(value) {
        Ok(wire::Evidence::None) => Ok(Evidence::None),
        Ok(wire::Evidence::NotSelected) => Ok(Evidence::NotSelected),
        Ok(wire::Evidence::PodGone) => Ok(Evidence::PodGone),
        Ok(wire::Evidence::Terminating) => Ok(Evidence::Terminating),
        Ok(wire::Evidence::Unspecified) => Err(Fault::Missing),
        Err(_) => Err(Fault::Range {
            given: value.into(),
            expected: "an Evidence of this protocol",
        }),
    }
}

fn to_evidence(evidence: Evidence) -> i32 {
    i32::from(match evidence {
        Evidence::None => wire::Evidence::None,
        Evidence::NotSelected => wire::Evidence::NotSelected,
        Evidence::PodGone => wire::Evidence::PodGone,
        Evidence::Terminating => wire::Evidence::Terminating,
    })
}

impl TryFrom<wire::Departure> for Vanished {
    type Error = ConvertError;

    fn try_from(departure: wire::Departure) -> Result<Self> {
        let wire::Departure {
            address,
            pod,
            evidence: proof,
        } = departure;
        Ok(Self {
            address: address
                .parse()
                .map_err(|_| unreadable(&address, "an IP address"))
                .at("address")?,
            pod: pod.map(PodRef::try_from).transpose().at("pod")?,
            evidence: evidence(proof).at("evidence")?,
        })
    }
}

impl From<Vanished> for wire::Departure {
    fn from(vanished: Vanished) -> Self {
        let Vanished {
            address,
            pod,
            evidence,
        } = vanished;
        Self {
            address: address.to_string(),
            pod: pod.map(Into::into),
            evidence: to_evidence(evidence),
        }
    }
}

impl TryFrom<wire::PodReading> for PodReading {
    type Error = ConvertError;

    fn try_from(reading: wire::PodReading) -> Result<Self> {
        let wire::PodReading { pod, evidence: proof } = reading;
        Ok(Self {
            pod: required(pod)
                .map_err(ConvertError::from)
                .and_then(PodRef::try_from)
                .at("pod")?,
            evidence: evidence(proof).at("evidence")?,
        })
    }
}

impl From<PodReading> for wire::PodReading {
    fn from(reading: PodReading) -> Self {
        let PodReading { pod, evidence } = reading;
        Self {
            pod: Some(pod.into()),
            evidence: to_evidence(evidence),
        }
    }
}
