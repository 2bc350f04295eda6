//! The store on a real Postgres. `ELBOW_TEST_DATABASE_URL` names one that may be filled: `cargo xtask test` sets it.

#![expect(clippy::unwrap_used, reason = "a test may panic where its fixture is wrong")]

mod declared;
mod facts;
mod gates;
mod groups;
mod leases;
mod ledger;
mod managed;
mod nodes;
mod older;
mod reports;
mod rules;
mod sources;
mod standing;
mod streams;
mod support;
mod unbinding;
