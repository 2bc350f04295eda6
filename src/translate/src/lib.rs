//! From Kubernetes objects to what they ask for, in model terms. Pure.
//!
//! It owns the reading of users' texts: which fields there are, what may stand in them, and how each mistake is told to
//! the person who made it (a [`model::condition::Problem`] with the field's path and the way out). What a text means for
//! AWS at present is `planner`'s question; this crate must not know AWS's answers, the store or who is connected.
//!
//! In the ring it runs inside ingest: `control` stores what it returns beside the text, and wakes the target group.

mod fields;
mod networking;
mod node_selector;
mod target_group_binding;

pub use target_group_binding::target_group_binding;
