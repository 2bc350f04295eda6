//! The conditions of a statement.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{pattern::Pattern, policy::OneOrMany};

/// What is known of a call, by key. Keys ignore case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    #[must_use]
    pub(crate) fn with(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.0
            .entry(key.as_ref().to_ascii_lowercase())
            .or_default()
            .push(value.into());
        self
    }

    fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

/// All of them must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Conditions(BTreeMap<Operator, BTreeMap<String, OneOrMany<Pattern>>>);

impl Conditions {
    pub(super) fn hold(&self, context: &Context) -> bool {
        self.0.iter().all(|(operator, keys)| {
            keys.iter()
                .all(|(key, wanted)| operator.holds(context.get(key), wanted))
        })
    }
}

/// `ForAllValues:StringEqualsIfExists` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Operator {
    quantifier: Quantifier,
    test: Test,
    if_exists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quantifier {
    /// A key with one value.
    Single,
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Equals,
    NotEquals,
    Like,
    NotLike,
    Null,
}

impl TryFrom<String> for Operator {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (quantifier, rest) = match text.split_once(':') {
            None => (Quantifier::Single, text.as_str()),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return Err(format!("the condition operator '{text}' is not simulated")),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let test = match name {
            "StringEquals" => Test::Equals,
            "StringNotEquals" => Test::NotEquals,
            "StringLike" | "ArnEquals" | "ArnLike" => Test::Like,
            "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => Test::NotLike,
            "Null" if quantifier == Quantifier::Single && !if_exists => Test::Null,
            _ => return Err(format!("the condition operator '{text}' is not simulated")),
        };
        Ok(Self {
            quantifier,
            test,
            if_exists,
        })
    }
}

impl Operator {
    fn holds(self, present: Option<&[String]>, wanted: &OneOrMany<Pattern>) -> bool {
        if self.test == Test::Null {
            return wanted
                .iter()
                .any(|absent| (absent.as_str() == "true") == present.is_none());
        }
        let Some(values) = present else {
            let negated = matches!(self.test, Test::NotEquals | Test::NotLike);
            return self.if_exists
                || match self.quantifier {
                    Quantifier::Single => negated,
                    Quantifier::ForAllValues => true,
                    Quantifier::ForAnyValue => false,
                };
        };
        let holds = |value: &String| match self.test {
            Test::Equals => wanted.iter().any(|wanted| wanted.as_str() == value),
            Test::NotEquals => wanted.iter().all(|wanted| wanted.as_str() != value),
            Test::Like => wanted.iter().any(|wanted| wanted.matches(value)),
            Test::NotLike => !wanted.iter().any(|wanted| wanted.matches(value)),
            Test::Null => unreachable!("answered above"),
        };
        match self.quantifier {
            Quantifier::Single | Quantifier::ForAllValues => values.iter().all(holds),
            Quantifier::ForAnyValue => values.iter().any(holds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(conditions: &str, context: &Context) -> bool {
        serde_json::from_str::<Conditions>(conditions)
            .expect("conditions")
            .hold(context)
    }

    #[test]
    fn a_key_that_is_not_there_fails_what_asks_for_it() {
        let nothing = Context::default();
        assert!(!hold(r#"{"StringEquals":{"aws:RequestTag/a":"x"}}"#, &nothing));
        assert!(hold(r#"{"StringNotEquals":{"aws:RequestTag/a":"x"}}"#, &nothing));
        assert!(hold(
            r#"{"StringEqualsIfExists":{"aws:RequestTag/a":"x"}}"#,
            &nothing
        ));
        assert!(hold(r#"{"Null":{"aws:RequestTag/a":"true"}}"#, &nothing));
        assert!(!hold(r#"{"Null":{"aws:RequestTag/a":"false"}}"#, &nothing));
    }

    #[test]
    fn every_operator_and_every_key_must_hold() {
        let context = Context::default()
            .with("aws:RequestTag/a", "x")
            .with("aws:RequestTag/b", "y");
        assert!(hold(
            r#"{"StringEquals":{"AWS:requesttag/a":["w","x"],"aws:RequestTag/b":"y"},"Null":{"aws:RequestTag/c":"true"}}"#,
            &context
        ));
        assert!(!hold(
            r#"{"StringEquals":{"aws:RequestTag/a":"x","aws:RequestTag/b":"x"}}"#,
            &context
        ));
        assert!(hold(r#"{"StringLike":{"aws:RequestTag/a":"?"}}"#, &context));
    }

    #[test]
    fn a_set_is_judged_by_all_or_by_any_of_its_values() {
        let context = Context::default()
            .with("aws:TagKeys", "a")
            .with("aws:TagKeys", "b");
        for (conditions, holds) in [
            (
                r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b","c"]}}"#,
                true,
            ),
            (r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}"#, false),
            (r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}"#, true),
            (r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["c"]}}"#, false),
        ] {
            assert_eq!(hold(conditions, &context), holds, "{conditions}");
        }
    }
}
