//! A real Kubernetes control plane on loopback, without containers: etcd and the API server, and if wanted the
//! controllers, the scheduler and nodes that kwok plays. RBAC is real.

mod access;
mod binaries;
mod credentials;
mod launch;
mod node;
mod plane;

pub use access::{Access, Kubectl};
pub use binaries::Binaries;
pub use node::Node;
pub use plane::{ControlPlane, Options};
