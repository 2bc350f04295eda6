//! AWS in model terms: what a target group is and holds, how targets get in and out of it, and who may reach them by the
//! rules of which security group.
//!
//! This crate owns the SDK clients, the budget of calls per shard ([`budget`]), the meaning of AWS's errors
//! ([`ErrorClass`]) and the question whether a call that failed may have been applied ([`Certainty`]). No SDK type
//! leaves it.
//!
//! It must not know why a call is made: it keeps no ledger, makes no plan and does not repeat a write. In the ring
//! (see `src/README.md`) it is called by `reconcile`, which reads before it plans, makes its intent durable, writes
//! here, and then records each [`Outcome`].

#![warn(missing_docs)]

pub mod budget;
mod call;
mod class;
mod connection;
mod ec2;
mod elbv2;
mod error;
mod metrics;
mod outcome;
mod role;
mod settings;
mod shard_client;

pub use class::ErrorClass;
pub use connection::{Aws, Clock};
pub use elbv2::managed::Lookup;
pub use error::Error;
pub use metrics::{Action, Metrics};
pub use outcome::{Certainty, Deadline, Failure, Outcome, Receipt, RuleOutcome};
pub use settings::{Credentials, Settings};
pub use shard_client::ShardClient;
