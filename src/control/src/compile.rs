//! Users' texts against what is declared.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Name,
    binding::{BindingSpec, Lifecycle, Origin},
    cluster::Cluster,
    condition::{Problem, Reason},
    managed::{DefinitionSpec, Ending},
    target_group::{self, TargetGroup},
};
use serde_json::Value;
use store::{BindingFilter, DeclaredGroup};
use tokio::time::timeout;

use crate::{Control, Error, bindings};

/// Bindings that are recompiled at once.
const BATCH: u32 = 200;

/// Compiles texts of one cluster. Whether a group is declared and admits the cluster is asked when it is planned, so that
/// only names depend on what is declared now.
pub(crate) struct Compiler {
    cluster: Cluster,
    /// AWS name → the groups of the cluster's shard that were declared and have it.
    named: BTreeMap<String, Vec<TargetGroup>>,
    /// By the names that bindings declared by API use.
    declared: BTreeMap<Name, DeclaredGroup>,
}

impl Compiler {
    /// What the text of an object in the namespace means. A name finds only groups that admit it: whether others have
    /// one of that name is not told.
    pub(crate) fn compile(&self, namespace: &str, text: &Value) -> Result<BindingSpec, Problem> {
        let by_name = |name: &str| -> Vec<_> {
            let groups = self.named.get(name).into_iter().flatten();
            groups
                .filter(|group| group.spec.admits(&self.cluster.name, namespace))
                .map(|group| group.spec.arn.clone())
                .collect()
        };
        translate::target_group_binding(text, &self.cluster.spec, &by_name)
    }

    /// The same for the text of a binding that was declared by API.
    pub(crate) fn compile_declared(&self, namespace: &str, text: &Value) -> Result<BindingSpec, Problem> {
        const FIELD: &str = "spec.targetGroup";
        let Some(name) = bindings::group_name(text) else {
            return self.compile(namespace, text);
        };
        let group = self.declared.get(&name).filter(|group| {
            let DeclaredGroup { clusters, grants, .. } = group;
            target_group::admits(clusters, grants, &self.cluster.name, namespace)
        });
        let Some(group) = group else {
            let message = format!(
                "no target group is declared as `{name}` that admits namespace `{namespace}` of cluster `{}`: declare it with \
                 PUT /v1/target-groups/{name}, or have its owner add the cluster to spec.clusters or the namespace to \
                 spec.grants",
                self.cluster.name
            );
            return Err(Problem::at(Reason::TargetGroupNotDeclared, FIELD, message));
        };
        let ending = group.managed.as_ref().and_then(|managed| managed.ending);
        if matches!(ending, Some(Ending::Delete | Ending::Keep)) {
            let message = format!("target group `{name}` is on its way out: bind another one");
            return Err(Problem::at(Reason::TargetGroupNotDeclared, FIELD, message));
        }
        let Some(arn) = &group.arn else {
            let message = format!(
                "target group `{name}` is not there yet, and is bound once AWS has made it: `elbow describe target-group \
                 {name}` says what it waits for"
            );
            return Err(Problem::at(Reason::TargetGroupPending, FIELD, message));
        };
        self.compile(namespace, &bindings::with_arn(text, arn, &self.cluster.spec))
    }
}

impl Control {
    /// A compiler that knows every name that these texts may use.
    pub(crate) async fn compiler<'a>(
        &self,
        cluster: &Cluster,
        texts: impl Iterator<Item = &'a Value>,
    ) -> Result<Compiler, Error> {
        let texts: Vec<_> = texts.collect();
        let mut declared = BTreeMap::new();
        for name in texts.iter().filter_map(|text| bindings::group_name(text)) {
            if let Some(group) = self.store.declared_group(&name).await? {
                declared.insert(name, group);
            }
        }
        let names: BTreeSet<_> = texts
            .iter()
            .filter_map(|text| text.get("targetGroupName")?.as_str())
            .collect();
        let shard = cluster.spec.shard();
        let mut named = BTreeMap::new();
        for name in names.into_iter().filter(|name| is_aws_name(name)) {
            let groups = self.store.target_groups_by_aws_name(&shard, name).await?;
            named.insert(name.to_owned(), groups);
        }
        Ok(Compiler {
            cluster: cluster.clone(),
            named,
            declared,
        })
    }

    /// Judges the cluster's texts in error anew, since something that they refer to was declared or changed.
    pub(crate) async fn recompile(&self, cluster: &Cluster) -> Result<(), Error> {
        let filter = BindingFilter {
            cluster: Some(cluster.id),
            in_error: true,
            ..BindingFilter::default()
        };
        let mut after = None;
        loop {
            let bindings = self.store.bindings(&filter, after, BATCH).await?;
            let Some(last) = bindings.last() else {
                return Ok(());
            };
            after = Some(last.binding.id);
            let compiler = self
                .compiler(cluster, bindings.iter().map(|stored| &stored.source))
                .await?;
            for stored in bindings
                .iter()
                .filter(|stored| stored.binding.lifecycle == Lifecycle::Active)
            {
                let namespace = &stored.binding.object.namespace;
                let verdict = match stored.binding.origin {
                    Origin::Object => compiler.compile(namespace, &stored.source),
                    Origin::Api => compiler.compile_declared(namespace, &stored.source),
                };
                self.store
                    .rejudge(stored.binding.id, stored.binding.version, &verdict)
                    .await?;
            }
        }
    }

    /// Judges bindings that refer to managed groups by name when AWS has named these, for ever. A lost wake costs one poll.
    pub(crate) async fn announce(&self) {
        let mut declared = self.wakes.declared();
        loop {
            declared.mark_unchanged();
            if let Err(error) = Box::pin(self.announce_groups()).await {
                tracing::warn!(error = %error, "bindings to new target groups were not judged and are looked at again");
            }
            timeout(self.settings.poll, declared.changed()).await.ok();
        }
    }

    async fn announce_groups(&self) -> Result<(), Error> {
        let groups = self.store.unannounced_groups().await?;
        if groups.is_empty() {
            return Ok(());
        }
        let admitted: BTreeSet<_> = groups
            .iter()
            .flat_map(DefinitionSpec::admitted_clusters)
            .collect();
        for name in admitted {
            if let Some(state) = self.store.cluster(name).await? {
                self.recompile(&state.cluster).await?;
            }
        }
        Ok(self.store.announced_groups(&groups).await?)
    }
}

/// As AWS allows them (CreateTargetGroup). No other text can be the name of a declared group.
fn is_aws_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
