//! Security-group rules: what each binding needs open, and what follows from it for one security group.
//!
//! Two pure steps, so that what a binding needs can be stored between them: the rules of a group are made from the last
//! computed openings of all bindings, whoever computed them and whenever. A binding in error, a silent cluster or an AWS
//! that does not answer leaves openings as they are, and blocks nobody else's.

mod fit;
mod openings;
mod rules;
pub(crate) mod told;

pub use openings::{Computed, compute, places};
pub use rules::{RuleInput, plan};
