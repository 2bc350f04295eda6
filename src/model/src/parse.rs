//! The one error for text that does not parse, and the serde glue of the types that are text on the outside.

use std::fmt;

/// Text that is not what its field must be. `Display` names the kind, the text and the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// What the text should have been, e.g. `region`.
    pub kind: &'static str,
    /// What was given.
    pub given: String,
    /// What a valid one looks like.
    pub expected: &'static str,
}

impl Invalid {
    pub(crate) fn new(kind: &'static str, given: &str, expected: &'static str) -> Self {
        // A hostile value must not fill the answer or the log.
        Self {
            kind,
            given: given.chars().take(200).collect(),
            expected,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a valid {}: expected {}",
            self.given, self.kind, self.expected
        )
    }
}

/// Serde and `TryFrom<String>` for a type that has `FromStr` and `Display`.
macro_rules! text_type {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = crate::Invalid;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_type;
