//! `Hello`.

use model::stream::Hello;

use super::{
    ConvertError, Fault,
    field::{At, Result, name, text},
};
use crate::agent::v1 as wire;

impl TryFrom<wire::Hello> for Hello {
    type Error = ConvertError;

    fn try_from(hello: wire::Hello) -> Result<Self> {
        let wire::Hello {
            cluster,
            instance,
            protocol,
            version,
            last_epoch,
            cluster_uid,
        } = hello;
        if protocol == 0 {
            return Err(Fault::Missing).at("protocol");
        }
        Ok(Self {
            cluster: cluster.parse().map_err(Fault::Invalid).at("cluster")?,
            instance: name(instance).at("instance")?,
            protocol,
            version: text(version, 100).at("version")?,
            last_epoch,
            cluster_uid: name(cluster_uid).at("cluster_uid")?,
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        let Hello {
            cluster,
            instance,
            protocol,
            version,
            last_epoch,
            cluster_uid,
        } = hello;
        Self {
            cluster: cluster.into(),
            instance,
            protocol,
            version,
            last_epoch,
            cluster_uid,
        }
    }
}
