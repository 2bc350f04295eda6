//! TargetGroupBinding, with what tells who acts on it.

use std::collections::BTreeMap;

use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use model::{fact::ObjectName, ownership::Marks, stream::Source};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

use super::{
    Unreadable, Watched, kind,
    meta::{object_name, version},
};
use crate::index::Kind;

/// As [`slim`](super::meta::slim), with what tells who acts on the object.
fn marked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[expect(
        clippy::zero_sized_map_values,
        reason = "a map is what is read; its values are skipped"
    )]
    struct Marked {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        deletion_timestamp: Option<Time>,
        labels: BTreeMap<String, String>,
        finalizers: Vec<String>,
        // One of them often holds the whole object once more.
        annotations: BTreeMap<String, IgnoredAny>,
    }
    let Marked {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        mut labels,
        finalizers,
        annotations,
    } = Marked::deserialize(deserializer)?;
    labels.retain(|name, _| Marks::is_label(name));
    let annotations = annotations
        .into_keys()
        .filter(|name| Marks::is_annotation(name))
        .map(|name| (name, String::new()));
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        deletion_timestamp,
        labels: Some(labels),
        finalizers: Some(finalizers),
        annotations: Some(annotations.collect()),
        ..ObjectMeta::default()
    })
}

#[derive(Clone, Debug, Deserialize)]
pub struct TargetGroupBinding {
    #[serde(deserialize_with = "marked")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

kind!(
    TargetGroupBinding,
    "elbv2.k8s.aws",
    "v1beta1",
    "targetgroupbindings",
    NamespaceResourceScope
);

impl Watched for TargetGroupBinding {
    type Fact = Source;
    const KIND: Kind = Kind::TargetGroupBinding;

    fn key(meta: &ObjectMeta) -> ObjectName {
        object_name(meta)
    }

    fn fact(self) -> Result<Source, Unreadable> {
        let Self { metadata, spec } = self;
        let (object, version) = (object_name(&metadata), version(&metadata)?);
        let spec = match spec {
            Value::Null => Value::Object(serde_json::Map::new()),
            spec @ Value::Object(_) => spec,
            other => {
                return Err(Unreadable {
                    field: "spec",
                    given: other.to_string(),
                });
            }
        };
        // A kind without a schema has no generation; its spec is compared all the same.
        let generation = metadata.generation.unwrap_or(1);
        let marks = Marks {
            labels: metadata.labels.unwrap_or_default(),
            finalizers: metadata.finalizers.into_iter().flatten().collect(),
            annotations: metadata
                .annotations
                .into_iter()
                .flatten()
                .map(|(name, _)| name)
                .collect(),
        };
        Ok(Source {
            object,
            version,
            generation,
            spec,
            deleting: metadata.deletion_timestamp.is_some(),
            marks: Some(marks),
        })
    }
}
