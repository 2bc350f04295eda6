//! The service's outside: REST and gRPC for people and portals, gRPC for agents.
//!
//! This crate owns the transports and nothing else: who a token belongs to, what its owner may do and what a request
//! means is decided in `control`. It turns requests into calls of control, and control's answers and errors into JSON,
//! problems, messages and statuses ([`problem`] has the one table). It must not know SQL, AWS or the reconcile loop: a
//! request never calls AWS. In the ring (see `src/README.md`) an agent's statements come in here and go on to `control`;
//! what the loop has to say goes out here.

pub mod agent;
pub mod grpc;
pub mod problem;
pub mod rest;
pub mod runbook;
mod status;
mod subject;
mod tls;
pub mod use_case;

pub use tls::Pem;
