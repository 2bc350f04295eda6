//! EC2, one family of calls per file.

pub(crate) mod vpcs;
