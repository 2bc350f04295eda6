//! The index as plain functions.

mod departures;
mod histories;
#[path = "../mirror/mod.rs"]
mod mirror;
mod namespaces;
mod nodes;
mod objects;
mod pods;
mod support;
