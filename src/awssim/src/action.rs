//! What a simulated action is: a name, a bucket, and a function over the state.

use crate::{
    error::AwsError,
    query::Node,
    service::Service,
    throttle::Category,
    world::{Change, View},
    xml::Xml,
};

/// The members of the result, or the error.
pub(crate) type Reply = Result<Xml, AwsError>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    Read(fn(&View<'_>, &Node<'_>) -> Reply),
    Write(fn(&mut Change<'_>, &Node<'_>) -> Reply),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) category: Category,
    pub(crate) run: Run,
}

impl Action {
    pub(crate) const fn new(name: &'static str, category: Category, run: Run) -> Self {
        Self { name, category, run }
    }

    pub(crate) fn find(service: Service, name: &str) -> Option<Self> {
        let actions = match service {
            Service::Elbv2 => crate::elbv2::ACTIONS,
            Service::Ec2 => crate::ec2::ACTIONS,
            Service::Sts => &[],
        };
        actions.iter().find(|action| action.name == name).copied()
    }
}

/// The names of all simulated actions of a service, in no particular order.
pub fn actions(service: Service) -> impl Iterator<Item = &'static str> {
    let (table, more): (&[Action], &[&'static str]) = match service {
        Service::Elbv2 => (crate::elbv2::ACTIONS, &[]),
        Service::Ec2 => (crate::ec2::ACTIONS, &[]),
        Service::Sts => (&[], crate::sts::ACTIONS),
    };
    table.iter().map(|action| action.name).chain(more.iter().copied())
}
