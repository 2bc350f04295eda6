//! The vocabulary of Elbow and the invariants that its values carry. No I/O, no clock, no randomness.
//!
//! Every other crate speaks in these types. A constructed value is valid: text from the outside is parsed once,
//! at the edge, by `FromStr`/`TryFrom`, and the error names what was wrong and the way out.
//!
//! This crate must not know Kubernetes client types, protobuf, SQL or AWS SDK types. The ring (see `src/README.md`)
//! starts in `agent`, which turns watch events into the facts of [`fact`].

pub mod account;
pub mod arn;
pub mod binding;
pub mod cluster;
pub mod condition;
pub mod drain;
pub mod fact;
pub mod fleet;
pub mod group;
pub mod guard;
pub mod id;
pub mod ledger;
pub mod managed;
pub mod name;
pub mod network;
pub mod node;
pub mod observed;
pub mod ownership;
pub mod pause;
pub mod plan;
pub mod pod;
pub mod rule_plan;
pub mod sabotage;
pub mod scope;
pub mod shard;
pub mod stream;
pub mod target;
pub mod target_group;
pub mod team;

mod parse;

pub use arn::{RoleArn, TargetGroupArn};
pub use id::{BindingId, ClusterId, HoldId, PlanId};
pub use name::Name;
pub use network::SecurityGroupId;
pub use observed::Observed;
pub use parse::Invalid;
pub use shard::{AccountId, Partition, Region, Shard};
pub use target::{Target, TargetId, TargetKey};
