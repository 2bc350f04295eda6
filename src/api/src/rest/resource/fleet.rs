//! All clusters together.

use control::view::FleetView;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether so many clusters fell silent at once that nothing is removed without proof.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::rest) struct Fleet {
    /// Clusters that count: not cordoned, not leaving, and heard of at all.
    clusters: u64,
    /// How many of them are silent.
    silent: u64,
    /// Removals without proof wait.
    frozen: bool,
    /// When an operator last gave up on those that were silent by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    released_at: Option<Timestamp>,
}

impl From<FleetView> for Fleet {
    fn from(view: FleetView) -> Self {
        let FleetView {
            clusters,
            silent,
            frozen,
            released_at,
        } = view;
        Self {
            clusters: clusters as u64,
            silent: silent as u64,
            frozen,
            released_at,
        }
    }
}
