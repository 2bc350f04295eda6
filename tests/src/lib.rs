//! Placeholder doc, replaced with the crate's first code.
