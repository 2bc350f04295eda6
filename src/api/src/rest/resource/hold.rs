//! Holds that an operator can release.

use control::view::HoldView;
use jiff::Timestamp;
use model::{BindingId, HoldId, Name, Shard, TargetGroupArn, plan};
use serde::Serialize;
use utoipa::ToSchema;

use super::TargetKey;

/// Removals that wait, and for what.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Hold {
    #[schema(value_type = uuid::Uuid)]
    id: HoldId,
    /// `partition/account/region`.
    #[schema(value_type = String)]
    shard: Shard,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    target_group_arn: Option<TargetGroupArn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    cluster: Option<Name>,
    reason: String,
    /// What lifts it.
    release: &'static str,
    removals: Vec<TargetKey>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    bindings: Vec<BindingId>,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_by: Option<String>,
    /// When it ended; absent: it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<Timestamp>,
}

impl From<HoldView> for Hold {
    fn from(view: HoldView) -> Self {
        let HoldView {
            id,
            shard,
            target_group,
            cluster,
            hold,
            since,
            released_at,
            released_by,
            ended_at,
        } = view;
        let plan::Hold {
            reason,
            bindings,
            removals,
            additions: _,
            until: _,
        } = hold;
        Self {
            id,
            shard,
            target_group_arn: target_group,
            cluster,
            reason: reason.to_string(),
            release: reason.release(),
            removals: removals.into_iter().map(Into::into).collect(),
            bindings,
            since,
            released_at,
            released_by,
            ended_at,
        }
    }
}
