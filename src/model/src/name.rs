//! Names that clients choose for clusters, target groups and bindings.

use std::{fmt, str::FromStr};

use crate::parse::{Invalid, text_type};

/// A DNS label of RFC 1123, as Kubernetes names its objects: 1–63 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = (1..=63).contains(&text.len())
            && text.chars().all(inner)
            && text.starts_with(edge)
            && text.ends_with(edge);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::new(
                "name",
                text,
                "1-63 lower-case letters, digits or '-', starting and ending with a letter or digit",
            ))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_type!(Name);
