//! Shards.

use control::view::ShardView;
use jiff::Timestamp;
use model::Shard as ModelShard;
use serde::Serialize;
use utoipa::ToSchema;

/// One AWS account and region, with the replica that writes there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Shard {
    /// `partition/account/region`.
    #[schema(value_type = String)]
    name: ModelShard,
    /// The replica that writes to AWS; absent: none at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    holder: Option<String>,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deadline: Option<Timestamp>,
    /// Since when removals wait because the database went back in time; absent: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    restored_at: Option<Timestamp>,
}

impl From<ShardView> for Shard {
    fn from(view: ShardView) -> Self {
        let ShardView {
            shard,
            holder,
            epoch,
            deadline,
            restored_at,
        } = view;
        Self {
            name: shard,
            holder,
            epoch,
            deadline,
            restored_at,
        }
    }
}
