//! The client against an endpoint on loopback that answers what each test tells it to.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod network;
mod reads;
mod setup;
mod simulated;
mod support;
mod writes;
