//! What the play is seen by. It waits by AWS's own state, which costs no budget, and shows what AWS's SDK and `kubectl`
//! answer; Elbow is not asked what it did.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::Client;
use awssim::{HealthState, JournalFilter, Place, Running, TargetState};

use super::say;
use crate::{
    Error, Progress, Result, Wait,
    fixture::{self, Tutorial},
    onlooker::{self, Target},
    wait_until,
};

// Images are pulled in clusters that are not ours.
const SETTLE: Duration = Duration::from_mins(5);

/// AWS, and what somebody had made in it.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub(super) aws: &'a Running,
    pub(super) elbv2: &'a Client,
    pub(super) tutorial: &'a Tutorial,
    pub(super) progress: &'a Progress,
}

impl Stage<'_> {
    /// Waits until AWS has exactly as many registered targets in a group.
    pub async fn registered(&self, arn: &str, count: usize) -> Result<Vec<TargetState>> {
        let what = format!("{count} registered target(s) in {}", fixture::name(arn));
        wait_until(SETTLE, &what, self.progress, async || {
            let all = self.aws.handle().targets(arn);
            let all = all.map_err(|error| Wait::Never(Error::Aws(error.to_string())))?;
            let registered = all
                .iter()
                .filter(|target| target.state != HealthState::Draining)
                .count();
            if registered == count {
                Ok(all)
            } else {
                Err(Wait::not_yet(format!("{registered} registered")))
            }
        })
        .await
    }

    /// The last call that AWS got.
    pub fn last_call(&self) -> u64 {
        let page = self.aws.handle().journal(&JournalFilter::default());
        page.entries.last().map_or(0, |entry| entry.sequence)
    }

    /// The calls of an action after `since`: how many targets each had.
    pub fn writes(&self, action: &str, since: u64) -> Vec<usize> {
        let filter = JournalFilter {
            action: Some(action.to_owned()),
            since,
            ..JournalFilter::default()
        };
        let page = self.aws.handle().journal(&filter);
        page.entries.iter().map(|entry| entry.targets).collect()
    }

    /// Shows a group once AWS and `kubectl` agree about it: `expected` answers target → whose it is.
    pub(super) async fn show(
        &self,
        arn: &str,
        count: usize,
        expected: impl Fn() -> Result<BTreeMap<String, String>>,
    ) -> Result<()> {
        self.registered(arn, count).await?;
        let what = format!("AWS and kubectl agreeing about {}", fixture::name(arn));
        let (targets, owners) = wait_until(SETTLE, &what, self.progress, async || {
            let owners = expected()?;
            let targets = onlooker::targets(self.elbv2, arn).await?;
            let registered: BTreeSet<_> = targets
                .iter()
                .filter(|target| !is_draining(target))
                .map(|target| &target.key)
                .collect();
            if registered.len() == count && registered.iter().copied().eq(owners.keys()) {
                Ok((targets, owners))
            } else {
                let seen = format!("AWS has {registered:?}, the cluster {:?}", owners.keys());
                Err(Wait::not_yet(seen))
            }
        })
        .await?;
        say(&format!("   target group {}", fixture::name(arn)));
        if targets.is_empty() {
            say("     (empty)");
        }
        for target in &targets {
            let owner = owners.get(&target.key).map_or("", String::as_str);
            say(format!("     {:<27} {:<42} {owner}", target.key, words(target)).trim_end());
        }
        Ok(())
    }

    /// Shows what the security group of the nodes lets in, once it lets in as many things.
    pub(super) async fn show_openings(&self, count: usize) -> Result<()> {
        let place = Place::new(fixture::ACCOUNT, fixture::REGION);
        let what = format!("{count} rule(s) in the nodes' security group");
        let rules = wait_until(SETTLE, &what, self.progress, async || {
            let rules = self
                .aws
                .handle()
                .security_group_rules(&place, fixture::NODE_SECURITY_GROUP)
                .map_err(|error| Wait::Never(Error::Aws(error.to_string())))?;
            let ingress: Vec<_> = rules.into_iter().filter(|rule| !rule.egress).collect();
            if ingress.len() == count {
                Ok(ingress)
            } else {
                Err(Wait::not_yet(format!("{ingress:?}")))
            }
        })
        .await?;
        say("   security group of the nodes lets in");
        for rule in rules {
            let ports = match rule.ports {
                Some((0, 65_535)) | None => "all ports".to_owned(),
                Some((from, to)) if from == to => format!("port {from}"),
                Some((from, to)) => format!("ports {from}-{to}"),
            };
            say(&format!("     {} {ports} from {}", rule.protocol, rule.peer));
        }
        Ok(())
    }

    /// Shows the load balancer that somebody made, and answers what its listeners forward to.
    pub(super) async fn show_load_balancer(&self) -> Result<BTreeMap<i32, Vec<String>>> {
        let listeners = onlooker::listeners(self.elbv2, &self.tutorial.load_balancer).await?;
        say("   load balancer test-alb");
        for (port, groups) in &listeners {
            let groups: Vec<_> = groups.iter().map(|arn| fixture::name(arn)).collect();
            say(&format!("     listener {port} forwards to {}", groups.join(", ")));
        }
        Ok(listeners)
    }
}

fn is_draining(target: &Target) -> bool {
    target.state == "draining"
}

/// A target's health in one line.
fn words(target: &Target) -> String {
    match &target.reason {
        Some(reason) => format!("{} ({reason})", target.state),
        None => target.state.clone(),
    }
}
