//! Elbow as its users meet it: built programs, real control planes and a real Postgres, and the AWS wire protocol.
//!
//! One program, so that what waits in one test is another's time to work.
#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod accounts;
mod charts;
mod cli;
mod clusters;
mod demo;
mod gates;
mod layering;
mod managed;
mod monitoring;
mod moto;
mod nothing_is_lost;
mod ownership;
mod recorded;
mod seen;
mod skew;
mod thread;
