//! Lists in pages, and writes under a condition.

use std::str::FromStr;

use crate::Error;

/// Where a list goes on, and how much of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// `next` of the page before; `None`: from the start.
    pub cursor: Option<String>,
    pub limit: u16,
}

impl Page {
    pub const DEFAULT_LIMIT: u16 = 100;
    pub const MAX_LIMIT: u16 = 500;

    /// The key after which this page begins. A page that cannot be is refused.
    pub(crate) fn after<K: FromStr>(&self) -> Result<Option<K>, Error> {
        if !(1..=Self::MAX_LIMIT).contains(&self.limit) {
            let message = format!("a page has 1 to {} items", Self::MAX_LIMIT);
            return Err(Error::at("limit", message));
        }
        let key = self.cursor.as_deref().map(str::parse).transpose();
        key.map_err(|_| {
            Error::at(
                "cursor",
                "the cursor is none that this list has given: begin again without it",
            )
        })
    }

    /// The rows to read: one more than wanted tells whether there is a next page.
    pub(crate) fn rows(&self) -> u32 {
        u32::from(self.limit) + 1
    }

    /// Cuts what [`Self::rows`] asked for to the page.
    pub(crate) fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Listing<T> {
        let limit = usize::from(self.limit);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Listing { items, next }
    }
}

/// One page of a list, in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// The cursor of the next page; `None`: this was the last.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Listing<U> {
        Listing {
            items: self.items.into_iter().map(convert).collect(),
            next: self.next,
        }
    }
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there, or nothing.
    Anything,
    /// It exists.
    Something,
    /// It has this version.
    Version(i64),
}

impl Expected {
    /// The version, as the store compares it.
    pub(crate) fn version(self) -> Option<i64> {
        match self {
            Self::Version(version) => Some(version),
            Self::Anything | Self::Something => None,
        }
    }

    /// Whether `current` (the version, if it exists) is what was expected.
    pub(crate) fn check(self, current: Option<i64>) -> Result<(), Error> {
        match (self, current) {
            (Self::Version(expected), Some(actual)) if expected != actual => {
                Err(Error::VersionMismatch { expected, actual })
            }
            (Self::Version(_) | Self::Something, None) => Err(Error::Absent),
            _ => Ok(()),
        }
    }
}

/// How a write is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    pub expected: Expected,
    /// Answer what would be, and change nothing.
    pub dry_run: bool,
}

/// What a PUT has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    pub created: bool,
    pub value: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_full_says_where_the_next_begins() {
        let page = Page {
            cursor: None,
            limit: 2,
        };
        assert_eq!(page.rows(), 3);
        let cut = |items: Vec<u32>| page.cut(items, u32::to_string);
        assert_eq!(
            cut(vec![1, 2, 3]),
            Listing {
                items: vec![1, 2],
                next: Some("2".into())
            }
        );
        assert_eq!(
            cut(vec![1, 2]),
            Listing {
                items: vec![1, 2],
                next: None
            }
        );
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        for limit in [0, Page::MAX_LIMIT + 1, u16::MAX] {
            let page = Page { cursor: None, limit };
            assert_eq!(page.after::<u32>().unwrap_err().field(), Some("limit"), "{limit}");
        }
    }

    #[test]
    fn a_write_is_refused_when_the_version_is_another() {
        assert!(Expected::Version(3).check(Some(3)).is_ok());
        assert!(Expected::Version(3).check(Some(4)).is_err());
        assert!(Expected::Version(3).check(None).is_err());
        assert!(Expected::Something.check(None).is_err());
        assert!(Expected::Anything.check(None).is_ok());
    }
}
