//! One target group with one binding of one cluster, more where a test asks for them, and the loops that work on them. What is in AWS is read from the
//! simulator's own state, and what should be there is what the test stated: never from our ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use aws::{
    Aws, Credentials,
    budget::{self, Rate},
};
use awssim::{Drift, Running, Simulator, TargetSpec};
use jiff::SignedDuration;
use model::{
    Name, TargetGroupArn,
    binding::{BindingSpec, IngressRule, PortRef},
    cluster::{ClusterSpec, Mode},
    fact::{
        AddressFamily, Endpoint, EndpointSlice, Evidence, ObjectName, ObjectVersion, PodRef, Protocol,
        Service, ServicePort, SlicePort,
    },
    guard::{Guards, Unbinding},
    ownership::{Marks, Serve},
    stream::{Change, Source, Vanished},
    target_group::TargetGroupSpec,
};
use prometheus_client::registry::Registry;
use reconcile::{DatabaseClock, Engine, Metrics, Settings};
use runtime::{Clock, Kind, Tasks};
use sandbox::{Progress, Wait, fixture, kubernetes::Node, postgres::Postgres, wait_until};
use store::{Hub, JudgedSource, Store, Stream};
use uuid::Uuid;

/// Somebody else's target.
pub(crate) const FOREIGN: &str = "192.168.50.50";
/// Every call by which the loops change AWS.
pub(crate) const MUTATING: [&str; 2] = ["RegisterTargets", "DeregisterTargets"];
/// How long a database that is away is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// How fast the loops live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) lease: Duration,
    pub(crate) attempt: Duration,
    pub(crate) sweep: Duration,
    pub(crate) observe_every: Duration,
    pub(crate) consistency_grace: Duration,
}

pub(crate) struct World {
    pub(crate) aws: Running,
    pub(crate) arn: TargetGroupArn,
    /// The other groups to which the Service is bound.
    pub(crate) others: Vec<TargetGroupArn>,
    /// The test's own, as control would have one.
    pub(crate) store: Store,
    database: String,
    networking: Vec<IngressRule>,
    pace: Pace,
    stream: Stream,
    version: u64,
    incarnation: u32,
    /// Of the loops that are launched next.
    pub(crate) budgets: budget::Settings,
    /// Theirs, too.
    pub(crate) guards: Guards,
    registry: Registry,
    tasks: Tasks,
}

impl World {
    /// An AWS with one foreign target, a database, a cluster with a bound Service; the loops do not run yet.
    pub(crate) async fn prepare(postgres: &Postgres, pace: Pace) -> Result<Self> {
        Self::prepare_open(postgres, pace, Vec::new()).await
    }

    /// The same, whose binding asks for `networking`; its pods are on one machine.
    pub(crate) async fn prepare_open(
        postgres: &Postgres,
        pace: Pace,
        networking: Vec<IngressRule>,
    ) -> Result<Self> {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let aws = Simulator::builder().start_local().await?;
        let tutorial = fixture::tutorial(aws.handle())?;
        let nodes = Node::spread("alpha", 1, "192.168.0.0/18".parse()?, &fixture::ZONES);
        fixture::machines(aws.handle(), "alpha", fixture::NODE_SECURITY_GROUP, &nodes)?;
        let arn: TargetGroupArn = tutorial.target_group.parse()?;
        let foreign = TargetSpec {
            id: FOREIGN.into(),
            port: Some(80),
            zone: None,
        };
        aws.handle().drift(&Drift::AddTargets {
            target_group_arn: arn.to_string(),
            targets: vec![foreign],
        })?;
        aws.handle()
            .update_settings(|settings| settings.throttling.enabled = false);

        let database = postgres.fresh_database("reconcile").await?;
        let store = connect(&database).await?;
        store.migrate().await?;
        let name: Name = "alpha".parse()?;
        let spec = ClusterSpec {
            account: fixture::ACCOUNT.parse()?,
            region: fixture::REGION.parse()?,
            vpc_id: fixture::VPC.parse()?,
            mode: Mode::Full,
            serve: Serve::All,
            bind_undeclared: false,
            roles: Vec::new(),
            aws_name: None,
        };
        let cluster = store
            .put_cluster("test", &name, &spec, None)
            .await?
            .into_inner()
            .id;
        let group = TargetGroupSpec {
            arn: arn.clone(),
            clusters: vec![name.clone()],
            grants: Vec::new(),
        };
        store.put_target_group("test", &name, &group, None).await?;
        let opened = store.open_stream(cluster, "agent", 0, "uid").await?;
        let stream = Stream {
            cluster,
            epoch: opened.epoch,
        };
        let mut world = Self {
            aws,
            arn,
            others: Vec::new(),
            store,
            database,
            networking,
            pace,
            stream,
            version: 1,
            incarnation: 0,
            // Budgets have tests of their own; elsewhere they would only be waited for.
            budgets: budget::Settings {
                registration: Rate::new(20.0, 100_000.0),
                ..budget::Settings::default()
            },
            guards: Guards {
                consistency_grace: SignedDuration::try_from(pace.consistency_grace)?,
                ..Guards::default()
            },
            registry: Registry::default(),
            tasks: Tasks::new(),
        };
        world.bind().await?;
        world.describe_service().await?;
        Ok(world)
    }

    /// The same, with the loops.
    pub(crate) async fn start(postgres: &Postgres, pace: Pace) -> Result<Self> {
        let mut world = Self::prepare(postgres, pace).await?;
        world.launch().await?;
        Ok(world)
    }

    /// Starts the loops as a new process would: with a name, connections and memory of its own.
    pub(crate) async fn launch(&mut self) -> Result<()> {
        self.incarnation += 1;
        self.tasks = Tasks::new();
        let mut registry = Registry::default();
        let clock = Clock::real();
        let database = DatabaseClock::new(clock.clone());
        let now = database.clone();
        let Pace {
            lease,
            attempt,
            sweep,
            observe_every,
            consistency_grace: _,
        } = self.pace;
        let settings = aws::Settings {
            endpoint_url: Some(self.aws.url().to_owned()),
            attempt_timeout: attempt,
            credentials: Credentials::Static {
                access_key_id: fixture::ACCESS_KEY.to_owned(),
                secret_access_key: "test".to_owned().into(),
            },
            budgets: self.budgets.clone(),
            ..aws::Settings::default()
        };
        let client = Aws::new(
            settings,
            aws::Metrics::new(&mut registry),
            Arc::new(move || now.now()),
        )
        .await?;
        let settings = Settings {
            lease_ttl: lease,
            lease_renewal: lease / 4,
            attempt_timeout: attempt,
            sweep,
            observe_every,
            guards: self.guards.clone(),
            ..Settings::new(format!("replica-{}", self.incarnation))
        };
        let store = persistently(async || connect(&self.database).await).await?;
        let hub = Hub::new(store.clone());
        Engine::new(
            store,
            client,
            settings,
            clock,
            database,
            Metrics::new(&mut registry),
        )
        .spawn(&self.tasks, hub.subscribe());
        let soft = self.tasks.soft();
        self.tasks.spawn(Kind::Critical, "wakes", async move {
            soft.run_until_cancelled(hub.run()).await;
        });
        self.registry = registry;
        Ok(())
    }

    /// What the loops count, as a scraper sees it.
    pub(crate) fn metrics(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// How often they lost a lease.
    pub(crate) fn lost_leases(&self) -> Result<u64> {
        self.counted(|line| line.starts_with("leases_lost_total "))
    }

    /// How many of their calls that change AWS had no answer, or a refusal.
    pub(crate) fn unanswered(&self) -> Result<u64> {
        self.counted(|line| {
            let action = |action: &&str| line.contains(&format!("action=\"{action}\""));
            line.starts_with("aws_calls_total{")
                && MUTATING.iter().any(action)
                && !line.contains("outcome=\"ok\"")
        })
    }

    /// The sum of the metrics on these lines.
    fn counted(&self, these: impl Fn(&str) -> bool) -> Result<u64> {
        let text = self.metrics()?;
        let lines: Vec<_> = text.lines().filter(|line| these(line)).collect();
        let values = lines.iter().filter_map(|line| line.rsplit(' ').next());
        values.map(|value| Ok(value.parse::<u64>()?)).sum()
    }

    /// Cuts the loops at the await at which they are. Nothing is given back or finished: what a killed process leaves
    /// in Postgres and in AWS is all that is left.
    pub(crate) fn kill(&self) {
        self.tasks.hard().cancel();
    }

    /// Ends the loops in an orderly way.
    pub(crate) async fn stop(&self) {
        self.tasks.stop(Duration::from_secs(5)).await;
    }

    /// Makes more groups, declares them, and binds the Service to each.
    pub(crate) async fn bind_to_others(&mut self, count: usize) -> Result<()> {
        let names = (0..count).map(|number| format!("other-{number}"));
        let groups: Vec<_> = names
            .map(|name| serde_json::json!({"name": name, "vpc": fixture::VPC, "port": 80, "target_type": "ip"}))
            .collect();
        let fixture = serde_json::json!({
            "account": fixture::ACCOUNT, "region": fixture::REGION, "target_groups": groups,
        });
        let made = self.aws.handle().load(&serde_json::from_value(fixture)?)?;
        for (name, arn) in &made.target_groups {
            let arn: TargetGroupArn = arn.parse()?;
            let group = TargetGroupSpec {
                arn: arn.clone(),
                clusters: vec!["alpha".parse()?],
                grants: Vec::new(),
            };
            self.store
                .put_target_group("test", &name.parse()?, &group, None)
                .await?;
            self.others.push(arn);
        }
        self.bind().await
    }

    /// The cluster has the binding, and those to the other groups.
    pub(crate) async fn bind(&mut self) -> Result<()> {
        self.version += 1;
        let arns = std::iter::once(&self.arn).chain(&self.others);
        let sources = arns.enumerate().map(|(number, arn)| self.source(number, arn));
        self.sources(Change::Reset(sources.collect())).await
    }

    fn source(&self, number: usize, arn: &TargetGroupArn) -> JudgedSource {
        let version = ObjectVersion {
            // An object that was deleted comes back as another one.
            uid: Uuid::from_u128(1_000_000 * (1 + number as u128) + u128::from(self.version)),
            resource_version: self.version,
        };
        let spec = BindingSpec {
            target_group: arn.clone(),
            service: "web".into(),
            port: PortRef::Number(80),
            target_type: None,
            ip_address_type: None,
            vpc_id: None,
            protocol: None,
            networking: self.networking.clone(),
            node_selector: None,
            shared: false,
            role: None,
            warnings: Vec::new(),
        };
        let object = match number {
            0 => service(),
            _ => ObjectName::new("shop", format!("web-{number}")),
        };
        let source = Source {
            object,
            version,
            generation: 1,
            spec: serde_json::json!({}),
            deleting: false,
            marks: Some(Marks::default()),
        };
        let verdict = Ok(spec);
        JudgedSource { source, verdict }
    }

    /// The cluster has no binding any more.
    pub(crate) async fn unbind(&self) -> Result<()> {
        self.sources(Change::Reset(Vec::new())).await
    }

    async fn sources(&self, change: Change<JudgedSource>) -> Result<()> {
        // Many deletions in a minute are meant here.
        let unbinding = Unbinding {
            always_meant: u32::MAX,
            ..Unbinding::default()
        };
        persistently(async || {
            Ok(self
                .store
                .ingest_sources(self.stream, &change, None, &unbinding)
                .await?)
        })
        .await?;
        Ok(())
    }

    /// What the agent says of the Service, once it is asked for it.
    pub(crate) async fn describe_service(&self) -> Result<()> {
        let port = ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: None,
        };
        let state = Service {
            object: service(),
            version: ObjectVersion {
                uid: Uuid::from_u128(1001),
                resource_version: 1,
            },
            service_type: "ClusterIP".into(),
            ports: vec![port],
            selector: BTreeMap::new(),
        };
        persistently(async || {
            Ok(self
                .store
                .ingest_service(self.stream, &service(), Some(&state))
                .await?)
        })
        .await?;
        Ok(())
    }

    /// The cluster states these ready pods, and those that end. Pods that it does not state any more are gone.
    pub(crate) async fn state(&mut self, ready: &[u16], terminating: &[u16], gone: &[u16]) -> Result<()> {
        self.version += 1;
        let endpoint = |pod: u16, ends: bool| Endpoint {
            addresses: vec![address(pod).parse().expect("an address")],
            ready: Some(!ends),
            serving: None,
            terminating: Some(ends),
            node: None,
            zone: Some(fixture::ZONES[1].to_owned()),
            pod: Some(reference(pod)),
        };
        let endpoints = ready.iter().map(|pod| endpoint(*pod, false));
        let endpoints = endpoints
            .chain(terminating.iter().map(|pod| endpoint(*pod, true)))
            .collect();
        let slice = EndpointSlice {
            object: ObjectName::new("shop", "web-1"),
            version: ObjectVersion {
                uid: Uuid::from_u128(1002),
                resource_version: self.version,
            },
            service: "web".into(),
            family: AddressFamily::Ipv4,
            ports: vec![SlicePort {
                name: String::new(),
                port: Some(80),
                protocol: Protocol::Tcp,
            }],
            endpoints,
        };
        let vanished: Vec<_> = gone
            .iter()
            .map(|pod| Vanished {
                address: address(*pod).parse().expect("an address"),
                pod: Some(reference(*pod)),
                evidence: Evidence::PodGone,
            })
            .collect();
        let change = Change::Reset(vec![slice]);
        persistently(async || {
            self.store
                .ingest_departures(self.stream, &service(), &vanished)
                .await?;
            Ok(self.store.ingest_slices(self.stream, &service(), &change).await?)
        })
        .await?;
        Ok(())
    }

    /// The targets that AWS has and that are not on their way out.
    pub(crate) fn registered(&self) -> Result<BTreeSet<String>, sandbox::Error> {
        self.registered_in(&self.arn)
    }

    pub(crate) fn registered_in(&self, group: &TargetGroupArn) -> Result<BTreeSet<String>, sandbox::Error> {
        let targets = self
            .aws
            .handle()
            .targets(&group.to_string())
            .map_err(|error| sandbox::Error::Aws(error.to_string()))?;
        let registered = targets.into_iter().filter(|target| target.deregistered.is_none());
        Ok(registered.map(|target| target.id).collect())
    }

    /// Waits until AWS has exactly these pods and the foreign target.
    pub(crate) async fn settles(&self, case: &str, pods: &[u16], limit: Duration) -> Result<()> {
        let wanted = with_foreign(pods);
        wait_until(limit, case, &Progress::silent(), async || {
            let registered = self.registered().map_err(Wait::Never)?;
            if registered == wanted {
                Ok(())
            } else {
                Err(Wait::not_yet(format!(
                    "AWS has {registered:?}, wanted are {wanted:?}"
                )))
            }
        })
        .await
        .context(case.to_owned())
    }
}

/// What AWS should have.
pub(crate) fn with_foreign(pods: &[u16]) -> BTreeSet<String> {
    let foreign = std::iter::once(FOREIGN.to_owned());
    pods.iter().map(|pod| address(*pod)).chain(foreign).collect()
}

async fn connect(url: &str) -> Result<Store> {
    let options = store::Options {
        max_connections: 4,
        ..store::Options::default()
    };
    Ok(Store::connect(url, options, store::Metrics::new(&mut Registry::default())).await?)
}

/// Does it again while the database is away, as an agent does that got no answer. `work` says the same each time.
async fn persistently<T>(work: impl AsyncFn() -> Result<T>) -> Result<T> {
    Ok(
        wait_until(PATIENCE, "the database", &Progress::silent(), async || {
            work().await.map_err(|error| Wait::not_yet(format!("{error:#}")))
        })
        .await?,
    )
}

fn service() -> ObjectName {
    ObjectName::new("shop", "web")
}

/// A pod whose number is that of another plus this has that one's address; no others share one.
pub(crate) const HEIR: u16 = 20_000;

/// Pods from here on have addresses of the VPC that no subnet has.
pub(crate) const NOWHERE: u16 = 40_000;

pub(crate) fn address(pod: u16) -> String {
    if let Some(host) = pod.checked_sub(NOWHERE) {
        return format!("192.168.200.{host}");
    }
    let host = pod % HEIR;
    format!("192.168.{}.{}", host / 250, host % 250 + 1)
}

fn reference(pod: u16) -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: format!("web-{pod}"),
        uid: Uuid::from_u128(u128::from(pod)),
    }
}
