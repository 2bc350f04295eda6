//! The API in this process, over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod resources;
mod routes;
mod support;
