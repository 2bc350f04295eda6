//! The API in this process, over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod agents;
mod conventions;
mod grpc;
mod hostile;
mod managed;
mod matrix;
mod operate;
mod raw;
mod resources;
mod routes;
mod runbooks;
mod security_groups;
mod support;
mod teams;
mod use_cases;
