//! The process kit of the binaries: lifecycle, supervised tasks, time, backoff, telemetry and the admin port.
//!
//! It owns what every process needs and nothing of what ours are for: it must not know any other crate of the house.
//! It is the only place that reads the wall clock, spawns a task or listens for signals; `clippy.toml` bans the
//! originals elsewhere. It is no step of the ring, but every step runs on it.

pub mod admin;
pub mod backoff;
mod clock;
mod lifecycle;
mod probe;
mod tasks;
pub mod telemetry;

pub use clock::{Clock, MockClock};
pub use lifecycle::Lifecycle;
pub use probe::Probe;
pub use tasks::{Kind, Tasks};
