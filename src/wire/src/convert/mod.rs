//! Between the wire and [`model`]. Both ways destructure completely, so that a new field does not compile where it is
//! forgotten.

mod field;
mod hello;
mod node;
mod object;
mod ownership;
mod pod;
mod service;
mod slices;
mod statement;
mod status;

pub use field::{ConvertError, Fault};
pub use pod::to_gate;
pub use statement::{Stamped, agent_message, origin, to_origin};
