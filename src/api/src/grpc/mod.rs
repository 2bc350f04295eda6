//! gRPC for people and portals: `elbow.v1`, on the listener of the agents.
//!
//! It is a second form of REST and not a second API: each call becomes a request to the router of [`crate::rest`] in this
//! process, so that there is one validation, one form of each resource and one way to be refused. What it owns is the
//! way from a message to a request and from JSON back to a message. A test holds messages and schemas to the same
//! fields.

mod account;
mod binding;
mod call;
mod cluster;
mod insight;
mod operation;
mod target_group;
mod team;

use axum::Router;
use control::Control;
use tonic::service::RoutesBuilder;
use wire::v1::{
    account_service_server::AccountServiceServer, binding_service_server::BindingServiceServer,
    cluster_service_server::ClusterServiceServer, insight_service_server::InsightServiceServer,
    operation_service_server::OperationServiceServer, target_group_service_server::TargetGroupServiceServer,
    team_service_server::TeamServiceServer,
};

/// The services of people and portals.
#[derive(Clone, Debug)]
pub struct Public {
    rest: Router,
    /// For what REST answers as a stream.
    control: Control,
}

impl Public {
    pub fn new(control: Control) -> Self {
        Self {
            rest: crate::rest::router(control.clone()),
            control,
        }
    }

    pub(crate) fn add_to(self, routes: &mut RoutesBuilder) {
        routes
            .add_service(ClusterServiceServer::new(self.clone()))
            .add_service(TargetGroupServiceServer::new(self.clone()))
            .add_service(AccountServiceServer::new(self.clone()))
            .add_service(TeamServiceServer::new(self.clone()))
            .add_service(BindingServiceServer::new(self.clone()))
            .add_service(InsightServiceServer::new(self.clone()))
            .add_service(OperationServiceServer::new(self));
    }
}
