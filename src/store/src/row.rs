//! From rows to values of `model`: what does not read back is an error that names its place.

use std::{fmt::Display, str::FromStr};

use model::{fact::Stated, scope::Scope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result};

/// A row, for the error.
pub(crate) struct Row<'a> {
    table: &'static str,
    key: &'a (dyn Display + Sync),
}

impl<'a> Row<'a> {
    pub(crate) fn new(table: &'static str, key: &'a (dyn Display + Sync)) -> Self {
        Self { table, key }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str, value: Value) -> Result<T> {
        serde_json::from_value(value).map_err(|error| self.inconsistent(column, &error))
    }

    /// Rows that Postgres gathered into one JSON array; null: there is none.
    pub(crate) fn rows<T: DeserializeOwned>(&self, rows: Option<Value>) -> Result<Vec<T>> {
        rows.map_or_else(|| Ok(Vec::new()), |rows| self.json("body", rows))
    }

    pub(crate) fn text<T: FromStr<Err: Display>>(&self, column: &'static str, text: &str) -> Result<T> {
        text.parse().map_err(|error| self.inconsistent(column, &error))
    }

    pub(crate) fn number<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
        number: i64,
    ) -> Result<T> {
        T::try_from(number).map_err(|error| self.inconsistent(column, &error))
    }

    /// A unit variant, by its serde name.
    pub(crate) fn word<T: DeserializeOwned>(&self, column: &'static str, word: &str) -> Result<T> {
        self.json(column, Value::from(word))
    }

    pub(crate) fn inconsistent(&self, column: &'static str, reason: &dyn Display) -> Error {
        Error::Inconsistent {
            table: self.table,
            column,
            key: self.key.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Known only if it was stated: what never was reads as unknown, not as empty.
pub(crate) fn stated<T>(known: bool, value: impl FnOnce() -> T) -> Stated<T> {
    if known {
        Stated::Known(value())
    } else {
        Stated::Unknown
    }
}

/// A value of `model` as JSONB.
pub(crate) fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("the types of `model` have string keys and no failing serializer")
}

/// A unit variant's serde name.
pub(crate) fn to_word(value: &impl Serialize) -> String {
    match to_json(value) {
        Value::String(word) => word,
        other => unreachable!("a unit variant serializes as a string, not as {other}"),
    }
}

/// An epoch or resourceVersion as Postgres holds it. Neither comes near 2^63: one counts milliseconds, the other writes.
pub(crate) fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A scope as two arrays of one length: clusters, and for each one namespace or all (null). `None`: everything.
pub(crate) fn places(scope: Option<&Scope>) -> Option<(Vec<String>, Vec<Option<String>>)> {
    let places = scope?.0.iter().map(|place| {
        let namespace = place.namespace.as_ref().map(ToString::to_string);
        (place.cluster.to_string(), namespace)
    });
    Some(places.unzip())
}

/// How many rows, as an integer of Postgres.
pub(crate) fn limit(rows: u32) -> i64 {
    i64::from(rows)
}
