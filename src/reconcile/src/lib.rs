//! The shard loops: gather → plan → apply → report.
//!
//! A replica leases shards. For each one it runs a worker that takes target groups and security groups by key, one pass
//! in flight per key. A target group's pass says what its bindings need open; the security group's makes and ends rules;
//! a managed group's makes, changes and deletes the target group itself.
//! A pass reads what is stored (`store`), asks `planner` what follows, makes the intent durable, calls `aws`, records the
//! outcome, and reports. Nothing is decided here: a pass that finds no step does nothing.
//!
//! What always holds here:
//! - No write to AWS without a durable intent, nor beyond the lease's deadline on the monotonic clock.
//! - A pass carries no payload and does not retry: the next activation is the retry.
//! - What only time can change wakes by time; what a lost notification hides is found by the sweep.
//!
//! This crate must not know who is connected (`wire`, `api`) or how Kubernetes objects are written. In the ring it is
//! steps 4 to 8; its reports reach clusters and portals through `store`.

mod apply;
mod clock;
mod engine;
mod fleet;
mod gather;
mod heard;
mod managed;
mod memory;
mod metrics;
mod network;
mod pass;
mod queue;
mod rules;
mod settings;
mod shard;
mod turn;

pub use clock::DatabaseClock;
pub use engine::Engine;
pub use metrics::Metrics;
pub use settings::Settings;
