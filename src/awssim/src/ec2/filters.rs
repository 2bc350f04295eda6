//! `Filter.N`: every filter must match, by one of its values, in which `*` and `?` are wildcards.

use super::model::Tags;
use crate::{error::AwsError, query::Node};

#[derive(Debug)]
pub(super) struct Filters<'a> {
    filters: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Filters<'a> {
    /// Refuses a filter that is not in `known`; `tag:…`, `tag-key` and `tag-value` always are.
    pub(super) fn read(params: &Node<'a>, known: &[&str]) -> Result<Self, AwsError> {
        let mut filters = Vec::new();
        for filter in params.list("Filter") {
            let name = filter.required("Name")?;
            let is_tag = name.starts_with("tag:") || matches!(name, "tag-key" | "tag-value");
            if !is_tag && !known.contains(&name) {
                let message = format!("The filter '{name}' is invalid");
                return Err(AwsError::new("InvalidParameterValue", message));
            }
            filters.push((name, filter.texts("Value")));
        }
        Ok(Self { filters })
    }

    /// `field` answers the values of a resource for a filter's name.
    pub(super) fn matches(&self, tags: &Tags, field: impl Fn(&str) -> Vec<String>) -> bool {
        self.filters.iter().all(|(name, patterns)| {
            let values = match *name {
                "tag-key" => tags.keys().cloned().collect(),
                "tag-value" => tags.values().cloned().collect(),
                name => match name.strip_prefix("tag:") {
                    Some(key) => tags.get(key).cloned().into_iter().collect(),
                    None => field(name),
                },
            };
            values
                .iter()
                .any(|value| patterns.iter().any(|pattern| wildcard(pattern, value)))
        })
    }
}

fn wildcard(pattern: &str, text: &str) -> bool {
    let Some(special) = pattern.find(['*', '?']) else {
        return pattern == text;
    };
    let (literal, rest) = pattern.split_at(special);
    let Some(text) = text.strip_prefix(literal) else {
        return false;
    };
    let after = &rest[1..];
    if rest.starts_with('*') {
        let ends = text.char_indices().map(|(index, _)| index).chain([text.len()]);
        ends.into_iter().any(|index| wildcard(after, &text[index..]))
    } else {
        let mut chars = text.chars();
        chars.next().is_some() && wildcard(after, chars.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query;

    #[test]
    fn wildcards_match_as_ec2_says() {
        for (pattern, text, matches) in [
            ("web", "web", true),
            ("web", "web2", false),
            ("web*", "web2", true),
            ("*b?", "web2", true),
            ("w?b", "wb", false),
            ("*", "", true),
        ] {
            assert_eq!(wildcard(pattern, text), matches, "{pattern} on {text}");
        }
    }

    #[test]
    fn all_filters_must_match_by_any_of_their_values() {
        let form = query::decode(
            b"Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1&Filter.1.Value.2=vpc-2&Filter.2.Name=tag%3Aapp&Filter.2.Value.1=web",
        );
        let tree = Node::tree(&form);
        let filters = Filters::read(&tree, &["vpc-id"]).expect("known filters");
        let tags = Tags::from([("app".to_owned(), "web".to_owned())]);
        assert!(filters.matches(&tags, |_| vec!["vpc-2".to_owned()]));
        assert!(!filters.matches(&tags, |_| vec!["vpc-3".to_owned()]));
        assert!(!filters.matches(&Tags::new(), |_| vec!["vpc-2".to_owned()]));
        Filters::read(&tree, &["subnet-id"]).expect_err("an unknown filter");
    }
}
