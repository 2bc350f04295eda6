//! The fault matrix: whatever goes wrong with a call that changes AWS, the group ends with exactly the wanted targets
//! and with the foreign one that was there before, and the ledger knows each of ours once.
//!
//! A real Postgres, AWS's wire protocol, the real loops; what is in AWS is read from the simulator's own state.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use aws::{Aws, Credentials};
use awssim::{Drift, Fault, FaultRule, JournalFilter, Running, Simulator, TargetSpec};
use jiff::SignedDuration;
use model::{
    Name, TargetGroupArn,
    binding::{BindingSpec, PortRef},
    cluster::{ClusterSpec, Mode},
    fact::{
        AddressFamily, Endpoint, EndpointSlice, ObjectName, ObjectVersion, PodRef, Protocol, Service,
        ServicePort, SlicePort,
    },
    guard::{Guards, Unbinding},
    ledger::LedgerState,
    stream::{Change, Source},
    target_group::TargetGroupSpec,
};
use prometheus_client::registry::Registry;
use reconcile::{DatabaseClock, Engine, Metrics, Settings};
use runtime::{Clock, Kind, Tasks};
use sandbox::{Progress, Wait, fixture, postgres::Postgres, wait_until};
use store::{Hub, JudgedSource, Store, Stream};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_millis(400);
const FOREIGN: &str = "192.168.50.50";
/// Every call by which the loops change AWS.
const MUTATING: [&str; 2] = ["RegisterTargets", "DeregisterTargets"];

fn faults() -> Vec<Fault> {
    vec![
        Fault::Throttle,
        Fault::Http500,
        Fault::AppliedThenTimeout { hold: None },
        Fault::TimeoutNotApplied { hold: None },
        Fault::LateApply { after: TIMEOUT * 2 },
        Fault::DroppedConnection { applied: true },
        Fault::DroppedConnection { applied: false },
    ]
}

struct World {
    aws: Running,
    store: Store,
    stream: Stream,
    arn: TargetGroupArn,
    tasks: Tasks,
    version: u64,
}

fn service() -> ObjectName {
    ObjectName::new("shop", "web")
}

fn pod(index: u8) -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: format!("web-{index}"),
        uid: Uuid::from_u128(u128::from(index)),
    }
}

impl World {
    async fn start(postgres: &Postgres) -> Result<Self> {
        let aws = Simulator::builder().start_local().await?;
        let tutorial = fixture::tutorial(aws.handle())?;
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

        let mut registry = Registry::default();
        let url = postgres.fresh_database("faults").await?;
        let store = Store::connect(
            &url,
            store::Options::default(),
            store::Metrics::new(&mut registry),
        )
        .await?;
        store.migrate().await?;
        let name: Name = "alpha".parse()?;
        let spec = ClusterSpec {
            account: fixture::ACCOUNT.parse()?,
            region: fixture::REGION.parse()?,
            vpc_id: fixture::VPC.parse()?,
            mode: Mode::Full,
        };
        let cluster = store
            .put_cluster("test", &name, &spec, None)
            .await?
            .into_inner()
            .id;
        let group = TargetGroupSpec {
            arn: arn.clone(),
            clusters: vec![name.clone()],
        };
        store.put_target_group("test", &name, &group, None).await?;
        let opened = store.open_stream(cluster, "agent", 0, "uid").await?;
        let stream = Stream {
            cluster,
            epoch: opened.epoch,
        };

        let tasks = Tasks::new();
        let clock = Clock::real();
        let database = DatabaseClock::new(clock.clone());
        let now = database.clone();
        let settings = aws::Settings {
            endpoint_url: Some(aws.url().to_owned()),
            attempt_timeout: TIMEOUT,
            credentials: Credentials::Static {
                access_key_id: fixture::ACCESS_KEY.to_owned(),
                secret_access_key: "test".to_owned().into(),
            },
            ..aws::Settings::default()
        };
        let client = Aws::new(
            settings,
            aws::Metrics::new(&mut registry),
            Arc::new(move || now.now()),
        )
        .await?;
        let settings = Settings {
            lease_ttl: Duration::from_secs(4),
            lease_renewal: Duration::from_millis(500),
            attempt_timeout: TIMEOUT,
            guards: Guards {
                consistency_grace: SignedDuration::from_secs(1),
                ..Guards::default()
            },
            ..Settings::new("test".to_owned())
        };
        let hub = Hub::new(store.clone());
        Engine::new(
            store.clone(),
            client,
            settings,
            clock,
            database,
            Metrics::new(&mut registry),
        )
        .spawn(&tasks, hub.subscribe());
        let soft = tasks.soft();
        tasks.spawn(Kind::Critical, "wakes", async move {
            soft.run_until_cancelled(hub.run()).await;
        });
        let world = Self {
            aws,
            store,
            stream,
            arn,
            tasks,
            version: 1,
        };
        world.bind().await?;
        Ok(world)
    }

    async fn bind(&self) -> Result<()> {
        let version = ObjectVersion {
            uid: Uuid::from_u128(1000),
            resource_version: 1,
        };
        let spec = BindingSpec {
            target_group: self.arn.clone(),
            service: "web".into(),
            port: PortRef::Number(80),
            target_type: None,
            ip_address_type: None,
            vpc_id: None,
            protocol: None,
            networking: Vec::new(),
            warnings: Vec::new(),
        };
        let source = Source {
            object: ObjectName::new("shop", "web"),
            version,
            generation: 1,
            spec: serde_json::json!({}),
            deleting: false,
        };
        let sources = Change::Reset(vec![JudgedSource {
            source,
            verdict: Ok(spec),
        }]);
        self.store
            .ingest_sources(self.stream, &sources, &Unbinding::default())
            .await?;
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
            selector: std::collections::BTreeMap::new(),
        };
        self.store
            .ingest_service(self.stream, &service(), Some(&state))
            .await?;
        Ok(())
    }

    /// The cluster states these ready pods, and those that end.
    async fn state(&mut self, ready: &[u8], terminating: &[u8]) -> Result<()> {
        self.version += 1;
        let endpoint = |index: u8, ends: bool| Endpoint {
            addresses: vec![[192, 168, 1, index].into()],
            ready: Some(!ends),
            serving: None,
            terminating: Some(ends),
            node: None,
            zone: None,
            pod: Some(pod(index)),
        };
        let endpoints = ready.iter().map(|index| endpoint(*index, false));
        let endpoints = endpoints
            .chain(terminating.iter().map(|index| endpoint(*index, true)))
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
        self.store
            .ingest_slices(self.stream, &service(), &Change::Reset(vec![slice]))
            .await?;
        Ok(())
    }

    /// Waits until AWS has exactly these pods and the foreign target, and the ledger exactly these pods.
    async fn settles(&self, case: &str, pods: &[u8]) -> Result<()> {
        let ours: BTreeSet<String> = pods.iter().map(|index| format!("192.168.1.{index}")).collect();
        let mut all = ours.clone();
        all.insert(FOREIGN.to_owned());
        wait_until(LIMIT, case, &Progress::silent(), async || {
            let targets = self
                .aws
                .handle()
                .targets(&self.arn.to_string())
                .map_err(|error| Wait::Never(sandbox::Error::Aws(error.to_string())))?;
            let targets = targets.into_iter().filter(|target| target.deregistered.is_none());
            let registered: BTreeSet<String> = targets.map(|target| target.id).collect();
            let ledger = self.store.ledger(&self.arn).await.map_err(Wait::not_yet)?;
            let settled = ledger.iter().all(|row| row.state == LedgerState::Registered);
            let recorded: BTreeSet<String> = ledger.iter().map(|row| row.key().id.to_string()).collect();
            if registered == all && recorded == ours && settled {
                Ok(())
            } else {
                Err(Wait::not_yet(format!(
                    "AWS has {registered:?}, the ledger {ledger:?}"
                )))
            }
        })
        .await
        .context(case.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_write_the_end_is_the_same() -> Result<()> {
    rustls_provider();
    let postgres = Postgres::start(sandbox::postgres::Options::default()).await?;
    for action in MUTATING {
        let cases = faults().into_iter().map(|fault| play(&postgres, action, fault));
        futures::future::try_join_all(cases).await?;
    }
    Ok(())
}

async fn play(postgres: &Postgres, action: &str, fault: Fault) -> Result<()> {
    let case = format!("{action} × {fault:?}");
    let mut world = World::start(postgres).await?;
    world.state(&[1, 2], &[]).await?;
    world.settles(&format!("{case}: before"), &[1, 2]).await?;
    let rule = world.aws.handle().add_fault(FaultRule::on(action, fault).nth(1));
    world.state(&[2, 3], &[1]).await?;
    world.settles(&case, &[2, 3]).await?;
    let fired = world
        .aws
        .handle()
        .faults()
        .into_iter()
        .any(|status| status.id == rule && status.fired > 0);
    anyhow::ensure!(fired, "{case}: the fault never happened");
    for entry in world.aws.handle().journal(&JournalFilter::default()).entries {
        let known = MUTATING.contains(&entry.action.as_str()) || entry.action.starts_with("Describe");
        anyhow::ensure!(
            known,
            "{} changes AWS and is missing from the matrix",
            entry.action
        );
    }
    world.tasks.stop(Duration::from_secs(5)).await;
    Ok(())
}

fn rustls_provider() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
}
