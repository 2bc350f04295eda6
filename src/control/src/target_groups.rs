//! Declared target groups.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Name, Observed,
    cluster::Cluster,
    target_group::{Grant, TargetGroup, TargetGroupSpec},
};
use store::Put;

use crate::{Control, Error, Listing, Page, Principal, Write, Written, text, view::TargetGroupView};

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
        let scope = principal.scope.as_ref();
        let groups = self
            .store
            .target_groups(scope, after.as_ref(), page.rows())
            .await?;
        let Listing { items, next } = page.cut(groups, |group| group.name.to_string());
        let mut views = Vec::with_capacity(items.len());
        for mut group in items {
            group.spec = principal.redact(group.spec);
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
        let mut group = self.target_group_for(principal, name).await?;
        group.spec = principal.redact(group.spec);
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
        spec.grants = united(spec.grants)?;
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

    /// One that the caller may know of; another does not exist for it.
    pub(crate) async fn target_group_for(
        &self,
        principal: &Principal,
        name: &Name,
    ) -> Result<TargetGroup, Error> {
        let group = self.target_group(name).await?;
        if principal.sees_group(&group.spec) {
            Ok(group)
        } else {
            Err(Error::not_found("target group", name))
        }
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

    /// The clusters that a declaration admits: each must exist, in the group's own region and in its account, or with a
    /// role for it.
    async fn admitted(&self, spec: &TargetGroupSpec) -> Result<Vec<Cluster>, Error> {
        let shard = spec.arn.shard();
        let names: BTreeSet<_> = spec.admitted_clusters().collect();
        if names.is_empty() {
            return Err(Error::at(
                "spec.clusters",
                "name at least one cluster, here or in spec.grants: nobody else may use the target group",
            ));
        }
        if names.len() > MAX_CLUSTERS {
            return Err(Error::at(
                "spec.clusters",
                format!("at most {MAX_CLUSTERS} clusters share a target group"),
            ));
        }
        let mut admitted = Vec::with_capacity(names.len());
        for name in names {
            let field = if spec.clusters.contains(name) {
                "spec.clusters"
            } else {
                "spec.grants"
            };
            let Some(state) = self.store.cluster(name).await? else {
                let message =
                    format!("cluster `{name}` is not registered: register it first, or correct the name");
                return Err(Error::at(field, message));
            };
            let cluster = state.cluster;
            let own = cluster.spec.shard();
            let by_role = cluster
                .spec
                .roles
                .iter()
                .any(|role| *role.arn.account() == shard.account)
                && own.region == shard.region
                && own.partition == shard.partition;
            if own != *shard && !by_role {
                let message = format!(
                    "the target group is in {shard}, but cluster `{name}` is in {own}: a cluster can only use target groups \
                     of its own account and region, and those of its region in accounts that its spec.roles has a role for"
                );
                return Err(Error::at(field, message));
            }
            admitted.push(cluster);
        }
        Ok(admitted)
    }
}

/// One grant per cluster, in order.
fn united(grants: Vec<Grant>) -> Result<Vec<Grant>, Error> {
    let mut united: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    for Grant { cluster, namespaces } in grants {
        if namespaces.is_empty() {
            let message = format!(
                "name the namespaces of cluster `{cluster}`, or add the cluster to spec.clusters for all of them"
            );
            return Err(Error::at("spec.grants", message));
        }
        for namespace in &namespaces {
            text::dns_subdomain("spec.grants", namespace)?;
        }
        united.entry(cluster).or_default().extend(namespaces);
    }
    Ok(united
        .into_iter()
        .map(|(cluster, namespaces)| Grant {
            cluster,
            namespaces: namespaces.into_iter().collect(),
        })
        .collect())
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
