//! What the tests of the whole share: an AWS client that is not Elbow's, and the rule for missing tools.
//!
//! Tests of one crate live in that crate, as low on the ladder as the property allows; here is what needs several of
//! them at once, as built programs.

pub mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::Client;
use awssim::{Drift, Entry, JournalFilter, TargetSpec};
use sandbox::{Progress, Wait, demo::Sandbox, kubernetes::Access, wait_until};
use serde_json::Value;

pub use sandbox::onlooker::elbv2;

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

/// The targets of a group with their states, as DescribeTargetHealth tells them.
///
/// # Panics
/// When AWS does not answer as its model says.
pub async fn target_health(client: &Client, arn: &str) -> BTreeMap<String, String> {
    let targets = sandbox::onlooker::targets(client, arn).await;
    let targets = targets.unwrap_or_else(|error| panic!("{error}"));
    targets
        .into_iter()
        .map(|target| (target.key, target.state))
        .collect()
}

/// A number that somebody gave by this variable.
///
/// # Panics
/// When it is no number.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not `{text}`")),
    )
}

/// What AWS is held against: the pods that kubectl shows, since a moment of AWS's journal. Elbow is not asked.
pub struct Witness {
    /// Address → UID.
    pods: BTreeMap<String, String>,
    since: u64,
}

/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Every call of Elbow that changes target groups.
pub const MUTATING: [&str; 2] = ["RegisterTargets", "DeregisterTargets"];
/// Every call of Elbow that changes security groups.
const OPENING: [&str; 2] = ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"];

impl Witness {
    /// Looks at the pods that are there and not on their way out.
    ///
    /// # Panics
    /// When kubectl fails.
    pub fn look(sandbox: &Sandbox) -> Self {
        Self {
            since: sandbox.aws().journal(&JournalFilter::default()).next,
            pods: pods(sandbox),
        }
    }

    /// The calls since then that changed AWS, in order.
    pub fn calls(&self, sandbox: &Sandbox) -> Vec<Entry> {
        let filter = JournalFilter {
            since: self.since,
            ..JournalFilter::default()
        };
        let entries = sandbox.aws().journal(&filter).entries.into_iter();
        entries
            .filter(|entry| !entry.action.starts_with("Describe"))
            .collect()
    }

    /// Waits until there is one.
    ///
    /// # Panics
    /// When none comes.
    pub async fn called(&self, sandbox: &Sandbox) {
        let mut since = self.since;
        while self.calls(sandbox).is_empty() {
            let filter = JournalFilter {
                since,
                ..JournalFilter::default()
            };
            let page = sandbox.aws().wait_journal(&filter, LIMIT).await;
            assert!(!page.entries.is_empty(), "AWS is not called");
            since = page.next;
        }
    }

    /// Demands that no pod that was there all the time was removed, and nothing but targets and what opens for them touched.
    ///
    /// # Panics
    /// When one was.
    pub fn judge(&self, sandbox: &Sandbox) {
        let now = pods(sandbox);
        for entry in self.calls(sandbox) {
            // The last pod's end closes what was open for it in the nodes' security group, and the next one opens it.
            let opens = entry.param("GroupId") == Some(sandbox::fixture::NODE_SECURITY_GROUP)
                && OPENING.contains(&entry.action.as_str());
            assert!(
                opens || MUTATING.contains(&entry.action.as_str()),
                "nobody wanted {entry:?}"
            );
            if entry.action != "DeregisterTargets" {
                continue;
            }
            for target in targets(&entry) {
                let stayed = self
                    .pods
                    .get(target)
                    .is_some_and(|uid| now.get(target) == Some(uid));
                assert!(!stayed, "{target} was removed while its pod stood: {entry:?}");
                assert_ne!(target, FOREIGN, "the foreign target was removed: {entry:?}");
            }
        }
    }
}

/// The targets that a call names.
pub fn targets(entry: &Entry) -> impl Iterator<Item = &str> {
    let ids = (1..).map(|index| entry.param(&format!("Targets.member.{index}.Id")));
    ids.take_while(Option::is_some).flatten()
}

/// A target of somebody else, once [`add_foreign`] has been called.
pub const FOREIGN: &str = "192.168.63.250";

/// Registers a target behind Elbow's back.
///
/// # Panics
/// When there is no such group.
pub fn add_foreign(sandbox: &Sandbox) {
    let foreign = TargetSpec {
        id: FOREIGN.to_owned(),
        port: Some(80),
        zone: None,
    };
    let drift = Drift::AddTargets {
        target_group_arn: sandbox.tutorial.target_group.clone(),
        targets: vec![foreign],
    };
    sandbox
        .aws()
        .drift(&drift)
        .expect("the tutorial's group is there");
}

/// Waits until AWS has exactly the pods that kubectl shows, `count` of them, and the foreign target.
///
/// # Panics
/// When that does not come about.
pub async fn agrees(sandbox: &Sandbox, count: usize) {
    let what = format!("AWS having the {count} pods and the foreign target");
    sandbox::wait_until(LIMIT, &what, &Progress::silent(), async || {
        let mut wanted: BTreeSet<_> = pods(sandbox).into_keys().collect();
        let pods = wanted.len();
        wanted.insert(FOREIGN.to_owned());
        let all = sandbox
            .aws()
            .targets(&sandbox.tutorial.target_group)
            .map_err(|error| Wait::Never(sandbox::Error::Aws(error.to_string())))?;
        let registered = all.into_iter().filter(|target| target.deregistered.is_none());
        let registered: BTreeSet<_> = registered.map(|target| target.id).collect();
        if pods == count && registered == wanted {
            Ok(())
        } else {
            Err(Wait::not_yet(format!(
                "AWS has {registered:?}, wanted are {wanted:?}"
            )))
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
}

/// The pods of the tutorial that have an address and are not on their way out: address → UID.
///
/// # Panics
/// When kubectl fails.
pub fn pods(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let pods = sandbox::onlooker::pods(sandbox.plane.as_ref()).expect("kubectl answers");
    pods.into_iter().map(|pod| (pod.address, pod.uid)).collect()
}

/// The same pods, as targets.
///
/// # Panics
/// When kubectl fails.
pub fn pod_targets(sandbox: &Sandbox) -> BTreeSet<String> {
    pods(sandbox)
        .into_keys()
        .map(|address| format!("{address}:80"))
        .collect()
}

/// What `kubectl get` says of something.
///
/// # Panics
/// When it says that there is no such thing.
pub fn get(sandbox: &Sandbox, what: &str) -> Value {
    let cluster: &Access = sandbox.plane.as_ref();
    cluster.get(what).unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until a TargetGroupBinding is `Ready` or not for this reason, and answers the condition.
///
/// # Panics
/// When it never is.
pub async fn condition(sandbox: &Sandbox, name: &str, reason: &str) -> Value {
    let what = format!("reason {reason} on {name}");
    let progress = Progress::silent();
    let found = wait_until(LIMIT, &what, &progress, async || {
        let object = get(sandbox, &format!("targetgroupbinding {name}"));
        let conditions = object["status"]["conditions"].as_array().cloned();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        match ready {
            Some(ready) if ready["reason"] == reason => Ok(ready),
            other => Err(Wait::not_yet(other.unwrap_or_default())),
        }
    });
    found.await.unwrap_or_else(|error| panic!("{error}"))
}
