//! The `elbow-server` binary.
fn main() {}
