//! The watched kinds, decoded slim: what is not read is skipped by the parser and never becomes a value.

mod endpoint_slice;
mod meta;
mod node;
mod pod;
mod port;
mod service;
mod target_group_binding;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;

pub use endpoint_slice::{EndpointSlice, SERVICE_NAME};
pub use meta::version;
pub use node::Node;
pub use pod::Pod;
pub use service::Service;
pub use target_group_binding::TargetGroupBinding;

use crate::index::{Kind, Object};

/// An object that the API server should not have accepted.
#[derive(Debug, thiserror::Error)]
#[error("the object's {field} cannot be used: {given:?}")]
pub struct Unreadable {
    field: &'static str,
    given: String,
}

/// A kind that the agent watches.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
    type Fact: Object;
    const KIND: Kind;

    /// What tells the object apart from others of its kind.
    fn key(meta: &ObjectMeta) -> <Self::Fact as Object>::Key;

    /// In the model's terms.
    fn fact(self) -> Result<Self::Fact, Unreadable>;
}

macro_rules! kind {
    ($type:ident, $group:literal, $version:literal, $plural:literal, $scope:ty) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($type).into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use kind;
