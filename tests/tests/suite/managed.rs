//! A target group of Elbow's from its declaration to its end, by built programs under the shipped policies. What AWS has is
//! asked with its own SDK, not through Elbow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::Client;
use awssim::{Drift, Fault, FaultRule, JournalFilter};
use reqwest::Method;
use sandbox::{
    Progress, Wait,
    demo::{Sandbox, scale},
    elbow, fixture, wait_until,
};
use serde_json::{Value, json};
use tests::{pod_targets, target_health};

const LIMIT: Duration = Duration::from_mins(1);
const GROUP: &str = "/v1/target-groups/shop";
const BINDING: &str = "/v1/clusters/democluster/bindings/default/shop";
/// The group's name in AWS.
const NAME: &str = "shop-web";
const DELAY: &str = "deregistration_delay.timeout_seconds";
/// What somebody does in AWS is seen soon.
const SOON_SEEN: [(&str, &str); 3] = [
    ("--observe-every", "1s"),
    ("--sweep", "1s"),
    ("--guard-consistency-grace", "2s"),
];

fn declaration(path: &str, drift: &str, protected: bool) -> Value {
    json!({"spec": {
        "clusters": ["democluster"],
        "managed": {
            "account": fixture::ACCOUNT, "region": fixture::REGION, "vpcId": fixture::VPC, "name": NAME,
            "targetType": "ip", "protocol": "HTTP", "port": 80,
            "healthCheck": {"path": path, "intervalSeconds": 10, "timeoutSeconds": 5},
            "attributes": {"deregistrationDelaySeconds": 0},
            "tags": {"team": "shop"},
            "drift": drift, "deletionProtection": protected,
        },
    }})
}

/// A group as AWS tells it.
#[derive(Debug, PartialEq)]
struct Seen {
    arn: String,
    path: String,
    delay: String,
    tags: BTreeMap<String, String>,
}

/// Every group of the name.
async fn seen(aws: &Client) -> Vec<Seen> {
    let all = aws.describe_target_groups().send().await.unwrap();
    let mut found = Vec::new();
    let named = all
        .target_groups()
        .iter()
        .filter(|group| group.target_group_name() == Some(NAME));
    for group in named {
        let arn = group.target_group_arn().unwrap();
        let attributes = aws
            .describe_target_group_attributes()
            .target_group_arn(arn)
            .send()
            .await
            .unwrap();
        let delay = attributes
            .attributes()
            .iter()
            .find(|attribute| attribute.key() == Some(DELAY));
        let tags = aws.describe_tags().resource_arns(arn).send().await.unwrap();
        let tags = tags.tag_descriptions()[0].tags().iter();
        found.push(Seen {
            arn: arn.to_owned(),
            path: group.health_check_path().unwrap().to_owned(),
            delay: delay.unwrap().value().unwrap().to_owned(),
            tags: tags
                .map(|tag| (tag.key().unwrap().to_owned(), tag.value().unwrap().to_owned()))
                .collect(),
        });
    }
    found
}

/// Waits until AWS has one group of the name, as it should be.
async fn becomes(aws: &Client, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
    wait_until(
        LIMIT,
        what,
        &Progress::silent(),
        async || match <[Seen; 1]>::try_from(seen(aws).await) {
            Ok([one]) if fits(&one) => Ok(one),
            other => Err(Wait::not_yet(format!("{other:?}"))),
        },
    )
    .await
    .unwrap()
}

/// Waits until the group's targets are these.
async fn targets(aws: &Client, arn: &str, expected: impl Fn() -> BTreeSet<String>) {
    wait_until(
        LIMIT,
        "the targets of a managed group",
        &Progress::silent(),
        async || {
            let there: BTreeSet<_> = target_health(aws, arn).await.into_keys().collect();
            if there == expected() {
                Ok(())
            } else {
                Err(Wait::not_yet(format!("{there:?}")))
            }
        },
    )
    .await
    .unwrap();
}

/// Waits until the group's condition has this reason.
async fn tells(sandbox: &Sandbox, reason: &str) -> Value {
    let silent = Progress::silent();
    let fits = |group: &Value| group["status"]["managed"]["ready"]["reason"] == reason;
    sandbox
        .server
        .answers(GROUP, reason, &silent, fits)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_group_is_made_once_bound_by_name_changed_watched_and_deleted() {
    if !tests::available() {
        return;
    }
    let sandbox = Sandbox::with(Progress::silent(), &SOON_SEEN).await.unwrap();
    let aws = tests::elbv2(sandbox.aws_url()).await;
    let call = async |method: Method, path: &str, body: Option<Value>| {
        sandbox.server.call(method, path, body.as_ref()).await.unwrap()
    };
    let others = sandbox.aws().target_groups().len();
    let since = sandbox.aws().journal(&JournalFilter::default()).next;
    elbow::apply(&sandbox.plane, "nginx", include_str!("../../seed/nginx.yaml")).unwrap();
    scale(&sandbox.plane, 2).await.unwrap();

    // AWS makes it, and the answer is lost.
    let lost = Fault::AppliedThenTimeout { hold: None };
    sandbox
        .aws()
        .add_fault(FaultRule::on("CreateTargetGroup", lost).times(1));
    call(Method::PUT, GROUP, Some(declaration("/ready", "report", true))).await;
    let spec = json!({"spec": {"targetGroup": "shop", "service": "nginx-tgb-svc-alb-ip", "port": "80"}});
    call(Method::PUT, BINDING, Some(spec)).await;
    let made = becomes(&aws, "the group", |group| group.delay == "0").await;
    assert_eq!(
        (made.path.as_str(), made.tags["team"].as_str()),
        ("/ready", "shop")
    );
    assert_eq!(made.tags["elbow/target-group"], "shop");
    assert!(made.tags.contains_key("elbow/installation"), "{made:?}");
    let told = tells(&sandbox, "Reconciled").await;
    assert_eq!(told["status"]["arn"], made.arn);
    targets(&aws, &made.arn, || pod_targets(&sandbox)).await;

    call(Method::PUT, GROUP, Some(declaration("/live", "report", true))).await;
    becomes(&aws, "another health check", |group| group.path == "/live").await;
    tells(&sandbox, "Reconciled").await;
    let by_hand = Drift::ModifyTargetGroup {
        target_group_arn: made.arn.clone(),
        attributes: BTreeMap::from([(DELAY.to_owned(), "77".to_owned())]),
        tags: BTreeMap::new(),
    };
    sandbox.aws().drift(&by_hand).unwrap();
    let drifted = tells(&sandbox, "Drifted").await;
    assert_eq!(
        drifted["status"]["managed"]["drift"],
        json!([{"setting": format!("attributes.{DELAY}"), "declared": "0", "observed": "77"}])
    );
    assert_eq!(seen(&aws).await[0].delay, "77", "told, and left as it is");
    call(Method::PUT, GROUP, Some(declaration("/live", "repair", true))).await;
    becomes(&aws, "the delay as declared", |group| group.delay == "0").await;

    let end = format!("{GROUP}?inAws=delete");
    let (refused, problem) = sandbox.server.try_call(Method::DELETE, &end, None).await.unwrap();
    assert_eq!(refused, 409, "{problem}");
    call(Method::PUT, GROUP, Some(declaration("/live", "repair", false))).await;
    call(Method::DELETE, BINDING, None).await;
    targets(&aws, &made.arn, BTreeSet::new).await;
    wait_until(LIMIT, "the declaration to end", &Progress::silent(), async || {
        let (status, answer) = sandbox.server.try_call(Method::DELETE, &end, None).await.unwrap();
        match status.as_u16() {
            200 => Ok(()),
            _ => Err(Wait::not_yet(answer)),
        }
    })
    .await
    .unwrap();
    wait_until(LIMIT, "the group to go", &Progress::silent(), async || {
        let (status, answer) = sandbox.server.try_call(Method::GET, GROUP, None).await.unwrap();
        match status.as_u16() {
            404 => Ok(()),
            _ => Err(Wait::not_yet(answer)),
        }
    })
    .await
    .unwrap();
    assert_eq!(seen(&aws).await, [], "deleted in AWS");
    assert_eq!(
        sandbox.aws().target_groups().len(),
        others,
        "and nothing of others"
    );
    let filter = JournalFilter {
        since,
        ..JournalFilter::default()
    };
    let calls = sandbox.aws().journal(&filter).entries;
    let made = calls.iter().filter(|entry| entry.action == "CreateTargetGroup");
    assert_eq!(
        made.count(),
        1,
        "the lost answer was found again, and nothing made twice"
    );
}
