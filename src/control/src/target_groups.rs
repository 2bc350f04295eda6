//! Declared target groups: somebody else's, and those that Elbow manages.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Name, Observed, Shard,
    cluster::Cluster,
    managed::{DefinitionSpec, Ending, GroupStep, ManagedSnapshot, ObservedGroup},
    target_group::{Grant, TargetGroup, TargetGroupSpec},
};
use planner::managed::ManagedInput;
use store::{DeclaredGroup, Put};

use crate::{Control, Error, Listing, Page, Principal, Write, Written, text, view::TargetGroupView};

/// Far above what one group is shared by.
const MAX_CLUSTERS: usize = 1000;

/// What is declared.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a request has one")]
pub enum GroupSpec {
    /// Somebody else made it and looks after it.
    External(TargetGroupSpec),
    Managed(DefinitionSpec),
}

impl GroupSpec {
    /// Each cluster and namespace once, in order.
    fn unique(mut self) -> Result<Self, Error> {
        let (Self::External(TargetGroupSpec { clusters, grants, .. })
        | Self::Managed(DefinitionSpec { clusters, grants, .. })) = &mut self;
        let unique: BTreeSet<_> = std::mem::take(clusters).into_iter().collect();
        *clusters = unique.into_iter().collect();
        *grants = united(std::mem::take(grants))?;
        Ok(self)
    }

    fn shard(&self) -> Shard {
        match self {
            Self::External(spec) => spec.arn.shard().clone(),
            Self::Managed(spec) => spec.managed.shard(),
        }
    }
}

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
            .declared_groups(scope, after.as_ref(), page.rows())
            .await?;
        let Listing { items, next } = page.cut(groups, |group| group.name.to_string());
        let mut views = Vec::with_capacity(items.len());
        for mut group in items {
            principal.redact(&mut group.clusters, &mut group.grants);
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
        principal.redact(&mut group.clusters, &mut group.grants);
        self.observed(group).await
    }

    /// Declares a target group, or changes who may use it and, of a managed one, its settings. Bindings that refer to it by
    /// name are compiled again, so that it does not matter which came first.
    ///
    /// A declared group of somebody else's becomes managed by being declared so, and a managed one somebody else's.
    pub async fn put_target_group(
        &self,
        principal: &Principal,
        name: Name,
        spec: GroupSpec,
        write: Write,
    ) -> Result<Written<TargetGroupView>, Error> {
        let actor = principal.write("declare target groups")?;
        let spec = spec.unique()?;
        if let GroupSpec::Managed(spec) = &spec {
            is_the_one(spec)?;
        }
        let admitted = self.admitted(&spec).await?;
        let stored = self.store.declared_group(&name).await?;
        write.expected.check(stored.as_ref().map(|group| group.version))?;
        let created = stored.is_none();
        let expected = write.expected.version();
        let is_managed = stored.as_ref().is_some_and(|group| group.managed.is_some());
        let changed = match &spec {
            GroupSpec::Managed(spec) if write.dry_run => {
                let (group, snapshot) = self.store.try_managed_group(actor, &name, spec, expected).await?;
                let value = self.observed(self.planned(group, snapshot)).await?;
                return Ok(Written { created, value });
            }
            GroupSpec::Managed(spec) => {
                let put = self.store.put_managed_group(actor, &name, spec, expected).await?;
                !matches!(put, Put::Unchanged(_))
            }
            GroupSpec::External(spec) if is_managed => {
                self.store
                    .release_managed_group(actor, &name, spec, expected, write.dry_run)
                    .await?;
                !write.dry_run
            }
            GroupSpec::External(spec) if write.dry_run => {
                let value = self.observed(would_be(stored, name, spec.clone())?).await?;
                return Ok(Written { created, value });
            }
            GroupSpec::External(spec) => {
                let put = self.store.put_target_group(actor, &name, spec, expected).await?;
                !matches!(put, Put::Unchanged(_))
            }
        };
        if changed {
            for cluster in &admitted {
                self.recompile(cluster).await?;
            }
        }
        let value = self.observed(self.target_group(&name).await?).await?;
        Ok(Written { created, value })
    }

    /// What a dry run tells of a managed group. Of a new one: what is done if AWS has none of its name.
    fn planned(&self, mut group: DeclaredGroup, snapshot: ManagedSnapshot) -> DeclaredGroup {
        let Some(managed) = &mut group.managed else {
            return group;
        };
        let unseen = || match &managed.adopts {
            None => Observed::Absent { at: snapshot.now },
            Some(_) => Observed::<ObservedGroup>::Unknown,
        };
        let observed = match &managed.observed {
            Observed::Unknown if managed.state.is_none() => unseen(),
            observed => observed.clone(),
        };
        let plan = planner::managed::plan(&ManagedInput {
            stored: snapshot,
            grace: self.settings.guards.consistency_grace,
            // Whose turn it is to write is the loop's affair.
            fenced_until: None,
            observed,
            targets: Observed::Unknown,
            failure: None,
        });
        let mut status = plan.status;
        for step in &mut status.steps {
            if let GroupStep::Create { settings } = step {
                // Attributes have a call of their own, which is planned when the group is there.
                settings.extend(managed.spec.stated());
            }
        }
        managed.status = Some(status);
        group
    }

    /// Forgets a group that nothing uses. A managed one is deleted in AWS, or let go, as `ending` says. The answer is what
    /// it was.
    pub async fn delete_target_group(
        &self,
        principal: &Principal,
        name: &Name,
        ending: Option<Ending>,
        write: Write,
    ) -> Result<TargetGroupView, Error> {
        let actor = principal.write("delete target groups")?;
        let group = self.target_group(name).await?;
        write.expected.check(Some(group.version))?;
        let expected = write.expected.version();
        let is_managed = group.managed.is_some();
        let view = self.observed(group).await?;
        match (is_managed, ending) {
            (true, Some(ending)) => {
                self.store
                    .end_managed_group(actor, name, ending, expected, write.dry_run)
                    .await?;
            }
            (true, None) => {
                let message =
                    "Elbow manages the target group: say what becomes of it in AWS, `delete` or `keep`";
                return Err(Error::at("inAws", message));
            }
            (false, Some(Ending::Delete)) => {
                let message = "somebody else made the target group, and Elbow does not delete it: leave inAws out, or say \
                               `keep`";
                return Err(Error::at("inAws", message));
            }
            (false, _) if write.dry_run => {}
            (false, _) => self.store.delete_target_group(actor, name, expected).await?,
        }
        Ok(view)
    }

    /// One that the caller may know of; another does not exist for it.
    pub(crate) async fn target_group_for(
        &self,
        principal: &Principal,
        name: &Name,
    ) -> Result<DeclaredGroup, Error> {
        let group = self.target_group(name).await?;
        if principal.sees_group(&group.clusters, &group.grants) {
            Ok(group)
        } else {
            Err(Error::not_found("target group", name))
        }
    }

    pub(crate) async fn target_group(&self, name: &Name) -> Result<DeclaredGroup, Error> {
        self.store
            .declared_group(name)
            .await?
            .ok_or_else(|| Error::not_found("target group", name))
    }

    async fn observed(&self, group: DeclaredGroup) -> Result<TargetGroupView, Error> {
        let observation = match &group.arn {
            Some(arn) => self.store.observation(arn).await?,
            None => None,
        };
        let (mut facts, targets) = match observation {
            Some(observation) => (observation.facts, observation.targets),
            None => (Observed::Unknown, Observed::Unknown),
        };
        // Nobody has asked about its targets yet, since nothing is bound to it; but it was asked about.
        if let (Observed::Unknown, Some(managed)) = (&facts, &group.managed) {
            facts = managed.observed.map(ObservedGroup::facts);
        }
        Ok(TargetGroupView {
            group,
            facts,
            targets,
        })
    }

    /// The clusters that a declaration admits: each must exist, in the group's own region and in its account, or with a
    /// role for it.
    async fn admitted(&self, spec: &GroupSpec) -> Result<Vec<Cluster>, Error> {
        let shard = spec.shard();
        let (GroupSpec::External(TargetGroupSpec { clusters, grants, .. })
        | GroupSpec::Managed(DefinitionSpec { clusters, grants, .. })) = spec;
        let granted = grants.iter().map(|grant| &grant.cluster);
        let names: BTreeSet<_> = clusters.iter().chain(granted).collect();
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
            let field = if clusters.contains(name) {
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
            if own != shard && !by_role {
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

/// The group that is taken over must be the one that is declared.
fn is_the_one(spec: &DefinitionSpec) -> Result<(), Error> {
    let Some(arn) = &spec.arn else { return Ok(()) };
    let declared = spec.managed.shard();
    if *arn.shard() != declared {
        let message = format!(
            "it is of {}, and spec.managed of {declared}: say the account and region of the ARN",
            arn.shard()
        );
        return Err(Error::at("spec.arn", message));
    }
    if arn.name() != spec.managed.name {
        let message = format!(
            "the group of spec.arn has the name `{}` in AWS: say that",
            arn.name()
        );
        return Err(Error::at("spec.managed.name", message));
    }
    Ok(())
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
    stored: Option<DeclaredGroup>,
    name: Name,
    spec: TargetGroupSpec,
) -> Result<DeclaredGroup, Error> {
    let version = match stored {
        None => 1,
        Some(group) if group.arn.as_ref() != Some(&spec.arn) => {
            let arn = group.arn.map(|arn| arn.to_string()).unwrap_or_default();
            let message = format!(
                "target group `{name}` is {arn} and cannot become another: declare the other one by another name"
            );
            return Err(Error::Conflict(message));
        }
        Some(group) => {
            let same = group.clusters == spec.clusters && group.grants == spec.grants;
            group.version + i64::from(!same)
        }
    };
    Ok(TargetGroup { name, spec, version }.into())
}
