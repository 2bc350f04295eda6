//! ELBv2, one family of calls per file.

pub(crate) mod attributes;
pub(crate) mod health;
pub(crate) mod managed;
pub(crate) mod target_groups;
pub(crate) mod targets;
