//! Users' texts against what is declared.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    binding::{BindingSpec, Lifecycle, Origin},
    cluster::Cluster,
    condition::Problem,
    target_group::TargetGroup,
};
use serde_json::Value;
use store::BindingFilter;

use crate::{Control, Error};

/// Bindings that are recompiled at once.
const BATCH: u32 = 200;

/// Compiles texts of one cluster. Whether a group is declared and admits the cluster is asked when it is planned, so that
/// only names depend on what is declared now.
pub(crate) struct Compiler {
    cluster: Cluster,
    /// AWS name → the groups of the cluster's shard that were declared and have it.
    named: BTreeMap<String, Vec<TargetGroup>>,
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
}

impl Control {
    /// A compiler that knows every name that these texts may use.
    pub(crate) async fn compiler<'a>(
        &self,
        cluster: &Cluster,
        texts: impl Iterator<Item = &'a Value>,
    ) -> Result<Compiler, Error> {
        let names: BTreeSet<_> = texts
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
        })
    }

    /// Judges the cluster's texts in error anew, since something that they refer to was declared or changed.
    pub(crate) async fn recompile(&self, cluster: &Cluster) -> Result<(), Error> {
        let filter = BindingFilter {
            cluster: Some(cluster.id),
            origin: Some(Origin::Object),
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
                let verdict = compiler.compile(&stored.binding.object.namespace, &stored.source);
                self.store
                    .rejudge(stored.binding.id, stored.binding.version, &verdict)
                    .await?;
            }
        }
    }
}

/// As AWS allows them (CreateTargetGroup). No other text can be the name of a declared group.
fn is_aws_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
