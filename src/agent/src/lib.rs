//! The agent of one cluster: it states what the cluster's API server says, and writes back what the service answers.
//!
//! In the ring it is the first two steps and the last: [`watch`] turns watch events into the synchronous [`index`], whose
//! statements [`stream`] publishes; the server's `api` → `control` comes next. [`write_back`] closes the ring. [`engine`]
//! is the one task that owns the index; everything that waits (reads, writes, the stream) is outside of it.
//!
//! It must not know AWS, SQL, or what a statement leads to. It holds no credentials but its cluster's token, installs no
//! finalizer and no webhook, and may be gone for as long as it likes.
//!
//! **What is watched.** Four cluster-wide watches, decoded into slim types; the index holds every Service, slice and node
//! compactly and publishes the subscribed ones. The alternative, two watches per subscribed Service, needs a stream each
//! at the API server, restarts them all every minute, and makes a subscription wait for a list; the whole of a cluster of
//! 2,000 Services and 20,000 endpoints is about 10 MiB here, and a subscription is answered from memory. Pods are many more
//! and change more often: those of a subscribed Service alone are watched, by its selector, and of these the ones with a
//! readiness gate of ours are told.

pub mod config;
pub mod engine;
pub mod index;
pub mod kinds;
pub mod lease;
pub mod metrics;
pub mod pods;
pub mod proof;
pub mod relist;
pub mod start;
pub mod stream;
pub mod surroundings;
pub mod watch;
pub mod write_back;

pub use config::Config;
