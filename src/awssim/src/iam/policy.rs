//! A policy document: read strictly, judged as IAM judges it.

use serde::Deserialize;

use super::{
    condition::{Conditions, Context},
    pattern::Pattern,
};

/// A policy of IAM's JSON grammar, version 2012-10-17. What is not simulated (`NotAction`, `NotResource`, policy
/// variables, other operators) is refused when it is read, never ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(rename = "Version")]
    _version: Version,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<Statement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    Of2012,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    action: OneOrMany<Pattern>,
    resource: OneOrMany<Pattern>,
    #[serde(default)]
    condition: Conditions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// JSON's one thing where a list has one item.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
        .iter()
    }
}

/// What a call needs leave for: one permission on one resource.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// Such as `ec2:CreateTags`.
    pub(crate) permission: String,
    /// An ARN, one with wildcards where the resource is yet to be made, or `*`.
    pub(crate) resource: String,
    pub(crate) context: Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// A statement denies it, whatever others allow.
    Denied,
}

impl Policy {
    pub(super) fn judge(&self, demand: &Demand) -> Verdict {
        let mut verdict = Verdict::NotAllowed;
        for statement in self
            .statement
            .iter()
            .filter(|statement| statement.applies(demand))
        {
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }
}

impl Statement {
    fn applies(&self, demand: &Demand) -> bool {
        // Actions ignore case, ARNs do not.
        self.action
            .iter()
            .any(|action| action.matches_in_any_case(&demand.permission))
            && self
                .resource
                .iter()
                .any(|resource| resource.matches(&demand.resource))
            && self.condition.hold(&demand.context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Policy {
        serde_json::from_str(&format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#))
            .expect("a policy")
    }

    fn demand(permission: &str, resource: &str) -> Demand {
        Demand {
            permission: permission.to_owned(),
            resource: resource.to_owned(),
            context: Context::default(),
        }
    }

    #[test]
    fn what_no_statement_allows_is_not_allowed() {
        let policy = policy(r#"{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}"#);
        assert_eq!(policy.judge(&demand("ec2:DescribeVpcs", "*")), Verdict::Allowed);
        assert_eq!(policy.judge(&demand("ec2:CreateVpc", "*")), Verdict::NotAllowed);
    }

    #[test]
    fn a_deny_wins_over_every_allow() {
        let policy = policy(
            r#"[{"Effect":"Deny","Action":["EC2:createtags"],"Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}]"#,
        );
        assert_eq!(policy.judge(&demand("ec2:CreateTags", "*")), Verdict::Denied);
        assert_eq!(policy.judge(&demand("ec2:DeleteTags", "*")), Verdict::Allowed);
    }

    #[test]
    fn an_arn_that_is_named_is_not_the_star_that_a_read_needs() {
        let policy =
            policy(r#"{"Effect":"Allow","Action":"ec2:*","Resource":"arn:aws:ec2:*:*:security-group/*"}"#);
        assert_eq!(
            policy.judge(&demand("ec2:DescribeVpcs", "*")),
            Verdict::NotAllowed
        );
        let group = "arn:aws:ec2:eu-central-1:111122223333:security-group/sg-1";
        assert_eq!(policy.judge(&demand("ec2:X", group)), Verdict::Allowed);
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        for document in [
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"x","Resource":"*"}}"#,
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"x","Resource":"${aws:username}"}}"#,
            r#"{"Version":"2008-10-17","Statement":[]}"#,
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"x","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}"#,
        ] {
            serde_json::from_str::<Policy>(document).expect_err(document);
        }
    }
}
