//! What the tests of the whole share: an AWS client that is not Elbow's, and the rule for missing tools.
//!
//! Tests of one crate live in that crate, as low on the ladder as the property allows; here is what needs several of
//! them at once, as built programs.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_elasticloadbalancingv2::Client;

/// Whether the tools of this test are there. Where everything is required, a missing one is a failure.
///
/// # Panics
/// When something is missing and `ELBOW_REQUIRE=all`.
pub fn available() -> bool {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    match sandbox::kubernetes::Binaries::full() {
        Ok(_) => true,
        Err(missing) if std::env::var("ELBOW_REQUIRE").is_ok_and(|what| what == "all") => panic!("{missing}"),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            false
        }
    }
}

/// AWS's own SDK against the endpoint, as anybody could use it.
pub async fn elbv2(endpoint: &str) -> Client {
    let credentials = Credentials::new(sandbox::fixture::ACCESS_KEY, "independent", None, None, "tests");
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::from_static(sandbox::fixture::REGION))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .load()
        .await;
    Client::new(&config)
}

/// The targets of a group with their states, as DescribeTargetHealth tells them.
///
/// # Panics
/// When AWS does not answer as its model says.
pub async fn target_health(client: &Client, arn: &str) -> BTreeMap<String, String> {
    let answer = client
        .describe_target_health()
        .target_group_arn(arn)
        .send()
        .await
        .expect("the group exists");
    answer
        .target_health_descriptions()
        .iter()
        .map(|description| {
            let target = description.target().expect("a description names its target");
            let state = description.target_health().and_then(|health| health.state());
            let key = format!(
                "{}:{}",
                target.id().unwrap_or_default(),
                target.port().unwrap_or_default()
            );
            (key, state.map_or("", |state| state.as_str()).to_owned())
        })
        .collect()
}
