//! Reading a request of AWS's Query protocol: a form whose keys are paths.
//!
//! `Targets.member.2.Port=80` (ELBv2, STS) and `Filter.1.Value.3=x` (EC2) become one tree, so that no action
//! knows how a list is spelled.

use std::{collections::BTreeMap, str::FromStr};

use crate::{error::AwsError, service::Service};

/// The parameters as they came, in order of arrival.
pub(crate) type Form = Vec<(String, String)>;

pub(crate) fn decode(body: &[u8]) -> Form {
    form_urlencoded::parse(body)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect()
}

pub(crate) fn lookup<'a>(form: &'a Form, key: &str) -> Option<&'a str> {
    form.iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// What the `Authorization` header says of the caller. The signature itself is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) access_key: String,
    pub(crate) region: String,
    pub(crate) service: Option<Service>,
    pub(crate) signing_name: String,
}

impl Credential {
    /// Reads `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`.
    pub(crate) fn parse(authorization: &str) -> Option<Self> {
        let scope = authorization.split_once("Credential=")?.1;
        let scope = scope.split([',', ' ']).next()?;
        let parts: Vec<&str> = scope.split('/').collect();
        let [access_key, _date, region, signing_name, _terminator] = parts.as_slice() else {
            return None;
        };
        Some(Self {
            access_key: (*access_key).to_owned(),
            region: (*region).to_owned(),
            service: Service::by_signing_name(signing_name),
            signing_name: (*signing_name).to_owned(),
        })
    }
}

/// A node of the parameter tree: a value, or named children, or both.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    value: Option<&'a str>,
    children: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    pub(crate) fn tree(form: &'a Form) -> Self {
        let mut root = Self::default();
        for (path, value) in form {
            let node = path
                .split('.')
                .fold(&mut root, |node, step| node.children.entry(step).or_default());
            node.value = Some(value);
        }
        root
    }

    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        self.children.get(key)
    }

    pub(crate) fn value(&self) -> Option<&'a str> {
        self.value
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.child(key)?.value
    }

    pub(crate) fn required(&self, key: &str) -> Result<&'a str, AwsError> {
        self.text(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| AwsError::missing(key))
    }

    /// A value of any type that parses from text.
    pub(crate) fn parsed<T: FromStr>(&self, key: &str) -> Result<Option<T>, AwsError> {
        self.text(key)
            .map(|text| text.parse().map_err(|_| AwsError::malformed(key, text)))
            .transpose()
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, AwsError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(AwsError::malformed(key, other)),
        }
    }

    /// The items of a list in the order of their numbers.
    pub(crate) fn list(&self, key: &str) -> Vec<&Self> {
        let Some(list) = self.child(key) else {
            return Vec::new();
        };
        let list = list.child("member").unwrap_or(list);
        let mut items: Vec<(u32, &Self)> = list
            .children
            .iter()
            .filter_map(|(number, node)| Some((number.parse().ok()?, node)))
            .collect();
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, node)| node).collect()
    }

    pub(crate) fn texts(&self, key: &str) -> Vec<&'a str> {
        self.list(key).into_iter().filter_map(Self::value).collect()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.children.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_dialects_are_read_in_the_order_of_their_numbers() {
        let form = decode(
            b"Targets.member.10.Id=c&Targets.member.2.Id=b&Targets.member.1.Id=a&Filter.1.Value.1=x&Filter.1.Value.2=y",
        );
        let tree = Node::tree(&form);
        let ids: Vec<_> = tree
            .list("Targets")
            .iter()
            .filter_map(|node| node.text("Id"))
            .collect();
        assert_eq!(ids, ["a", "b", "c"]);
        assert_eq!(tree.list("Filter")[0].texts("Value"), ["x", "y"]);
    }

    #[test]
    fn the_credential_scope_names_key_region_and_service() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIA1/20260102/cn-north-1/elasticloadbalancing/aws4_request, SignedHeaders=host, Signature=00";
        let credential = Credential::parse(header).expect("well-formed");
        assert_eq!(credential.access_key, "AKIA1");
        assert_eq!(credential.region, "cn-north-1");
        assert_eq!(credential.service, Some(Service::Elbv2));
        assert_eq!(Credential::parse("Bearer x"), None);
    }

    #[test]
    fn a_number_that_does_not_parse_is_refused_by_name() {
        let form = decode(b"Port=http");
        let error = Node::tree(&form).parsed::<u16>("Port").expect_err("not a number");
        assert!(error.message.contains("Port"));
        assert_eq!(error.code(Service::Elbv2), "ValidationError");
        assert_eq!(error.code(Service::Ec2), "InvalidParameterValue");
    }
}
