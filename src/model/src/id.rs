//! Typed ids. All are UUIDs that Postgres makes, so that a database restored from a backup never reuses one.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Invalid;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|_| crate::Invalid::new(stringify!($name), text, "a UUID"))
            }
        }
    )*};
}

ids! {
    /// A binding: (cluster, namespace, service, port) → target group.
    BindingId;
    /// A registered cluster.
    ClusterId;
    /// A hold that an operator can release.
    HoldId;
    /// A journaled plan; the `why` of every AWS write.
    PlanId;
}
