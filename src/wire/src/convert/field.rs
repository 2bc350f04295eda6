//! Errors that name the field, and the reading of scalar fields.

use std::fmt;

use model::{Invalid, sabotage};
use uuid::Uuid;

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConvertError {
    /// Where, e.g. `sources.reset.target_group_bindings[3].meta.uid`.
    pub path: String,
    pub fault: Fault,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            self.fault.fmt(f)
        } else {
            write!(f, "{}: {}", self.path, self.fault)
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is not set; absent never means empty")]
    Missing,
    #[error("says {said} elements but carries {carried}")]
    Count { said: u32, carried: usize },
    #[error("is {given}, but must be {expected}")]
    Range { given: i128, expected: &'static str },
    #[error("holds a NUL or is longer than {0} bytes")]
    Text(usize),
    #[error("`{given}` is not {expected}")]
    Unreadable { given: String, expected: &'static str },
    #[error("{0}")]
    Invalid(Invalid),
}

impl From<Fault> for ConvertError {
    fn from(fault: Fault) -> Self {
        Self {
            path: String::new(),
            fault,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, ConvertError>;

/// Puts a field name before the path of an error.
pub(super) trait At<T> {
    fn at(self, field: &str) -> Result<T>;
}

impl<T, E: Into<ConvertError>> At<T> for std::result::Result<T, E> {
    fn at(self, field: &str) -> Result<T> {
        self.map_err(|error| {
            let ConvertError { path, fault } = error.into();
            let path = if path.is_empty() {
                field.to_owned()
            } else {
                format!("{field}.{path}")
            };
            ConvertError { path, fault }
        })
    }
}

pub(super) fn required<T>(value: Option<T>) -> std::result::Result<T, Fault> {
    value.ok_or(Fault::Missing)
}

pub(super) fn positive(value: u64) -> std::result::Result<u64, Fault> {
    if value == 0 {
        Err(Fault::Missing)
    } else {
        Ok(value)
    }
}

pub(super) fn port(value: u32) -> std::result::Result<u16, Fault> {
    match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Fault::Range {
            given: value.into(),
            expected: "a port, 1-65535",
        }),
    }
}

/// Text that a database can hold.
pub(super) fn text(value: String, limit: usize) -> std::result::Result<String, Fault> {
    if value.len() > limit || value.contains('\0') {
        Err(Fault::Text(limit))
    } else {
        Ok(value)
    }
}

/// The name of a Kubernetes object, port or key: required, at most 253 bytes (DNS subdomain, RFC 1123).
pub(super) fn name(value: String) -> std::result::Result<String, Fault> {
    if value.is_empty() {
        Err(Fault::Missing)
    } else {
        text(value, 253)
    }
}

pub(super) fn uid(value: &str) -> std::result::Result<Uuid, Fault> {
    match Uuid::parse_str(value) {
        Ok(uid) if !uid.is_nil() => Ok(uid),
        _ if value.is_empty() => Err(Fault::Missing),
        _ => Err(unreadable(value, "a UUID other than zero")),
    }
}

pub(super) fn unreadable(given: &str, expected: &'static str) -> Fault {
    Fault::Unreadable {
        given: given.chars().take(200).collect(),
        expected,
    }
}

/// Converts every element; an error names its index.
pub(super) fn each<W, M>(list: Vec<W>, field: &str, convert: impl Fn(W) -> Result<M>) -> Result<Vec<M>> {
    list.into_iter()
        .enumerate()
        .map(|(i, item)| convert(item).at(&format!("{field}[{i}]")))
        .collect()
}

/// [`each`] for a list whose shrinking would take something away: it must say its length.
pub(super) fn counted<W, M>(
    list: Vec<W>,
    said: Option<u32>,
    field: &str,
    convert: impl Fn(W) -> Result<M>,
) -> Result<Vec<M>> {
    if sabotage::is_on("S4") {
        return each(list, field, convert);
    }
    let said = required(said).at(&format!("{field} count"))?;
    if usize::try_from(said).ok() != Some(list.len()) {
        return Err(Fault::Count {
            said,
            carried: list.len(),
        })
        .at(field);
    }
    each(list, field, convert)
}

/// The length of a list for its `…_count`.
pub(super) fn count<T>(list: &[T]) -> Option<u32> {
    // A list beyond u32 exceeds MAX_MESSAGE_BYTES by far; saying nothing makes the receiver refuse it.
    u32::try_from(list.len()).ok()
}
