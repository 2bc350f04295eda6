//! The `elbow-agent` binary.
fn main() {}
