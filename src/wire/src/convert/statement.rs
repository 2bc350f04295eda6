//! Everything an agent says after its Hello.

use std::{collections::BTreeSet, fmt::Display};

use model::{
    fact::{ObjectName, Service},
    node::NodeRef,
    ownership::Surroundings,
    pod::Pod,
    stream::{Change, Confirm, NodeReading, PodReading, Statement, Update, Vanished},
};

use super::{
    ConvertError, Fault,
    field::{At, Result, count, counted, each, name, positive, required, text, unreadable},
    node,
    object::object_name,
    pod, slices, source,
};
use crate::agent::v1::{self as wire, agent_message::Message};

/// A statement with the epoch of its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    pub epoch: u64,
    pub statement: Statement,
}

impl TryFrom<wire::AgentMessage> for Stamped {
    type Error = ConvertError;

    fn try_from(message: wire::AgentMessage) -> Result<Self> {
        // `origin` measures; whoever measures asks for it.
        let wire::AgentMessage { message, origin: _ } = message;
        match required(message).at("message")? {
            Message::Hello(_) => Err(unreadable(
                "hello",
                "a statement: Hello is the first message of a stream and only that",
            ))
            .at("message"),
            Message::Sources(update) => sources(update).at("sources"),
            Message::Service(update) => service(update).at("service"),
            Message::Slices(update) => slice_update(update).at("slices"),
            Message::Departures(update) => departures(update).at("departures"),
            Message::Confirm(update) => confirm(update).at("confirm"),
            Message::WriteBackResult(result) => write_back_result(result).at("write_back_result"),
            Message::Heartbeat(heartbeat) => self::heartbeat(heartbeat).at("heartbeat"),
            Message::Unsynced(unsynced) => self::unsynced(unsynced).at("unsynced"),
            Message::Nodes(update) => nodes(update).at("nodes"),
            Message::NodesGone(update) => nodes_gone(update).at("nodes_gone"),
            Message::Pods(update) => pods(update).at("pods"),
            Message::Part(_) => Err(unreadable(
                "part",
                "a statement: a part is none before it was joined with the others",
            ))
            .at("message"),
        }
    }
}

fn stamped(epoch: u64, revision: u64, update: Update) -> Result<Stamped> {
    stated_once(&update)?;
    Ok(Stamped {
        epoch: positive(epoch).at("epoch")?,
        statement: Statement::Update {
            revision: positive(revision).at("revision")?,
            update,
        },
    })
}

/// An object that is stated twice is two different things at once, and nobody knows which of them is true.
fn stated_once(update: &Update) -> Result<()> {
    match update {
        Update::Sources(change) => once(change.stated(), |source| &source.object).at("change"),
        Update::SourcesOf { sources, .. } => once(sources, |source| &source.object).at("change"),
        Update::Slices { change, .. } => once(change.stated(), |slice| &slice.object).at("change"),
        Update::Pods { change, .. } => once(change.stated(), |pod| &pod.object).at("change"),
        Update::Nodes(change) => once(change.stated(), |node| &node.name).at("change"),
        Update::Confirm(confirm) => once(&confirm.slices, |slice| &slice.object).at("slices"),
        Update::Service { .. } | Update::Departures { .. } | Update::NodesGone(_) => Ok(()),
    }
}

fn once<T, K: Ord + Display>(stated: &[T], name: impl Fn(&T) -> &K) -> std::result::Result<(), Fault> {
    let mut names = BTreeSet::new();
    match stated.iter().map(name).find(|name| !names.insert(*name)) {
        Some(twice) => Err(unreadable(&twice.to_string(), "stated once")),
        None => Ok(()),
    }
}

fn sources(update: wire::SourceUpdate) -> Result<Stamped> {
    let wire::SourceUpdate {
        epoch,
        revision,
        change,
    } = update;
    stamped(epoch, revision, source::update(required(change).at("change")?)?)
}

fn service(update: wire::ServiceUpdate) -> Result<Stamped> {
    let wire::ServiceUpdate {
        epoch,
        revision,
        namespace,
        name,
        state,
    } = update;
    let object = object_name(namespace, name, "name")?;
    let state = match required(state).at("state")? {
        wire::service_update::State::Present(present) => Some(service_of(present, &object).at("present")?),
        wire::service_update::State::Absent(wire::Absent {}) => None,
    };
    stamped(epoch, revision, Update::Service { object, state })
}

/// A Service whose name is not the scope's would be stored in the wrong place.
fn service_of(service: wire::Service, scope: &ObjectName) -> Result<Service> {
    let service = Service::try_from(service)?;
    if service.object == *scope {
        Ok(service)
    } else {
        Err(unreadable(
            &service.object.to_string(),
            "the Service of this update",
        ))
        .at("meta")
    }
}

fn slice_update(update: wire::EndpointSliceUpdate) -> Result<Stamped> {
    let wire::EndpointSliceUpdate {
        epoch,
        revision,
        namespace,
        service,
        change,
    } = update;
    let service = object_name(namespace, service, "service")?;
    let change = slices::change(required(change).at("change")?, &service.name)?;
    all_in_namespace(&change, |slice| &slice.object, &service)?;
    stamped(epoch, revision, Update::Slices { service, change })
}

fn all_in_namespace<T>(
    change: &Change<T>,
    object: impl Fn(&T) -> &ObjectName,
    service: &ObjectName,
) -> Result<()> {
    let deleted = match change {
        Change::Reset(_) => &[],
        Change::Patch { deleted, .. } => deleted.as_slice(),
    };
    let stated = change.stated().iter().map(object);
    let mut objects = stated.chain(deleted.iter().map(|tombstone| &tombstone.object));
    objects.try_for_each(|object| in_namespace(object, service))
}

fn in_namespace(object: &ObjectName, service: &ObjectName) -> Result<()> {
    if object.namespace == service.namespace {
        Ok(())
    } else {
        Err(unreadable(
            &object.to_string(),
            "an object in the namespace of its Service",
        ))
        .at("change")
    }
}

fn departures(update: wire::DepartureUpdate) -> Result<Stamped> {
    let wire::DepartureUpdate {
        epoch,
        revision,
        namespace,
        service,
        departures,
    } = update;
    let service = object_name(namespace, service, "service")?;
    let vanished = each(departures, "departures", Vanished::try_from)?;
    stamped(epoch, revision, Update::Departures { service, vanished })
}

fn nodes(update: wire::NodeUpdate) -> Result<Stamped> {
    let wire::NodeUpdate {
        epoch,
        revision,
        change,
    } = update;
    let change = node::change(required(change).at("change")?)?;
    stamped(epoch, revision, Update::Nodes(change))
}

fn nodes_gone(update: wire::NodesGone) -> Result<Stamped> {
    let wire::NodesGone {
        epoch,
        revision,
        nodes,
    } = update;
    let gone = each(nodes, "nodes", NodeRef::try_from)?;
    stamped(epoch, revision, Update::NodesGone(gone))
}

fn pods(update: wire::PodUpdate) -> Result<Stamped> {
    let wire::PodUpdate {
        epoch,
        revision,
        namespace,
        service,
        change,
        shortest_grace_seconds: shortest_grace,
    } = update;
    let service = object_name(namespace, service, "service")?;
    let change = pod::change(required(change).at("change")?)?;
    all_in_namespace(&change, |pod| &pod.object, &service)?;
    let update = Update::Pods {
        service,
        change,
        shortest_grace,
    };
    stamped(epoch, revision, update)
}

fn confirm(update: wire::Confirm) -> Result<Stamped> {
    let wire::Confirm {
        epoch,
        revision,
        relist_id,
        namespace,
        service,
        state,
        slices,
        slice_count,
        pods,
        nodes,
    } = update;
    let object = object_name(namespace, service, "service")?;
    let service = match required(state).at("state")? {
        wire::confirm::State::Present(present) => Some(service_of(present, &object).at("present")?),
        wire::confirm::State::Absent(wire::Absent {}) => None,
    };
    let slices = counted(slices, slice_count, "slices", |item| {
        slices::slice(item, &object.name)
    })?;
    for slice in &slices {
        in_namespace(&slice.object, &object)?;
    }
    let confirm = Confirm {
        relist_id: positive(relist_id).at("relist_id")?,
        object,
        service,
        slices,
        pods: each(pods, "pods", PodReading::try_from)?,
        nodes: each(nodes, "nodes", NodeReading::try_from)?,
    };
    stamped(epoch, revision, Update::Confirm(confirm))
}

fn write_back_result(result: wire::WriteBackResult) -> Result<Stamped> {
    let wire::WriteBackResult {
        epoch,
        write_back_id,
        error,
    } = result;
    let error = text(error, 4096).at("error")?;
    Ok(Stamped {
        epoch: positive(epoch).at("epoch")?,
        statement: Statement::WriteBackResult {
            id: positive(write_back_id).at("write_back_id")?,
            error: (!error.is_empty()).then_some(error),
        },
    })
}

fn heartbeat(heartbeat: wire::Heartbeat) -> Result<Stamped> {
    let wire::Heartbeat { epoch, surroundings } = heartbeat;
    Ok(Stamped {
        epoch: positive(epoch).at("epoch")?,
        statement: Statement::Heartbeat {
            surroundings: surroundings
                .map(Surroundings::try_from)
                .transpose()
                .at("surroundings")?,
        },
    })
}

fn unsynced(unsynced: wire::Unsynced) -> Result<Stamped> {
    let wire::Unsynced {
        epoch,
        kind,
        reason,
        namespace,
    } = unsynced;
    if !matches!(
        kind.as_str(),
        "TargetGroupBinding" | "Service" | "EndpointSlice" | "Node" | "Pod"
    ) {
        let fault = if kind.is_empty() {
            Fault::Missing
        } else {
            unreadable(&kind, "a kind of this protocol")
        };
        return Err(fault).at("kind");
    }
    Ok(Stamped {
        epoch: positive(epoch).at("epoch")?,
        statement: Statement::Unsynced {
            kind: name(kind).at("kind")?,
            namespace: match namespace.as_str() {
                "" => None,
                _ => Some(name(namespace).at("namespace")?),
            },
            reason: text(reason, 4096).at("reason")?,
        },
    })
}

/// The message that says `statement` on the stream of `epoch`.
pub fn agent_message(epoch: u64, statement: Statement) -> wire::AgentMessage {
    let message = match statement {
        Statement::Update { revision, update } => to_update(epoch, revision, update),
        Statement::WriteBackResult { id, error } => Message::WriteBackResult(wire::WriteBackResult {
            epoch,
            write_back_id: id,
            error: error.unwrap_or_default(),
        }),
        Statement::Heartbeat { surroundings } => Message::Heartbeat(wire::Heartbeat {
            epoch,
            surroundings: surroundings.map(Into::into),
        }),
        Statement::Unsynced {
            kind,
            namespace,
            reason,
        } => Message::Unsynced(wire::Unsynced {
            epoch,
            kind,
            reason,
            namespace: namespace.unwrap_or_default(),
        }),
    };
    wire::AgentMessage {
        origin: None,
        message: Some(message),
    }
}

fn to_sources(epoch: u64, revision: u64, change: wire::source_update::Change) -> Message {
    Message::Sources(wire::SourceUpdate {
        epoch,
        revision,
        change: Some(change),
    })
}

fn to_update(epoch: u64, revision: u64, update: Update) -> Message {
    match update {
        Update::Sources(change) => to_sources(epoch, revision, source::to_change(change)),
        Update::SourcesOf { namespaces, sources } => {
            to_sources(epoch, revision, source::to_change_of(namespaces, sources))
        }
        Update::Service {
            object: ObjectName { namespace, name },
            state,
        } => {
            let state = match state {
                Some(present) => wire::service_update::State::Present(present.into()),
                None => wire::service_update::State::Absent(wire::Absent {}),
            };
            Message::Service(wire::ServiceUpdate {
                epoch,
                revision,
                namespace,
                name,
                state: Some(state),
            })
        }
        Update::Slices {
            service: ObjectName { namespace, name },
            change,
        } => {
            let change = Some(slices::to_change(change));
            Message::Slices(wire::EndpointSliceUpdate {
                epoch,
                revision,
                namespace,
                service: name,
                change,
            })
        }
        Update::Departures {
            service: ObjectName { namespace, name },
            vanished,
        } => {
            let departures = vanished.into_iter().map(Into::into).collect();
            Message::Departures(wire::DepartureUpdate {
                epoch,
                revision,
                namespace,
                service: name,
                departures,
            })
        }
        Update::Confirm(confirm) => Message::Confirm(to_confirm(epoch, revision, confirm)),
        Update::Nodes(change) => Message::Nodes(wire::NodeUpdate {
            epoch,
            revision,
            change: Some(node::to_change(change)),
        }),
        Update::Pods {
            service,
            change,
            shortest_grace,
        } => Message::Pods(to_pods(epoch, revision, service, change, shortest_grace)),
        Update::NodesGone(nodes) => Message::NodesGone(wire::NodesGone {
            epoch,
            revision,
            nodes: nodes.into_iter().map(Into::into).collect(),
        }),
    }
}

fn to_pods(
    epoch: u64,
    revision: u64,
    service: ObjectName,
    change: Change<Pod>,
    shortest_grace_seconds: Option<u32>,
) -> wire::PodUpdate {
    let ObjectName {
        namespace,
        name: service,
    } = service;
    wire::PodUpdate {
        epoch,
        revision,
        namespace,
        service,
        change: Some(pod::to_change(change)),
        shortest_grace_seconds,
    }
}

fn to_confirm(epoch: u64, revision: u64, confirm: Confirm) -> wire::Confirm {
    let Confirm {
        relist_id,
        object: ObjectName { namespace, name },
        service,
        slices,
        pods,
        nodes,
    } = confirm;
    let state = match service {
        Some(present) => wire::confirm::State::Present(present.into()),
        None => wire::confirm::State::Absent(wire::Absent {}),
    };
    wire::Confirm {
        epoch,
        revision,
        relist_id,
        namespace,
        service: name,
        state: Some(state),
        slice_count: count(&slices),
        slices: slices.into_iter().map(Into::into).collect(),
        pods: pods.into_iter().map(Into::into).collect(),
        nodes: nodes.into_iter().map(Into::into).collect(),
    }
}
