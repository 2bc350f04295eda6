//! The real loops with a real Postgres and AWS's wire protocol: whatever goes wrong with a call, and whenever the loops
//! are killed.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod crashes;
mod faults;
mod isolation;
mod managed;
mod pauses;
mod quotas;
mod replaced;
mod rules;
mod scarcity;
mod traced;
mod world;
mod zones;
