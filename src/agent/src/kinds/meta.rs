//! `metadata`, as far as it is read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use model::fact::{ObjectName, ObjectVersion};
use serde::{Deserialize, Deserializer};

use super::Unreadable;

/// What is read of `metadata`; managedFields alone are most of a small object.
#[derive(Default, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    bound(deserialize = "L: Default + Deserialize<'de>")
)]
struct Meta<L> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    labels: L,
}

pub(super) type Labels = BTreeMap<String, String>;

/// Nothing is read of the labels.
#[derive(Default, Deserialize)]
pub(super) struct Unlabelled {}

impl From<Unlabelled> for Labels {
    fn from(Unlabelled {}: Unlabelled) -> Self {
        Self::new()
    }
}

/// Decodes as much of `metadata` as is read.
pub(super) fn slim<'de, L, D>(deserializer: D) -> Result<ObjectMeta, D::Error>
where
    L: Default + Deserialize<'de> + Into<Labels>,
    D: Deserializer<'de>,
{
    let Meta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels,
    } = Meta::<L>::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels: Some(labels.into()),
        ..ObjectMeta::default()
    })
}

/// Which state of which object it is.
pub fn version(meta: &ObjectMeta) -> Result<ObjectVersion, Unreadable> {
    let uid = meta.uid.as_deref().unwrap_or_default();
    let resource_version = meta.resource_version.as_deref().unwrap_or_default();
    Ok(ObjectVersion {
        uid: uid.parse().map_err(|_| Unreadable {
            field: "metadata.uid",
            given: uid.to_owned(),
        })?,
        resource_version: resource_version.parse().map_err(|_| Unreadable {
            field: "metadata.resourceVersion",
            given: resource_version.to_owned(),
        })?,
    })
}

pub(super) fn object_name(meta: &ObjectMeta) -> ObjectName {
    ObjectName::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
