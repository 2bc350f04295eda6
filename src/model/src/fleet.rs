//! All clusters together.

use jiff::Timestamp;

/// When the clusters that count were last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The database's clock when the rest was read.
    pub now: Timestamp,
    /// One for each registered cluster that is not cordoned, is not leaving, and was heard of at all.
    pub last_seen: Vec<Timestamp>,
    /// An operator said that the clusters which were silent by then are not coming back.
    pub released_at: Option<Timestamp>,
}
