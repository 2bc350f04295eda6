//! Switches that take one protection away, so that a test can show that it would notice.
//!
//! `ELBOW_SABOTAGE=S3` switches the protection of promise S3 off in builds with debug assertions; a release build
//! contains no switch. `cargo xtask sabotage` runs each promise's test with its switch on and demands failure.

/// Whether the protection of `promise` (e.g. `"S3"`) is switched off in this process.
#[cfg(debug_assertions)]
pub fn is_on(promise: &str) -> bool {
    use std::sync::OnceLock;
    static ON: OnceLock<Option<String>> = OnceLock::new();
    ON.get_or_init(|| std::env::var("ELBOW_SABOTAGE").ok()).as_deref() == Some(promise)
}

/// Whether the protection of `promise` is switched off: never, in a release build.
#[cfg(not(debug_assertions))]
pub const fn is_on(_promise: &str) -> bool {
    false
}
