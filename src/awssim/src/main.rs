//! The `awssim` binary.
fn main() {}
