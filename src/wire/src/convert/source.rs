//! TargetGroupBindings: what asks for load balancing.

use std::collections::BTreeSet;

use model::{
    ownership::Marks,
    stream::{Change, Source, Tombstone, Update},
};
use serde_json::Value;

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, name, unreadable},
    object::{meta, to_meta},
};
use crate::agent::v1 as wire;

/// The longest `spec` that etcd could hold (its request limit is 1.5 MiB).
const SPEC_BYTES: usize = 1_572_864;

impl TryFrom<wire::TargetGroupBinding> for Source {
    type Error = ConvertError;

    fn try_from(binding: wire::TargetGroupBinding) -> Result<Self> {
        let wire::TargetGroupBinding {
            meta: object_meta,
            generation,
            spec_json,
            deleting,
            marks,
        } = binding;
        let (object, version) = meta(object_meta).at("meta")?;
        if generation < 1 {
            return Err(Fault::Range {
                given: generation.into(),
                expected: "1 or more",
            })
            .at("generation");
        }
        Ok(Self {
            object,
            version,
            generation,
            spec: spec(&spec_json).at("spec_json")?,
            deleting,
            marks: marks.map(Marks::try_from).transpose().at("marks")?,
        })
    }
}

impl From<Source> for wire::TargetGroupBinding {
    fn from(source: Source) -> Self {
        let Source {
            object,
            version,
            generation,
            spec,
            deleting,
            marks,
        } = source;
        Self {
            meta: Some(to_meta(object, version)),
            generation,
            spec_json: spec.to_string(),
            deleting,
            marks: marks.map(Into::into),
        }
    }
}

fn spec(json: &str) -> std::result::Result<Value, Fault> {
    if json.is_empty() {
        return Err(Fault::Missing);
    }
    if json.len() > SPEC_BYTES {
        return Err(Fault::Text(SPEC_BYTES));
    }
    match serde_json::from_str(json) {
        Ok(mut value @ Value::Object(_)) => {
            replace_nul(&mut value);
            Ok(value)
        }
        _ => Err(unreadable(json, "a JSON object")),
    }
}

/// Postgres cannot hold a NUL. Refusing the message would let one odd object stop a whole cluster; this makes the
/// object itself invalid instead.
fn replace_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(replace_nul),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains('\0')) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (key.replace('\0', "\u{fffd}"), value))
                    .collect();
            }
            fields.values_mut().for_each(replace_nul);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn update(change: wire::source_update::Change) -> Result<Update> {
    let change = match change {
        wire::source_update::Change::Of(of) => return sources_of(of).at("of"),
        wire::source_update::Change::Reset(wire::SourceReset {
            target_group_bindings,
            target_group_binding_count,
        }) => {
            let field = "target_group_bindings";
            Change::Reset(
                counted(
                    target_group_bindings,
                    target_group_binding_count,
                    field,
                    Source::try_from,
                )
                .at("reset")?,
            )
        }
        wire::source_update::Change::Patch(wire::SourcePatch { upserted, deleted }) => Change::Patch {
            upserted: each(upserted, "upserted", Source::try_from).at("patch")?,
            deleted: each(deleted, "deleted", Tombstone::try_from).at("patch")?,
        },
    };
    Ok(Update::Sources(change))
}

fn sources_of(of: wire::SourcesOf) -> Result<Update> {
    let wire::SourcesOf {
        namespaces,
        namespace_count,
        target_group_bindings,
        target_group_binding_count,
    } = of;
    let namespaces = counted(namespaces, namespace_count, "namespaces", |namespace| {
        Ok(name(namespace)?)
    })?;
    let field = "target_group_bindings";
    let sources = counted(
        target_group_bindings,
        target_group_binding_count,
        field,
        Source::try_from,
    )?;
    let namespaces: BTreeSet<_> = namespaces.into_iter().collect();
    let elsewhere = |source: &&Source| !namespaces.contains(&source.object.namespace);
    match sources.iter().find(elsewhere) {
        Some(source) => {
            let object = source.object.to_string();
            Err(unreadable(&object, "an object of one of the namespaces")).at(field)
        }
        None => Ok(Update::SourcesOf { namespaces, sources }),
    }
}

pub(super) fn to_change(change: Change<Source>) -> wire::source_update::Change {
    match change {
        Change::Reset(sources) => wire::source_update::Change::Reset(wire::SourceReset {
            target_group_binding_count: count(&sources),
            target_group_bindings: sources.into_iter().map(Into::into).collect(),
        }),
        Change::Patch { upserted, deleted } => wire::source_update::Change::Patch(wire::SourcePatch {
            upserted: upserted.into_iter().map(Into::into).collect(),
            deleted: deleted.into_iter().map(Into::into).collect(),
        }),
    }
}

pub(super) fn to_change_of(
    namespaces: BTreeSet<String>,
    sources: Vec<Source>,
) -> wire::source_update::Change {
    wire::source_update::Change::Of(wire::SourcesOf {
        namespace_count: u32::try_from(namespaces.len()).ok(),
        namespaces: namespaces.into_iter().collect(),
        target_group_binding_count: count(&sources),
        target_group_bindings: sources.into_iter().map(Into::into).collect(),
    })
}
