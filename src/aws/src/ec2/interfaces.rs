//! DescribeNetworkInterfaces: which security groups stand before a target.
//!
//! Interfaces are asked for by the instance that they are attached to, which shows their prefixes too, or else by
//! address, which finds those of Fargate and of pods with interfaces of their own. Both answers are remembered for a
//! while, so that one more pod on a known interface costs no call.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_ec2::{
    Client,
    types::{Filter, NetworkInterface, NetworkInterfaceAttachment},
};
use ipnet::IpNet;
use model::{
    SecurityGroupId, TargetId,
    condition::Problem,
    network::{Interface, Interfaces, Place, SecurityGroup},
};
use tokio::time::Instant;

use super::{FILTER_VALUES, filter, security_groups::SecurityGroups};
use crate::{Error, budget::Category, call::Caller, metrics::Action};

const ACTION: Action = Action::DescribeNetworkInterfaces;

/// The network interfaces of a shard, as far as somebody asked for them.
pub(crate) struct Directory {
    client: Client,
    groups: SecurityGroups,
    ttl: Duration,
    missing_ttl: Duration,
    known: Mutex<Known>,
    /// Whoever asks first asks for all who wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    interfaces: HashMap<String, Entry>,
    by_address: HashMap<(String, IpAddr), String>,
    by_instance: HashMap<String, Vec<String>>,
    /// Until when a place is believed to have no interface.
    missing: HashMap<Place, Instant>,
    /// Until when AWS is not asked again after it did not answer, and why it did not.
    failed: Option<(Instant, Problem)>,
}

struct Entry {
    until: Instant,
    vpc: String,
    groups: Vec<SecurityGroupId>,
    prefixes: Vec<IpNet>,
    instance: Option<String>,
    primary: bool,
}

impl Directory {
    pub(crate) fn new(client: Client, ttl: Duration, missing_ttl: Duration) -> Self {
        Self {
            groups: SecurityGroups::new(client.clone(), ttl),
            client,
            ttl,
            missing_ttl,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The interfaces at these places. What AWS did not answer is missing, with the reason.
    pub(crate) async fn find(&self, caller: &Caller, places: &BTreeSet<Place>) -> Interfaces {
        let mut problem = None;
        if !self.unknown(places).is_empty() {
            let _asking = self.asking.lock().await;
            problem = self.ask_unless_failed(caller, &self.unknown(places)).await;
        }
        let mut found = Interfaces {
            found: self.look_up(places),
            problem,
        };
        if let Err(error) = self.tag(caller, &mut found).await {
            // Whose group it is cannot be said without the tags of each.
            found.found.retain(|_, interface| {
                interface
                    .as_ref()
                    .is_none_or(|interface| interface.groups.len() < 2)
            });
            found.problem.get_or_insert_with(|| error.problem());
        }
        found
    }

    fn unknown(&self, places: &BTreeSet<Place>) -> Vec<Place> {
        let known = self.lock();
        let now = Instant::now();
        let is_known = |place: &Place| {
            known.at(place, now).is_some() || known.missing.get(place).is_some_and(|until| now < *until)
        };
        places.iter().filter(|place| !is_known(place)).cloned().collect()
    }

    /// An AWS that does not answer must not make every pass wait for it.
    async fn ask_unless_failed(&self, caller: &Caller, places: &[Place]) -> Option<Problem> {
        if places.is_empty() {
            return None;
        }
        let failed = self.lock().failed.clone();
        if let Some((_, problem)) = failed.filter(|(until, _)| Instant::now() < *until) {
            return Some(problem);
        }
        let problem = self.ask(caller, places).await.err().map(|error| error.problem());
        let until = Instant::now() + self.missing_ttl;
        self.lock().failed = problem.clone().map(|problem| (until, problem));
        problem
    }

    async fn ask(&self, caller: &Caller, places: &[Place]) -> Result<(), Error> {
        let instances: BTreeSet<_> = places
            .iter()
            .filter_map(|place| match &place.target {
                TargetId::Named(instance) => Some(instance.clone()),
                TargetId::Ip(_) => place.host.clone(),
            })
            .collect();
        let instances: Vec<_> = instances.into_iter().collect();
        for chunk in instances.chunks(FILTER_VALUES) {
            let attached = vec![filter("attachment.instance-id", chunk.iter().cloned())];
            let answer = self.describe(caller, attached).await?;
            self.remember(&answer)?;
        }
        let mut addresses: HashMap<_, Vec<String>> = HashMap::new();
        {
            let known = self.lock();
            let now = Instant::now();
            for place in places.iter().filter(|place| known.at(place, now).is_none()) {
                if let TargetId::Ip(address) = place.target {
                    let of_family = addresses.entry((place.vpc.clone(), address.is_ipv6()));
                    of_family.or_default().push(address.to_string());
                }
            }
        }
        for ((vpc, is_ipv6), addresses) in addresses {
            let name = if is_ipv6 {
                "ipv6-addresses.ipv6-address"
            } else {
                "addresses.private-ip-address"
            };
            for chunk in addresses.chunks(FILTER_VALUES) {
                let filters = vec![
                    filter("vpc-id", [vpc.to_string()]),
                    filter(name, chunk.iter().cloned()),
                ];
                let answer = self.describe(caller, filters).await?;
                self.remember(&answer)?;
            }
        }
        let mut known = self.lock();
        let now = Instant::now();
        known.missing.retain(|_, until| now < *until);
        for place in places {
            if known.at(place, now).is_none() {
                known.missing.insert(place.clone(), now + self.missing_ttl);
            }
        }
        Ok(())
    }

    async fn describe(&self, caller: &Caller, filters: Vec<Filter>) -> Result<Vec<NetworkInterface>, Error> {
        let mut interfaces = Vec::new();
        let mut next = None;
        loop {
            let request = self
                .client
                .describe_network_interfaces()
                .set_filters(Some(filters.clone()))
                .set_next_token(next);
            let (_, answer) = caller
                .read(ACTION, Category::Ec2Describe, "interfaces", || {
                    request.clone().send()
                })
                .await?;
            interfaces.extend(answer.network_interfaces.unwrap_or_default());
            next = answer.next_token;
            if next.is_none() {
                return Ok(interfaces);
            }
        }
    }

    fn remember(&self, interfaces: &[NetworkInterface]) -> Result<(), Error> {
        let until = Instant::now() + self.ttl;
        let mut known = self.lock();
        for described in interfaces {
            let (id, addresses, entry) = read(described, until)?;
            known.forget(&id);
            for address in addresses {
                known.by_address.insert((entry.vpc.clone(), address), id.clone());
            }
            if let Some(instance) = &entry.instance {
                known
                    .by_instance
                    .entry(instance.clone())
                    .or_default()
                    .push(id.clone());
            }
            known.interfaces.insert(id, entry);
        }
        Ok(())
    }

    fn look_up(&self, places: &BTreeSet<Place>) -> std::collections::BTreeMap<Place, Option<Interface>> {
        let known = self.lock();
        let now = Instant::now();
        places
            .iter()
            .filter_map(|place| {
                let interface = known.at(place, now).map(|(id, entry)| Interface {
                    id: id.to_owned(),
                    groups: entry
                        .groups
                        .iter()
                        .map(|id| SecurityGroup {
                            id: id.clone(),
                            tags: super::security_groups::Tags::new(),
                        })
                        .collect(),
                });
                (interface.is_some() || known.missing.contains_key(place)).then(|| (place.clone(), interface))
            })
            .collect()
    }

    /// Fills in the tags of groups between which somebody must choose.
    async fn tag(&self, caller: &Caller, found: &mut Interfaces) -> Result<(), Error> {
        let mut several: Vec<_> = found
            .found
            .values_mut()
            .flatten()
            .map(|interface| &mut interface.groups)
            .filter(|groups| groups.len() > 1)
            .flatten()
            .collect();
        if several.is_empty() {
            return Ok(());
        }
        let ids = several.iter().map(|group| group.id.clone()).collect();
        let tags = self.groups.tags(caller, &ids).await?;
        for group in &mut several {
            group.tags = tags.get(&group.id).cloned().unwrap_or_default();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn at(&self, place: &Place, now: Instant) -> Option<(&str, &Entry)> {
        let fresh = |id: &String| {
            self.interfaces
                .get_key_value(id)
                .filter(|(_, entry)| now < entry.until && entry.vpc == place.vpc.as_str())
                .map(|(id, entry)| (id.as_str(), entry))
        };
        let attached = |instance: &String| {
            self.by_instance
                .get(instance)
                .into_iter()
                .flatten()
                .filter_map(fresh)
        };
        match &place.target {
            TargetId::Named(instance) => attached(instance).find(|(_, entry)| entry.primary),
            TargetId::Ip(address) => {
                let by_address = self
                    .by_address
                    .get(&(place.vpc.to_string(), *address))
                    .and_then(fresh);
                by_address.or_else(|| {
                    let holds = |entry: &Entry| entry.prefixes.iter().any(|prefix| prefix.contains(address));
                    let host = place.host.as_ref()?;
                    attached(host).find(|(_, entry)| holds(entry))
                })
            }
        }
    }

    fn forget(&mut self, id: &String) {
        if let Some(entry) = self.interfaces.remove(id) {
            self.by_address.retain(|_, of| of != id);
            if let Some(instance) = entry.instance
                && let Some(attached) = self.by_instance.get_mut(&instance)
            {
                attached.retain(|of| of != id);
            }
        }
    }
}

fn read(described: &NetworkInterface, until: Instant) -> Result<(String, Vec<IpAddr>, Entry), Error> {
    let unusable = |what: &str| Error::answer(ACTION, format!("an interface has no usable {what}"));
    let id = described.network_interface_id().ok_or_else(|| unusable("id"))?;
    let vpc = described.vpc_id().ok_or_else(|| unusable("VPC"))?;
    let groups = described
        .groups()
        .iter()
        .map(|group| {
            let id = group.group_id().and_then(|id| id.parse().ok());
            id.ok_or_else(|| unusable("security group"))
        })
        .collect::<Result<_, _>>()?;
    let v4 = described.private_ip_addresses().iter();
    let v6 = described.ipv6_addresses().iter();
    let addresses = v4
        .filter_map(|each| each.private_ip_address())
        .chain(v6.filter_map(|each| each.ipv6_address()))
        .map(|text| text.parse().map_err(|_| unusable("address")))
        .collect::<Result<_, _>>()?;
    let v4 = described.ipv4_prefixes().iter();
    let v6 = described.ipv6_prefixes().iter();
    let prefixes = v4
        .filter_map(|each| each.ipv4_prefix())
        .chain(v6.filter_map(|each| each.ipv6_prefix()))
        .map(|text| text.parse().map_err(|_| unusable("prefix")))
        .collect::<Result<_, _>>()?;
    let attachment = described.attachment();
    let entry = Entry {
        until,
        vpc: vpc.to_owned(),
        groups,
        prefixes,
        instance: attachment
            .and_then(|attachment| attachment.instance_id())
            .map(str::to_owned),
        primary: attachment.and_then(NetworkInterfaceAttachment::device_index) == Some(0),
    };
    Ok((id.to_owned(), addresses, entry))
}
