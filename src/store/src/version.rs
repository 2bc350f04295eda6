//! Versions of what clients declare: a write states the one that it expects.

use crate::{Error, Result};

/// What a PUT did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put<T> {
    Created(T),
    Updated(T),
    /// It was so before; nothing was written.
    Unchanged(T),
}

impl<T> Put<T> {
    pub fn into_inner(self) -> T {
        match self {
            Self::Created(value) | Self::Updated(value) | Self::Unchanged(value) => value,
        }
    }

    pub fn as_inner(&self) -> &T {
        match self {
            Self::Created(value) | Self::Updated(value) | Self::Unchanged(value) => value,
        }
    }
}

/// Refuses a write whose author has seen another version.
pub(crate) fn check(expected: Option<i64>, found: Option<i64>) -> Result<()> {
    match expected {
        Some(expected) if found != Some(expected) => Err(Error::Conflict { expected, found }),
        _ => Ok(()),
    }
}
