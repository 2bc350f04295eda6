//! The built agent, with the rights of the shipped manifests, against a real API server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod definition;
mod gates;
#[path = "../mirror/mod.rs"]
mod mirror;
mod rights;
mod service;
mod support;
mod told;
mod written;
