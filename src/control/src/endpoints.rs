//! Endpoints: what clusters stated about the Services that bindings refer to.

use std::{fmt, str::FromStr};

use model::{Name, fact::ObjectName};

use crate::{Control, Error, Listing, Page, Principal, text, view::ServiceView};

/// Which services; what is not given is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub namespace: Option<String>,
    pub service: Option<String>,
}

impl Filter {
    fn check(&self) -> Result<(), Error> {
        let fields = [("namespace", &self.namespace), ("service", &self.service)];
        fields
            .into_iter()
            .filter_map(|(field, text)| Some((field, text.as_deref()?)))
            .try_for_each(|(field, text)| text::dns_subdomain(field, text))
    }

    fn takes(&self, service: &ObjectName) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == service.namespace)
            && self.service.as_ref().is_none_or(|name| *name == service.name)
    }
}

/// Where a list of services goes on: `namespace/name`.
struct Cursor(ObjectName);

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, name) = text.split_once('/').unwrap_or_default();
        let object = ObjectName::new(namespace, name);
        text::object_name(&object)?;
        Ok(Self(object))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Control {
    pub async fn list_endpoints(
        &self,
        principal: &Principal,
        cluster: &Name,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listing<ServiceView>, Error> {
        principal.read_of("list endpoints", cluster)?;
        filter.check()?;
        let after = page.after::<Cursor>()?;
        let name = cluster;
        let cluster = self.cluster(name).await?.cluster.id;
        let mut services: Vec<_> = self
            .store
            .subscriptions(cluster)
            .await?
            .services
            .into_iter()
            .map(|subscription| subscription.service)
            .collect();
        services.sort();
        services.retain(|service| {
            filter.takes(service)
                && principal.sees_in(name, &service.namespace)
                && after.as_ref().is_none_or(|Cursor(after)| service > after)
        });
        let Listing { items, next } = page.cut(services, |service| Cursor(service.clone()).to_string());
        let mut views = Vec::with_capacity(items.len());
        for service in items {
            // One that lost its last binding meanwhile is left out.
            if let Some(facts) = self.store.service_facts(cluster, &service).await? {
                views.push(ServiceView { service, facts });
            }
        }
        Ok(Listing { items: views, next })
    }
}
