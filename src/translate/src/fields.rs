//! Reads one JSON object field by field, knows each field's path, and remembers which fields nobody asked for.

use std::{collections::BTreeSet, str::FromStr};

use model::{
    Invalid,
    binding::PortRef,
    condition::{Problem, Reason},
};
use serde_json::{Map, Value};

/// An object of a user's text. A field that is `null` is absent, as in Kubernetes.
pub(crate) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value, path: impl Into<String>) -> Result<Self, Problem> {
        let path = path.into();
        match value {
            Value::Object(object) => Ok(Self {
                path,
                object,
                known: BTreeSet::new(),
            }),
            other => Err(expected(path, "an object", other)),
        }
    }

    /// The path of the field `name`.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(crate) fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.insert(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&mut self, name: &'static str) -> Result<&'a Value, Problem> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    /// Text; empty text is absent, as where a template left a field blank.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(expected(self.at(name), "text", other)),
        }
    }

    pub(crate) fn required_text(&mut self, name: &'static str) -> Result<&'a str, Problem> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Text in the form of `T`.
    pub(crate) fn parsed<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let text = self.text(name)?;
        text.map(|text| {
            text.parse()
                .map_err(|error: Invalid| invalid(self.at(name), error.to_string()))
        })
        .transpose()
    }

    /// One of a few words.
    pub(crate) fn word(&mut self, name: &'static str, words: &[&str]) -> Result<Option<&'a str>, Problem> {
        let text = self.text(name)?;
        match text.filter(|text| !words.contains(text)) {
            None => Ok(text),
            Some(other) => {
                let message = format!(
                    "`{}` is none of {}: use one of them",
                    clip(other),
                    words.join(", ")
                );
                Err(invalid(self.at(name), message))
            }
        }
    }

    pub(crate) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(expected(self.at(name), "`true` or `false`", other)),
        }
    }

    pub(crate) fn list(&mut self, name: &'static str) -> Result<Option<&'a [Value]>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(expected(self.at(name), "a list", other)),
        }
    }

    /// All fields, where their names are the user's.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.iter()
    }

    /// A port as `int-or-string`.
    pub(crate) fn port(&mut self, name: &'static str) -> Result<Option<PortRef>, Problem> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) if number.is_u64() => number.to_string(),
            Some(Value::Number(number)) => {
                let message = format!(
                    "`{number}` is no port: use a number 1-65535 or the name of a port of the Service"
                );
                return Err(invalid(self.at(name), message));
            }
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(expected(self.at(name), "a port number or a port's name", other)),
        };
        text.parse()
            .map(Some)
            .map_err(|error: Invalid| invalid(self.at(name), error.to_string()))
    }

    pub(crate) fn missing(&self, name: &str) -> Problem {
        invalid(self.at(name), "the field is required: set it")
    }

    /// Says of each field that was never asked for that it is ignored.
    pub(crate) fn finish(self, warnings: &mut Vec<String>) {
        let unknown = self
            .object
            .keys()
            .filter(|name| !self.known.contains(name.as_str()));
        warnings.extend(unknown.map(|name| {
            format!(
                "{}.{}: no such field is known; it is ignored, check its spelling",
                self.path,
                clip(name)
            )
        }));
    }
}

/// Text, which may be empty.
pub(crate) fn text_of(value: &Value, path: String) -> Result<&str, Problem> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(expected(path, "text", other)),
    }
}

pub(crate) fn invalid(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem::at(Reason::Invalid, path, message)
}

fn expected(path: String, what: &str, found: &Value) -> Problem {
    let kind = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    invalid(
        path,
        format!("expected {what} and found {kind}: correct the field"),
    )
}

/// A hostile text must not fill a status.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}
