//! What REST calls an object of no fixed shape is JSON text in a message; absent in one, absent in the other.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::Value;

/// A field that may be absent, or must not.
pub(crate) trait Text: Sized {
    fn text(&self) -> Option<&str>;
    fn of(text: Option<String>) -> Option<Self>;
}

impl Text for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }

    fn of(text: Option<String>) -> Option<Self> {
        text
    }
}

impl Text for Option<String> {
    fn text(&self) -> Option<&str> {
        self.as_deref()
    }

    fn of(text: Option<String>) -> Option<Self> {
        Some(text)
    }
}

pub(crate) fn serialize<T: Text, S: Serializer>(field: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let value: Option<Value> = field
        .text()
        .map(serde_json::from_str)
        .transpose()
        .map_err(ser::Error::custom)?;
    value.serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    T::of(value.map(|value| value.to_string())).ok_or_else(|| de::Error::custom("expected a JSON object"))
}
