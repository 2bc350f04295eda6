//! Nodes.

use std::collections::BTreeMap;

use model::{
    fact::ObjectVersion,
    node::{Node, NodeReady, NodeRef, Taint},
    stream::{Change, NodeReading},
};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, name, positive, required, text, uid},
    service::{LABEL_BYTES, LABEL_KEY_BYTES},
};
use crate::agent::v1 as wire;

/// Cloud providers set what they like; nobody sets more.
const PROVIDER_ID_BYTES: usize = 2048;

impl TryFrom<wire::NodeRef> for NodeRef {
    type Error = ConvertError;

    fn try_from(node: wire::NodeRef) -> Result<Self> {
        let wire::NodeRef { name: node, uid: id } = node;
        Ok(Self {
            name: name(node).at("name")?,
            uid: uid(&id).at("uid")?,
        })
    }
}

impl From<NodeRef> for wire::NodeRef {
    fn from(node: NodeRef) -> Self {
        let NodeRef { name, uid } = node;
        Self {
            name,
            uid: uid.to_string(),
        }
    }
}

impl TryFrom<wire::Node> for Node {
    type Error = ConvertError;

    fn try_from(node: wire::Node) -> Result<Self> {
        let ready = ready(node.ready).at("ready")?;
        let wire::Node {
            name: node,
            uid: id,
            resource_version,
            provider_id,
            labels,
            label_count,
            taints,
            taint_count,
            ready: _,
            unschedulable,
        } = node;
        let provider_id = text(provider_id, PROVIDER_ID_BYTES).at("provider_id")?;
        Ok(Self {
            name: name(node).at("name")?,
            version: ObjectVersion {
                uid: uid(&id).at("uid")?,
                resource_version: positive(resource_version).at("resource_version")?,
            },
            provider_id: (!provider_id.is_empty()).then_some(provider_id),
            labels: self::labels(labels, label_count)?,
            taints: counted(taints, taint_count, "taints", Taint::try_from)?,
            ready,
            unschedulable,
        })
    }
}

impl From<Node> for wire::Node {
    fn from(node: Node) -> Self {
        let Node {
            name,
            version: ObjectVersion {
                uid,
                resource_version,
            },
            provider_id,
            labels,
            taints,
            ready,
            unschedulable,
        } = node;
        Self {
            name,
            uid: uid.to_string(),
            resource_version,
            provider_id: provider_id.unwrap_or_default(),
            label_count: u32::try_from(labels.len()).ok(),
            labels,
            taint_count: count(&taints),
            taints: taints.into_iter().map(Into::into).collect(),
            ready: to_ready(ready),
            unschedulable,
        }
    }
}

/// A node that loses a label may lose its place among the targets.
fn labels(labels: BTreeMap<String, String>, said: Option<u32>) -> Result<BTreeMap<String, String>> {
    let entries = counted(labels.into_iter().collect(), said, "labels", |(key, value)| {
        Ok((text(key, LABEL_KEY_BYTES)?, text(value, LABEL_BYTES)?))
    })?;
    Ok(entries.into_iter().collect())
}

impl TryFrom<wire::Taint> for Taint {
    type Error = ConvertError;

    fn try_from(taint: wire::Taint) -> Result<Self> {
        let wire::Taint { key, effect } = taint;
        if key.is_empty() {
            return Err(Fault::Missing).at("key");
        }
        Ok(Self {
            key: text(key, LABEL_KEY_BYTES).at("key")?,
            effect: name(effect).at("effect")?,
        })
    }
}

impl From<Taint> for wire::Taint {
    fn from(taint: Taint) -> Self {
        let Taint { key, effect } = taint;
        Self { key, effect }
    }
}

fn ready(value: i32) -> std::result::Result<NodeReady, Fault> {
    match wire::NodeReady::try_from(value) {
        Ok(wire::NodeReady::True) => Ok(NodeReady::True),
        Ok(wire::NodeReady::False) => Ok(NodeReady::False),
        Ok(wire::NodeReady::Unknown) => Ok(NodeReady::Unknown),
        Ok(wire::NodeReady::Absent) => Ok(NodeReady::Absent),
        Ok(wire::NodeReady::Unspecified) => Err(Fault::Missing),
        Err(_) => Err(Fault::Range {
            given: value.into(),
            expected: "a NodeReady of this protocol",
        }),
    }
}

fn to_ready(ready: NodeReady) -> i32 {
    i32::from(match ready {
        NodeReady::True => wire::NodeReady::True,
        NodeReady::False => wire::NodeReady::False,
        NodeReady::Unknown => wire::NodeReady::Unknown,
        NodeReady::Absent => wire::NodeReady::Absent,
    })
}

impl TryFrom<wire::NodeReading> for NodeReading {
    type Error = ConvertError;

    fn try_from(reading: wire::NodeReading) -> Result<Self> {
        let wire::NodeReading { node, state } = reading;
        let node = required(node)
            .map_err(ConvertError::from)
            .and_then(NodeRef::try_from)
            .at("node")?;
        let found = match required(state).at("state")? {
            wire::node_reading::State::Present(present) => Some(Node::try_from(present).at("present")?),
            wire::node_reading::State::Absent(wire::Absent {}) => None,
        };
        match found {
            // Somebody else's node would pass for the end of this one.
            Some(found) if found.name != node.name => Err(super::field::unreadable(
                &found.name,
                "the node that was asked about",
            ))
            .at("present.name"),
            found => Ok(Self { node, found }),
        }
    }
}

impl From<NodeReading> for wire::NodeReading {
    fn from(reading: NodeReading) -> Self {
        let NodeReading { node, found } = reading;
        let state = match found {
            Some(found) => wire::node_reading::State::Present(found.into()),
            None => wire::node_reading::State::Absent(wire::Absent {}),
        };
        Self {
            node: Some(node.into()),
            state: Some(state),
        }
    }
}

pub(super) fn change(change: wire::node_update::Change) -> Result<Change<Node, NodeRef>> {
    match change {
        wire::node_update::Change::Reset(wire::NodeReset { nodes, node_count }) => {
            counted(nodes, node_count, "nodes", Node::try_from)
                .at("reset")
                .map(Change::Reset)
        }
        wire::node_update::Change::Patch(wire::NodePatch { upserted, deleted }) => Ok(Change::Patch {
            upserted: each(upserted, "upserted", Node::try_from).at("patch")?,
            deleted: each(deleted, "deleted", NodeRef::try_from).at("patch")?,
        }),
    }
}

pub(super) fn to_change(change: Change<Node, NodeRef>) -> wire::node_update::Change {
    match change {
        Change::Reset(nodes) => wire::node_update::Change::Reset(wire::NodeReset {
            node_count: count(&nodes),
            nodes: nodes.into_iter().map(Into::into).collect(),
        }),
        Change::Patch { upserted, deleted } => wire::node_update::Change::Patch(wire::NodePatch {
            upserted: upserted.into_iter().map(Into::into).collect(),
            deleted: deleted.into_iter().map(Into::into).collect(),
        }),
    }
}
