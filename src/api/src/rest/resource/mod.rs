//! What REST says: one file per aggregate, each built from control's view by a conversion that names every field.
//!
//! Reasons and states that later versions may add to are strings here, since generated clients refuse enum values that
//! they do not know.

pub(super) mod account;
pub(super) mod binding;
pub(super) mod cluster;
pub(super) mod endpoint;
pub(super) mod explanation;
pub(super) mod fleet;
pub(super) mod hold;
pub(super) mod managed;
pub(super) mod operate;
pub(super) mod plan;
pub(super) mod security_group;
pub(super) mod shard;
pub(super) mod target_group;
pub(super) mod team;

use control::Listing;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// What is not the owner's to choose.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    /// Absent in the answer to a dry run that would create it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) created_at: Option<Timestamp>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page; absent: this was the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) next: Option<String>,
}

impl<T> List<T> {
    pub(super) fn of<V>(listing: Listing<V>) -> Self
    where
        T: From<V>,
    {
        let Listing { items, next } = listing.map(T::from);
        Self { items, next }
    }

    /// A list that is short enough to be one page.
    pub(super) fn all<V>(items: Vec<V>) -> Self
    where
        T: From<V>,
    {
        let items = items.into_iter().map(T::from).collect();
        Self { items, next: None }
    }
}

/// For a field that may be left out: null says nothing and is refused, since absent is not empty.
pub(super) fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A port of an address, as AWS tells targets apart.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetKey {
    /// An IP address, an instance id or an ARN.
    id: String,
    port: u16,
}

impl From<model::TargetKey> for TargetKey {
    fn from(key: model::TargetKey) -> Self {
        let model::TargetKey { id, port } = key;
        Self {
            id: id.to_string(),
            port,
        }
    }
}

/// A pod, by name and UID.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pod {
    namespace: String,
    name: String,
    uid: uuid::Uuid,
}

impl From<model::fact::PodRef> for Pod {
    fn from(pod: model::fact::PodRef) -> Self {
        let model::fact::PodRef { namespace, name, uid } = pod;
        Self { namespace, name, uid }
    }
}

/// The name that serde gives a unit variant: the same in REST as in the journal.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // A variant that carries something: `{"unproven": "none"}`.
        Ok(serde_json::Value::Object(fields)) => {
            let words = fields.into_iter().map(|(name, value)| match value.as_str() {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
            words.collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}
