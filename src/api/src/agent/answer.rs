//! What control says, in the words of the wire.

use control::session::{Directive, Event, GateWriteBack, Reply, Scope, WriteBack};
use wire::{
    agent::v1::{self as v1, ServerMessage, resync, server_message::Message},
    convert::to_gate,
};

pub(super) fn message(message: Message) -> ServerMessage {
    ServerMessage {
        message: Some(message),
    }
}

pub(super) fn reply(reply: Reply) -> ServerMessage {
    message(match reply {
        Reply::Ack { revision } => Message::Ack(v1::Ack { revision }),
        Reply::Resync { scope, reason } => {
            let scope = match scope {
                Scope::Sources => resync::Scope::Sources(v1::AllSources {}),
                // The agent tells the pods of a Service with it.
                Scope::Service(service) | Scope::Pods(service) => resync::Scope::Service(service.into()),
                Scope::Nodes => resync::Scope::Nodes(v1::AllNodes {}),
            };
            Message::Resync(v1::Resync {
                reason: reason.to_owned(),
                scope: Some(scope),
            })
        }
    })
}

pub(super) fn directive(directive: Directive) -> ServerMessage {
    message(match directive {
        Directive::Subscribe { services, nodes } => Message::Subscribe(v1::Subscribe {
            services: services.into_iter().map(Into::into).collect(),
            nodes,
            pods: true,
        }),
        Directive::Relist {
            id,
            service,
            pods,
            nodes,
        } => Message::Relist(v1::Relist {
            relist_id: id,
            namespace: service.namespace,
            service: service.name,
            pods: pods.into_iter().map(Into::into).collect(),
            nodes: nodes.into_iter().map(Into::into).collect(),
        }),
        Directive::WriteBack(WriteBack {
            id,
            object,
            uid,
            status,
            take_over,
            event,
        }) => Message::WriteBack(v1::WriteBack {
            write_back_id: id,
            namespace: object.namespace,
            name: object.name,
            uid: uid.to_string(),
            take_over,
            target_type: status
                .target_type
                .map_or_else(String::new, |target_type| target_type.to_string()),
            target_group_binding: Some(status.into()),
            event: event.map(
                |Event {
                     warning,
                     reason,
                     message,
                 }| v1::Event {
                    r#type: if warning { "Warning" } else { "Normal" }.to_owned(),
                    reason: reason.to_string(),
                    message,
                },
            ),
        }),
        Directive::WriteGate(GateWriteBack { id, pod, name, state }) => Message::Gate(v1::GateWriteBack {
            write_back_id: id,
            pod: Some(pod.into()),
            gate: Some(to_gate(name, Some(state))),
        }),
    })
}

pub(super) fn go_away(reason: impl Into<String>, superseded: bool) -> ServerMessage {
    let retry_after_seconds = u32::from(!superseded);
    message(Message::GoAway(v1::GoAway {
        reason: reason.into(),
        superseded,
        retry_after_seconds,
    }))
}
