//! Between the wire and [`model`]. Both ways destructure completely, so that a new field does not compile where it is
//! forgotten.

mod field;
mod hello;
mod node;
mod object;
mod origin;
mod ownership;
mod pod;
mod service;
mod slices;
mod source;
mod statement;
mod status;

pub use field::{ConvertError, Fault};
pub use origin::{origin, to_origin};
pub use pod::to_gate;
pub use statement::{Stamped, agent_message};
