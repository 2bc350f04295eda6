//! Declared target groups.

use std::collections::BTreeSet;

use model::{
    Name, Observed,
    cluster::Cluster,
    target_group::{TargetGroup, TargetGroupSpec},
};
use store::Put;

use crate::{Control, Error, Listing, Page, Principal, Write, Written, view::TargetGroupView};

/// Far above what one group is shared by.
const MAX_CLUSTERS: usize = 1000;

impl Control {
    pub async fn list_target_groups(
        &self,
        principal: &Principal,
        page: &Page,
    ) -> Result<Listing<TargetGroupView>, Error> {
        principal.read("list target groups")?;
        let after = page.after::<Name>()?;
        let groups = self.store.target_groups(after.as_ref(), page.rows()).await?;
        let Listing { items, next } = page.cut(groups, |group| group.name.to_string());
        let mut views = Vec::with_capacity(items.len());
        for group in items {
            views.push(self.observed(group).await?);
        }
        Ok(Listing { items: views, next })
    }

    pub async fn get_target_group(
        &self,
        principal: &Principal,
        name: &Name,
    ) -> Result<TargetGroupView, Error> {
        principal.read("read target groups")?;
        let group = self.target_group(name).await?;
        self.observed(group).await
    }

    /// Declares a target group or changes who may use it. Bindings that refer to it by name are compiled again, so that
    /// it does not matter which came first.
    pub async fn put_target_group(
        &self,
        principal: &Principal,
        name: Name,
        mut spec: TargetGroupSpec,
        write: Write,
    ) -> Result<Written<TargetGroupView>, Error> {
        let actor = principal.write("declare target groups")?;
        let unique: BTreeSet<_> = spec.clusters.into_iter().collect();
        spec.clusters = unique.into_iter().collect();
        let admitted = self.admitted(&spec).await?;
        let stored = self.store.target_group(&name).await?;
        write.expected.check(stored.as_ref().map(|group| group.version))?;
        if write.dry_run {
            let Written { created, value } = would_be(stored, name, spec)?;
            return Ok(Written {
                created,
                value: self.observed(value).await?,
            });
        }
        let put = self
            .store
            .put_target_group(actor, &name, &spec, write.expected.version())
            .await?;
        if !matches!(put, Put::Unchanged(_)) {
            for cluster in &admitted {
                self.recompile(cluster).await?;
            }
        }
        let created = matches!(put, Put::Created(_));
        Ok(Written {
            created,
            value: self.observed(put.into_inner()).await?,
        })
    }

    /// Forgets a group that nothing uses. The answer is what it was.
    pub async fn delete_target_group(
        &self,
        principal: &Principal,
        name: &Name,
        write: Write,
    ) -> Result<TargetGroupView, Error> {
        let actor = principal.write("delete target groups")?;
        let group = self.target_group(name).await?;
        write.expected.check(Some(group.version))?;
        let view = self.observed(group).await?;
        if !write.dry_run {
            self.store
                .delete_target_group(actor, name, write.expected.version())
                .await?;
        }
        Ok(view)
    }

    pub(crate) async fn target_group(&self, name: &Name) -> Result<TargetGroup, Error> {
        self.store
            .target_group(name)
            .await?
            .ok_or_else(|| Error::not_found("target group", name))
    }

    async fn observed(&self, target_group: TargetGroup) -> Result<TargetGroupView, Error> {
        let observation = self.store.observation(&target_group.spec.arn).await?;
        let (facts, targets) = match observation {
            Some(observation) => (observation.facts, observation.targets),
            None => (Observed::Unknown, Observed::Unknown),
        };
        Ok(TargetGroupView {
            target_group,
            facts,
            targets,
        })
    }

    /// The clusters that a declaration admits: each must exist, in the group's own account and region.
    async fn admitted(&self, spec: &TargetGroupSpec) -> Result<Vec<Cluster>, Error> {
        let shard = spec.arn.shard();
        if spec.clusters.is_empty() {
            return Err(Error::at(
                "spec.clusters",
                "name at least one cluster: nobody else may use the target group",
            ));
        }
        if spec.clusters.len() > MAX_CLUSTERS {
            return Err(Error::at(
                "spec.clusters",
                format!("at most {MAX_CLUSTERS} clusters share a target group"),
            ));
        }
        let mut admitted = Vec::with_capacity(spec.clusters.len());
        for name in &spec.clusters {
            let Some(state) = self.store.cluster(name).await? else {
                let message =
                    format!("cluster `{name}` is not registered: register it first, or correct the name");
                return Err(Error::at("spec.clusters", message));
            };
            let cluster = state.cluster;
            if cluster.spec.shard() != *shard {
                let message = format!(
                    "the target group is in {shard}, but cluster `{name}` is in {}: a cluster can only use target groups \
                     of its own account and region",
                    cluster.spec.shard()
                );
                return Err(Error::at("spec.clusters", message));
            }
            admitted.push(cluster);
        }
        Ok(admitted)
    }
}

/// What a PUT would answer, decided as the store would.
fn would_be(
    stored: Option<TargetGroup>,
    name: Name,
    spec: TargetGroupSpec,
) -> Result<Written<TargetGroup>, Error> {
    let Some(mut group) = stored else {
        return Ok(Written {
            created: true,
            value: TargetGroup {
                name,
                spec,
                version: 1,
            },
        });
    };
    if group.spec.arn != spec.arn {
        let arn = &group.spec.arn;
        let message = format!(
            "target group `{name}` is {arn} and cannot become another: declare the other one by another name"
        );
        return Err(Error::Conflict(message));
    }
    if group.spec != spec {
        group.spec = spec;
        group.version += 1;
    }
    Ok(Written {
        created: false,
        value: group,
    })
}
