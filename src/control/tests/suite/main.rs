//! Control over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod adoption;
mod declared;
mod session;
mod support;
