//! What AWS said last.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What AWS said last about one thing. `Unknown` is never read as `Absent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Observed<T> {
    /// Never asked, or the last answer says nothing (an error, a lost answer).
    #[default]
    Unknown,
    /// AWS said that it does not exist, when asked at `at`.
    Absent { at: Timestamp },
    /// AWS described it, when asked at `at`.
    Present { at: Timestamp, value: T },
}

impl<T> Observed<T> {
    /// When the question was sent (not when the answer came): what happened later is not in the answer.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::Absent { at } | Self::Present { at, .. } => Some(*at),
        }
    }

    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present { value, .. } => Some(value),
            Self::Unknown | Self::Absent { .. } => None,
        }
    }

    /// The same answer, to a question about a part of it.
    pub fn map<U>(&self, part: impl FnOnce(&T) -> U) -> Observed<U> {
        match self {
            Self::Unknown => Observed::Unknown,
            Self::Absent { at } => Observed::Absent { at: *at },
            Self::Present { at, value } => Observed::Present {
                at: *at,
                value: part(value),
            },
        }
    }
}
