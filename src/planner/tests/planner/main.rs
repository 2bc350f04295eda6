//! The planner folded through time: single rules, stories, and random histories on a modelled cluster and AWS.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gates;
mod histories;
mod managed;
mod network;
mod rule_world;
mod rules;
mod scenarios;
mod silence;
mod switch;
mod world;
