//! gRPC on the wire: generated code, and the agent protocol's conversion to and from [`model`].
//!
//! `proto/` is the source; `cargo run -p wire --example gen` writes [`agent::v1`] from it (`--check` only compares).
//!
//! [`convert`] is where silence could become absence, so it is strict: what a field leaves unsaid is an error that names
//! the field, never an empty value. The crate must not know Kubernetes, SQL or AWS, nor what becomes of a statement: in
//! the ring the agent's `index` comes before it and the server's `api` → `control` after it.

/// Messages and service of `proto/elbow/agent/v1/agent.proto`.
pub mod agent {
    #[expect(
        missing_docs,
        unused_qualifications,
        clippy::pedantic,
        clippy::allow_attributes,
        reason = "generated code"
    )]
    pub mod v1 {
        include!("gen/elbow.agent.v1.rs");
    }
}

/// Messages and services of `proto/elbow/v1/elbow.proto`. Its resources are read from and written to the JSON of REST.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated code"
)]
pub mod v1 {
    include!("gen/elbow.v1.rs");
}

/// What `proto/` says, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod convert;
mod json_text;
pub mod parts;

/// The version of the protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// The largest message that either side sends or takes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
