//! Launchers for everything that Elbow meets in the world: a Postgres, whole Kubernetes control planes, an AWS.
//!
//! The crate owns the lives of those processes: where their programs are found, how they are started on loopback,
//! when they are ready, how they are stopped, killed, frozen and brought back, and that nothing of them is left
//! behind. The demo binary and the `tests` crate use the same launchers, so what a newcomer sees is what is tested.
//!
//! It must not know what Elbow decides: it starts `elbow-server` and `elbow-agent` as programs with arguments and
//! reads what they did from AWS, Kubernetes and Postgres. It is no step of the ring; the ring turns inside of it.

pub mod certificates;
pub mod demo;
pub mod elbow;
pub mod fixture;
pub mod kubernetes;
pub mod moto;
pub mod onlooker;
pub mod postgres;
pub mod process;

mod error;
mod guardian;
mod iam;
mod port;
mod scratch;
mod wait;

pub use error::{Error, Result};
pub use port::free_port;
pub use scratch::Scratch;
pub use wait::{Progress, Wait, wait_until};
