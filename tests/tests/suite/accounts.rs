//! Target groups of another account, entered by its role with the external id that its owner demands.

use std::time::Duration;

use awssim::{Entry, Fixture, JournalFilter, Role};
use reqwest::Method;
use sandbox::{
    Progress,
    demo::{Sandbox, bind},
    fixture,
};
use serde_json::json;
use tests::condition;

/// The other account, as the shipped policies call it.
const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws-cn:iam::444455556666:role/elbow";
const EXTERNAL_ID: &str = "known-to-two";
/// Where its target group is.
const VPC: &str = "vpc-0e2b0e2b0e2b0e2b0";
const LIMIT: Duration = Duration::from_mins(1);
const NAME: &str = "my-tgb-alb-ip";

/// A target group in the other account, with a VPC of its own.
fn make_group(sandbox: &Sandbox) -> String {
    let group = json!({
        "account": OTHER,
        "region": fixture::REGION,
        "vpcs": [{"id": VPC, "cidrs": ["172.31.0.0/16"]}],
        "target_groups": [{"name": "edge", "vpc": VPC, "port": 80, "target_type": "ip"}],
    });
    let group: Fixture = serde_json::from_value(group).unwrap();
    let role = Role {
        external_id: Some(EXTERNAL_ID.to_owned()),
        denied: false,
    };
    sandbox.aws().set_role(ROLE, role);
    sandbox.aws().load(&group).unwrap().target_groups["edge"].clone()
}

async fn put(sandbox: &Sandbox, path: &str, spec: &serde_json::Value) {
    let body = json!({ "spec": spec });
    sandbox.server.call(Method::PUT, path, Some(&body)).await.unwrap();
}

async fn register_account(sandbox: &Sandbox, external_id: &str) {
    let role = json!({"role": {"arn": ROLE, "externalId": external_id}});
    put(sandbox, &format!("/v1/accounts/{OTHER}"), &role).await;
}

fn registrations(sandbox: &Sandbox) -> Vec<Entry> {
    let filter = JournalFilter {
        action: Some("RegisterTargets".to_owned()),
        ..JournalFilter::default()
    };
    sandbox.aws().journal(&filter).entries
}

#[tokio::test]
async fn a_group_of_another_account_is_served_by_the_role_that_its_owner_lets_elbow_take() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::start(Progress::silent()).await.unwrap();
    let group = make_group(&sandbox);
    let plain = sandbox.binding().replace(&sandbox.tutorial.target_group, &group);
    bind(&sandbox.plane, &plain).unwrap();
    condition(&sandbox, NAME, "WrongShard").await;
    let by_role = format!("spec:\n  iamRoleArnToAssume: {ROLE}\n  assumeRoleExternalId: {EXTERNAL_ID}");
    let by_role = plain.replacen("spec:", &by_role, 1);
    bind(&sandbox.plane, &by_role).unwrap();
    condition(&sandbox, NAME, "RoleNotAllowed").await;

    // Its cluster may name the role now. Without the right external id nobody is let in.
    let path = "/v1/clusters/democluster";
    let cluster = sandbox.server.call(Method::GET, path, None).await.unwrap();
    let mut spec = cluster["spec"].clone();
    spec["roles"] = json!([{"arn": ROLE, "externalId": EXTERNAL_ID}]);
    put(&sandbox, path, &spec).await;
    register_account(&sandbox, "guessed").await;
    let declared = sandbox
        .server
        .declare_target_group("edge", &group, &["democluster"]);
    declared.await.unwrap();
    let told = condition(&sandbox, NAME, "CredentialsRejected").await;
    let words = told["message"].as_str().unwrap();
    assert!(words.contains("sts:AssumeRole"), "{words}");
    assert_eq!(registrations(&sandbox).len(), 0);

    register_account(&sandbox, EXTERNAL_ID).await;
    // Its VPC is not the cluster's, and only the binding can know that it reaches the pods.
    let told = condition(&sandbox, NAME, "TargetGroupMismatch").await;
    let words = told["message"].as_str().unwrap();
    assert!(words.contains(VPC), "{words}");
    let in_vpc = by_role.replacen("spec:", &format!("spec:\n  vpcID: {VPC}"), 1);
    bind(&sandbox.plane, &in_vpc).unwrap();
    sandbox.stage().registered(&group, 1).await.unwrap();
    let calls = registrations(&sandbox);
    let [call] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(call.account, OTHER, "{call:?}");
    // Its pods are outside of that VPC.
    assert_eq!(call.param("Targets.member.1.AvailabilityZone"), Some("all"));
    // The machines of its pods are in Elbow's own account.
    let opening = JournalFilter {
        action: Some("AuthorizeSecurityGroupIngress".to_owned()),
        ..JournalFilter::default()
    };
    let opened = sandbox.aws().wait_journal(&opening, LIMIT).await.entries;
    let [opening] = &opened[..] else {
        panic!("{opened:?}")
    };
    assert_eq!(opening.account, fixture::ACCOUNT, "{opening:?}");
    let opened = opening.param("GroupId");
    assert_eq!(opened, Some(fixture::NODE_SECURITY_GROUP), "{opening:?}");

    sandbox
        .kubectl(&format!("delete targetgroupbinding {NAME}"))
        .unwrap();
    sandbox.stage().registered(&group, 0).await.unwrap();
}
