//! The names of what can change.

use std::{fmt, str::FromStr};

use crate::{Invalid, parse::text_type};

/// One thing of a group that can be changed. Written `healthCheck.path`, `attributes.KEY`, `tags.KEY`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    HealthCheck(Check),
    Attribute(String),
    Tag(String),
}

/// A field of [`HealthCheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    Protocol,
    Port,
    Path,
    IntervalSeconds,
    TimeoutSeconds,
    HealthyThreshold,
    UnhealthyThreshold,
    Matcher,
}

impl Check {
    const ALL: [Self; 8] = [
        Self::Protocol,
        Self::Port,
        Self::Path,
        Self::IntervalSeconds,
        Self::TimeoutSeconds,
        Self::HealthyThreshold,
        Self::UnhealthyThreshold,
        Self::Matcher,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::Path => "path",
            Self::IntervalSeconds => "intervalSeconds",
            Self::TimeoutSeconds => "timeoutSeconds",
            Self::HealthyThreshold => "healthyThreshold",
            Self::UnhealthyThreshold => "unhealthyThreshold",
            Self::Matcher => "matcher",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HealthCheck(check) => write!(f, "healthCheck.{}", check.as_str()),
            Self::Attribute(key) => write!(f, "attributes.{key}"),
            Self::Tag(key) => write!(f, "tags.{key}"),
        }
    }
}

impl FromStr for Setting {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let setting = match text.split_once('.') {
            Some(("healthCheck", name)) => Check::ALL
                .into_iter()
                .find(|check| check.as_str() == name)
                .map(Self::HealthCheck),
            Some(("attributes", key)) => Some(Self::Attribute(key.to_owned())),
            Some(("tags", key)) => Some(Self::Tag(key.to_owned())),
            _ => None,
        };
        setting.ok_or_else(|| {
            Invalid::new(
                "setting",
                text,
                "`healthCheck.FIELD`, `attributes.KEY` or `tags.KEY`",
            )
        })
    }
}

text_type!(Setting);
