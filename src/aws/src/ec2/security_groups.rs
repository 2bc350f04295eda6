//! DescribeSecurityGroups: the tags by which one of an interface's groups says that it is a cluster's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_ec2::Client;
use model::SecurityGroupId;
use tokio::time::Instant;

use super::{FILTER_VALUES, filter};
use crate::{Error, budget::Category, call::Caller, metrics::Action};

const ACTION: Action = Action::DescribeSecurityGroups;

pub(crate) type Tags = BTreeMap<String, String>;

/// The tags of a shard's security groups, believed for a while.
pub(crate) struct SecurityGroups {
    client: Client,
    ttl: Duration,
    known: Mutex<HashMap<SecurityGroupId, (Instant, Tags)>>,
}

impl SecurityGroups {
    pub(crate) fn new(client: Client, ttl: Duration) -> Self {
        Self {
            client,
            ttl,
            known: Mutex::default(),
        }
    }

    /// The tags of these groups; a group that AWS does not know has none.
    pub(crate) async fn tags(
        &self,
        caller: &Caller,
        groups: &BTreeSet<SecurityGroupId>,
    ) -> Result<BTreeMap<SecurityGroupId, Tags>, Error> {
        let missing: Vec<_> = {
            let known = self.lock();
            let fresh =
                |group: &SecurityGroupId| known.get(group).is_some_and(|(until, _)| Instant::now() < *until);
            groups.iter().filter(|group| !fresh(group)).cloned().collect()
        };
        for chunk in missing.chunks(FILTER_VALUES) {
            let described = self.describe(caller, chunk).await?;
            let until = Instant::now() + self.ttl;
            let mut known = self.lock();
            for group in chunk {
                let tags = described.get(group).cloned().unwrap_or_default();
                known.insert(group.clone(), (until, tags));
            }
        }
        let known = self.lock();
        let tags =
            |group: &SecurityGroupId| known.get(group).map(|(_, tags)| tags.clone()).unwrap_or_default();
        Ok(groups.iter().map(|group| (group.clone(), tags(group))).collect())
    }

    async fn describe(
        &self,
        caller: &Caller,
        groups: &[SecurityGroupId],
    ) -> Result<HashMap<SecurityGroupId, Tags>, Error> {
        // By filter, since one id that does not exist would fail the whole call.
        let ids = filter("group-id", groups.iter().map(ToString::to_string));
        let mut described = HashMap::new();
        let mut next = None;
        loop {
            let request = self
                .client
                .describe_security_groups()
                .filters(ids.clone())
                .set_next_token(next);
            let (_, answer) = caller
                .read(ACTION, Category::Ec2Describe, "security-groups", || {
                    request.clone().send()
                })
                .await?;
            for group in answer.security_groups() {
                let id = group.group_id().and_then(|id| id.parse().ok());
                let id = id.ok_or_else(|| Error::answer(ACTION, "a group has no id"))?;
                let tags = group.tags().iter().filter_map(|tag| {
                    Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))
                });
                described.insert(id, tags.collect());
            }
            next = answer.next_token;
            if next.is_none() {
                return Ok(described);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecurityGroupId, (Instant, Tags)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
