//! Which part of the fleet somebody may see or change.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Name,
    parse::{Invalid, text_type},
};

/// A cluster, or one namespace of it: `alpha` or `alpha/shop`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub cluster: Name,
    /// A namespace is named as a cluster is: by a DNS label. `None`: all.
    pub namespace: Option<Name>,
}

impl FromStr for Place {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (cluster, namespace) = match text.split_once('/') {
            Some((cluster, namespace)) => (cluster, Some(namespace)),
            None => (text, None),
        };
        let name = |part: &str| {
            part.parse()
                .map_err(|_| Invalid::new("place", text, "`CLUSTER` or `CLUSTER/NAMESPACE`"))
        };
        Ok(Self {
            cluster: name(cluster)?,
            namespace: namespace.map(name).transpose()?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{namespace}", self.cluster),
            None => self.cluster.fmt(f),
        }
    }
}

text_type!(Place);

/// The places that a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(pub Vec<Place>);

impl Scope {
    /// Whether anything of the cluster is within.
    pub fn touches(&self, cluster: &Name) -> bool {
        self.0.iter().any(|place| place.cluster == *cluster)
    }

    /// Whether all of the cluster is within.
    pub fn covers(&self, cluster: &Name) -> bool {
        self.0
            .iter()
            .any(|place| place.cluster == *cluster && place.namespace.is_none())
    }

    /// Whether the namespace of the cluster is within.
    pub fn contains(&self, cluster: &Name, namespace: &str) -> bool {
        let holds = |place: &Place| {
            place.cluster == *cluster
                && place
                    .namespace
                    .as_ref()
                    .is_none_or(|own| own.as_str() == namespace)
        };
        self.0.iter().any(holds)
    }

    /// Whether all of the place is within.
    pub fn holds(&self, place: &Place) -> bool {
        match &place.namespace {
            None => self.covers(&place.cluster),
            Some(namespace) => self.contains(&place.cluster, namespace.as_str()),
        }
    }

    /// What is within both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let of = |one: &Self, other: &Self| {
            let common = one.0.iter().filter(|place| other.holds(place));
            common.cloned().collect::<BTreeSet<_>>()
        };
        Self(of(self, other).union(&of(other, self)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_cluster_or_one_namespace_of_it() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let scope = Scope(vec!["alpha".parse().unwrap(), "beta/shop".parse().unwrap()]);
        assert!(scope.contains(&name("alpha"), "anything") && scope.covers(&name("alpha")));
        assert!(scope.contains(&name("beta"), "shop") && !scope.contains(&name("beta"), "other"));
        assert!(scope.touches(&name("beta")) && !scope.covers(&name("beta")));
        assert!(!scope.touches(&name("gamma")));
        assert_eq!(scope.0[1].to_string(), "beta/shop");
        let scope = |places: &[&str]| Scope(places.iter().map(|place| place.parse().unwrap()).collect());
        let both =
            scope(&["alpha", "beta/shop", "gamma/a"]).meet(&scope(&["alpha/x", "alpha/y", "beta", "delta"]));
        assert_eq!(both, scope(&["alpha/x", "alpha/y", "beta/shop"]));
        for bad in ["", "/shop", "alpha/", "alpha/shop/x", "Alpha"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
