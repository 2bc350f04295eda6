//! Empty on purpose: the features in `Cargo.toml` are the content (see `.config/hakari.toml`).
