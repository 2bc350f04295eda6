//! All SQL of Elbow: what is declared, what clusters state, what is leased, intended, observed and reported.
//!
//! One file per aggregate, each an `impl Store` block with private row structs; a row that does not read back as a
//! value of [`model`] is [`Error::Inconsistent`] and never a default. Static statements are checked at compile time
//! against the committed `.sqlx` (`cargo xtask gen`). Every write goes through one door ([`Store`]'s transactions),
//! is short, and holds nothing open across an await on the outside.
//!
//! What always holds here:
//! - Facts are fenced by the cluster's epoch, ledger writes by the shard's lease; both are checked in the transaction
//!   that writes.
//! - Only an explicit statement takes something away. What was never stated reads as unknown, never as empty.
//! - A write that changes nothing writes nothing and wakes nobody.
//! - Time is Postgres's clock alone.
//!
//! This crate must not know AWS clients, protobuf, HTTP, or how plans are made. In the ring it is step 3 (ingest) with
//! step 4 (wake) in the same transaction; `reconcile` goes on with [`Store::group`].

mod account;
mod audit;
mod binding;
mod cluster;
mod counts;
mod database;
mod declared;
mod drain;
mod error;
mod event;
mod explain;
mod fleet;
mod gate;
mod group;
mod hold;
mod identity;
mod ingest;
mod lease;
mod ledger;
mod managed;
mod metrics;
mod node;
mod observation;
mod opening;
mod outgoing;
mod pause;
mod plan;
mod retention;
mod row;
mod security_group;
mod service;
mod standing;
mod status;
mod stream;
mod target_group;
mod team;
mod token;
mod version;
mod wake;

pub use audit::AuditEntry;
pub use binding::{BindingFilter, StoredBinding};
pub use cluster::ClusterState;
pub use counts::{Counts, OpenHolds};
pub use database::{Options, Store};
pub use error::{Error, Result};
pub use event::{Event, EventId};
pub use explain::Candidate;
pub use gate::GateWriteBack;
pub use hold::{HoldFilter, StoredHold};
pub use identity::Identity;
pub use ingest::{Ingested, JudgedSource};
pub use lease::{Fence, Lease, ShardState};
pub use ledger::{Call, Outcome, SettledRule, SettledStep};
pub use managed::{DeclaredGroup, ManagedState};
pub use metrics::{Metrics, Op};
pub use observation::Observation;
pub use outgoing::{OutgoingMark, Relist, Subscription, Subscriptions, WriteBack};
pub use pause::StoredPause;
pub use plan::JournaledPlan;
pub use retention::Retention;
pub use security_group::{AskedOpening, SecurityGroupState};
pub use stream::{Opened, Stream};
pub use token::{AddedToken, NewToken, Principal, Role, StoredToken};
pub use version::Put;
pub use wake::{Hub, Listener, News, Wake, Wakes, coming_from};
