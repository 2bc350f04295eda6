//! The `elbow-sandbox` binary.

fn main() {}
