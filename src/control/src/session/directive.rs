//! What the service tells an agent.

use model::{
    condition::{BindingStatus, Reason, Truth},
    fact::{ObjectName, PodRef},
    node::NodeRef,
    pod::GateState,
};
use uuid::Uuid;

use super::Scope;

/// Something that the agent is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Stream the state of these services with their gated pods, and of no others; and of the nodes, or not.
    Subscribe { services: Vec<ObjectName>, nodes: bool },
    /// Read again from the API server, and confirm.
    Relist {
        id: u64,
        service: ObjectName,
        pods: Vec<PodRef>,
        nodes: Vec<NodeRef>,
    },
    /// Write into the object. The latest per object wins.
    WriteBack(WriteBack),
    /// Write a readiness gate of a pod. The latest per pod and gate wins.
    WriteGate(GateWriteBack),
}

/// The answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Everything up to this revision is stored for good, or was answered by a resync.
    Ack { revision: u64 },
    /// The statement could not be followed: send a reset of the scope.
    Resync { scope: Scope, reason: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBack {
    pub id: u64,
    pub object: ObjectName,
    pub uid: Uuid,
    pub status: BindingStatus,
    /// First, the marks of the AWS Load Balancer Controller are to be removed from the object.
    pub take_over: bool,
    /// To be recorded on the object: the reason changed.
    pub event: Option<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateWriteBack {
    pub id: u64,
    pub pod: PodRef,
    /// The binding's name, by which the pod names the gate.
    pub name: String,
    pub state: GateState,
}

/// A Kubernetes event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: Reason,
    pub message: String,
}

impl Event {
    /// The event of a status, unless `before` gave the same reason.
    pub(super) fn of(status: &BindingStatus, before: Option<Reason>) -> Option<Self> {
        let ready = &status.ready;
        if before == Some(ready.reason) {
            return None;
        }
        // Work under way is no news worth an event; its end is.
        let passing = matches!(
            ready.reason,
            Reason::Progressing | Reason::AwaitingAws | Reason::AwaitingCluster
        );
        // A choice of somebody's is no cause for alarm; a contest is, however well the targets look.
        let warning = match ready.reason {
            Reason::ObserveOnly | Reason::Paused | Reason::NotServed | Reason::ManagedByLBC => false,
            Reason::Contested => true,
            _ => ready.status != Truth::True,
        };
        (!passing).then(|| Self {
            warning,
            reason: ready.reason,
            message: ready.message.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::condition::Readiness;

    use super::*;

    fn status(status: Truth, reason: Reason) -> BindingStatus {
        let ready = Readiness {
            status,
            reason,
            message: "m".into(),
        };
        BindingStatus {
            observed_generation: 1,
            ready,
            desired: 1,
            registered: 1,
            held: 0,
            target_type: None,
        }
    }

    #[test]
    fn an_event_is_recorded_when_the_reason_changes_and_not_again() {
        let reconciled = status(Truth::True, Reason::Reconciled);
        let event = Event::of(&reconciled, None).unwrap();
        assert_eq!((event.warning, event.reason), (false, Reason::Reconciled));
        assert_eq!(Event::of(&reconciled, Some(Reason::Reconciled)), None);
        let held = status(Truth::False, Reason::Held);
        assert!(Event::of(&held, Some(Reason::Reconciled)).unwrap().warning);
        let contested = status(Truth::True, Reason::Contested);
        assert!(Event::of(&contested, Some(Reason::Reconciled)).unwrap().warning);
        let not_served = status(Truth::False, Reason::NotServed);
        assert!(!Event::of(&not_served, Some(Reason::Reconciled)).unwrap().warning);
    }

    #[test]
    fn work_under_way_is_no_event() {
        assert_eq!(
            Event::of(
                &status(Truth::False, Reason::Progressing),
                Some(Reason::Reconciled)
            ),
            None
        );
    }
}
