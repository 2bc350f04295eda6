//! The shipped IAM policies, which hold Elbow's access key in every demo and every test from end to end.

use serde_json::{Value, json};

use crate::{Error, Result, fixture};

/// What Elbow may do in an account. One per partition; together they are one policy, for a resource is in one partition.
const IN_AN_ACCOUNT: [&str; 2] = [
    include_str!("../../../deploy/iam/aws/elbow.json"),
    include_str!("../../../deploy/iam/aws-cn/elbow.json"),
];
/// Which roles of other accounts it may enter.
const BEYOND: [&str; 2] = [
    include_str!("../../../deploy/iam/aws/cross-account.json"),
    include_str!("../../../deploy/iam/aws-cn/cross-account.json"),
];

/// Lets the simulated AWS at this URL refuse what the policies do not allow, to Elbow's own key and in the roles.
pub(crate) async fn enforce(aws: &str) -> Result<()> {
    let (inside, beyond) = (statements(&IN_AN_ACCOUNT), statements(&BEYOND));
    let mut policies = serde_json::Map::new();
    for role in beyond
        .iter()
        .filter_map(|statement| statement["Resource"].as_str())
    {
        policies.insert(role.to_owned(), policy(&inside));
    }
    policies.insert(fixture::ACCESS_KEY.to_owned(), policy(&[inside, beyond].concat()));
    let put = reqwest::Client::new()
        .put(format!("{aws}/_awssim/policies"))
        .json(&policies)
        .send()
        .await;
    match put.and_then(reqwest::Response::error_for_status) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Aws(format!("the shipped policies: {error}"))),
    }
}

fn policy(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn statements(policies: &[&str]) -> Vec<Value> {
    policies
        .iter()
        .map(|policy| serde_json::from_str::<Value>(policy).expect("a shipped policy is JSON"))
        .flat_map(|policy| policy["Statement"].as_array().cloned().unwrap_or_default())
        .collect()
}
