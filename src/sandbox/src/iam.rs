//! The shipped IAM policies, which hold Elbow's access key in every demo and every test from end to end.

use serde_json::{Value, json};

use crate::{Error, Result, fixture};

/// One per partition. Together they are one policy: a resource is in one partition only.
const POLICIES: [&str; 2] = [
    include_str!("../../../deploy/iam/aws/elbow.json"),
    include_str!("../../../deploy/iam/aws-cn/elbow.json"),
];

/// Lets the simulated AWS at this URL refuse what the policies do not allow.
pub(crate) async fn enforce(aws: &str) -> Result<()> {
    let statements: Vec<Value> = POLICIES
        .iter()
        .map(|policy| serde_json::from_str::<Value>(policy).expect("a shipped policy is JSON"))
        .flat_map(|policy| policy["Statement"].as_array().cloned().unwrap_or_default())
        .collect();
    let policy = json!({"Version": "2012-10-17", "Statement": statements});
    let put = reqwest::Client::new()
        .put(format!("{aws}/_awssim/policies"))
        .json(&json!({ fixture::ACCESS_KEY: policy }))
        .send()
        .await;
    match put.and_then(reqwest::Response::error_for_status) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Aws(format!("the shipped policies: {error}"))),
    }
}
