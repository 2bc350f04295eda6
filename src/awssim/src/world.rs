//! The simulated state: per place, copy on write, with as much history as stale reads ask for.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    ec2::model::{Instance, NetworkInterface, SecurityGroup, Subnet, Vpc},
    elbv2::model::{Listener, LoadBalancer, TargetGroup},
    place::Place,
    settings::Settings,
};

/// All resources of one account in one region, each under its ARN (ELB) or id (EC2).
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) place: Place,
    pub(crate) target_groups: BTreeMap<String, Arc<TargetGroup>>,
    pub(crate) load_balancers: BTreeMap<String, Arc<LoadBalancer>>,
    pub(crate) listeners: BTreeMap<String, Arc<Listener>>,
    pub(crate) vpcs: BTreeMap<String, Arc<Vpc>>,
    pub(crate) subnets: BTreeMap<String, Arc<Subnet>>,
    pub(crate) security_groups: BTreeMap<String, Arc<SecurityGroup>>,
    pub(crate) instances: BTreeMap<String, Arc<Instance>>,
    pub(crate) interfaces: BTreeMap<String, Arc<NetworkInterface>>,
}

impl Region {
    fn new(place: Place) -> Self {
        Self {
            place,
            target_groups: BTreeMap::new(),
            load_balancers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            security_groups: BTreeMap::new(),
            instances: BTreeMap::new(),
            interfaces: BTreeMap::new(),
        }
    }
}

/// What a reading action sees.
pub(crate) struct View<'a> {
    pub(crate) region: &'a Region,
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a Settings,
}

/// What a writing action works on. An action checks first and changes then, so that an error leaves no trace.
pub(crate) struct Change<'a> {
    pub(crate) region: &'a mut Region,
    pub(crate) now: Timestamp,
    pub(crate) settings: &'a Settings,
    pub(crate) ids: &'a mut Ids,
}

impl Change<'_> {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            region: self.region,
            now: self.now,
            settings: self.settings,
        }
    }
}

/// Draws ids that look like AWS's.
#[derive(Debug)]
pub(crate) struct Ids {
    random: StdRng,
}

impl Ids {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            random: seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64),
        }
    }

    /// Sixteen hexadecimal digits, as in an ELB ARN.
    pub(crate) fn elb(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }

    /// `vpc-0…`: seventeen hexadecimal digits, the first of them 0.
    pub(crate) fn ec2(&mut self, prefix: &str) -> String {
        format!("{prefix}-0{:016x}", self.random.random::<u64>())
    }

    pub(crate) fn digits(&mut self) -> u64 {
        self.random.random_range(100_000_000..10_000_000_000)
    }

    pub(crate) fn request_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.random.random())
            .into_uuid()
            .to_string()
    }

    pub(crate) fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }
}

/// All places.
#[derive(Debug, Default)]
pub(crate) struct World {
    regions: HashMap<Place, Arc<Region>>,
    past: HashMap<Place, VecDeque<(Timestamp, Arc<Region>)>>,
    remember: Option<Duration>,
}

impl World {
    pub(crate) fn region(&self, place: &Place) -> Arc<Region> {
        self.regions
            .get(place)
            .cloned()
            .unwrap_or_else(|| Arc::new(Region::new(place.clone())))
    }

    /// The region as it was `age` ago, as far back as the past is kept.
    pub(crate) fn region_ago(&self, place: &Place, age: Duration, now: Timestamp) -> Arc<Region> {
        let then = now - age;
        let past = self
            .past
            .get(place)
            .into_iter()
            .flatten()
            .find(|(until, _)| *until > then);
        past.map_or_else(|| self.region(place), |(_, region)| Arc::clone(region))
    }

    pub(crate) fn region_mut(&mut self, place: &Place, now: Timestamp) -> &mut Region {
        let region = self
            .regions
            .entry(place.clone())
            .or_insert_with(|| Arc::new(Region::new(place.clone())));
        if let Some(remember) = self.remember {
            let past = self.past.entry(place.clone()).or_default();
            past.push_back((now, Arc::clone(region)));
            while past.front().is_some_and(|(until, _)| *until < now - remember) {
                past.pop_front();
            }
        }
        Arc::make_mut(region)
    }

    /// How much of the past to keep from now on; `None` drops it.
    pub(crate) fn remember(&mut self, age: Option<Duration>) {
        self.remember = age;
        if age.is_none() {
            self.past.clear();
        }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.regions.keys().cloned().collect();
        places.sort();
        places
    }

    pub(crate) fn clear(&mut self) {
        self.regions.clear();
        self.past.clear();
    }
}
