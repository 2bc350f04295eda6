//! A database of its own for each test, a cluster in it, and short words for facts.

use std::{future::Future, net::IpAddr, time::Duration};

use anyhow::{Context, Result};
use jiff::SignedDuration;
use model::{
    BindingId, ClusterId, Name, PlanId, TargetGroupArn, TargetKey,
    binding::{BindingSpec, PortRef},
    cluster::{ClusterSpec, Mode},
    condition::Problem,
    fact::{
        AddressFamily, Endpoint, EndpointSlice, ObjectName, ObjectVersion, PodRef, Protocol, Service,
        ServicePort, SlicePort,
    },
    group::GroupSnapshot,
    guard::Unbinding,
    ownership::{Marks, Serve},
    plan::{Addition, Plan, Step, Subtraction, Why},
    stream::{Change, Source, Tombstone},
    target::Target,
    target_group::TargetGroupSpec,
};
use prometheus_client::registry::Registry;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Fence, Ingested, JudgedSource, Listener, Metrics, Options, Store, Stream, Wake};
use uuid::Uuid;

pub(crate) const WAIT: Duration = Duration::from_secs(20);
pub(crate) const NAMESPACE: &str = "shop";

pub(crate) struct Fixture {
    pub(crate) store: Store,
    /// Beside the store, for what it does not offer.
    pub(crate) sql: PgConnection,
    pub(crate) cluster: ClusterId,
    pub(crate) stream: Stream,
    _database: Database,
}

/// Goes with its test, unless the test panicked: then there is something to look at.
struct Database {
    server: String,
    name: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: the test's is busy with this very call.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut server = PgConnection::connect(&server).await?;
                let statement = format!("drop database {name} with (force)");
                sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await?;
                anyhow::Ok(())
            })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("database {} is left over", self.name);
        }
    }
}

impl Fixture {
    /// An empty database with the cluster `alpha`, whose agent has stated that there is no object.
    pub(crate) async fn new() -> Result<Self> {
        let url = std::env::var("ELBOW_TEST_DATABASE_URL").context(
            "set ELBOW_TEST_DATABASE_URL to a Postgres that may be filled, or run `cargo xtask test`",
        )?;
        let name = format!("store_{}", Uuid::new_v4().simple());
        let mut server = PgConnection::connect(&url).await?;
        sqlx::query(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut server)
            .await?;
        let database = Database {
            server: url.clone(),
            name: name.clone(),
        };
        let (address, _) = url.rsplit_once('/').context("the URL names a database")?;
        let url = format!("{address}/{name}");
        let options = Options {
            max_connections: 8,
            timeout: WAIT,
        };
        let store = Store::connect(&url, options, Metrics::new(&mut Registry::default())).await?;
        store.migrate().await?;
        let sql = PgConnection::connect(&url).await?;
        let cluster = store
            .put_cluster("test", &name_of("alpha"), &cluster_spec(), None)
            .await?
            .into_inner()
            .id;
        let stream = open(&store, cluster).await?;
        let fixture = Self {
            store,
            sql,
            cluster,
            stream,
            _database: database,
        };
        fixture.state(Change::Reset(Vec::new())).await?;
        Ok(fixture)
    }

    pub(crate) async fn state(&self, change: Change<JudgedSource>) -> Result<Ingested> {
        Ok(self
            .store
            .ingest_sources(self.stream, &change, None, &Unbinding::default())
            .await?)
    }

    pub(crate) async fn upsert(&self, sources: impl IntoIterator<Item = JudgedSource>) -> Result<Ingested> {
        self.state(Change::Patch {
            upserted: sources.into_iter().collect(),
            deleted: Vec::new(),
        })
        .await
    }

    pub(crate) async fn delete(&self, sources: impl IntoIterator<Item = JudgedSource>) -> Result<Ingested> {
        let deleted = sources
            .into_iter()
            .map(|JudgedSource { source, .. }| Tombstone {
                object: source.object,
                uid: source.version.uid,
            })
            .collect();
        self.state(Change::Patch {
            upserted: Vec::new(),
            deleted,
        })
        .await
    }

    pub(crate) async fn snapshot(&self, arn: &TargetGroupArn) -> Result<GroupSnapshot> {
        Ok(self.store.group(arn, SignedDuration::from_mins(2)).await?)
    }

    /// The only binding to a group.
    pub(crate) async fn binding(&self, arn: &TargetGroupArn) -> Result<model::binding::Binding> {
        let snapshot = self.snapshot(arn).await?;
        let [bound] = &snapshot.bindings[..] else {
            anyhow::bail!("{} bindings", snapshot.bindings.len())
        };
        Ok(bound.binding.clone())
    }

    /// The lease of the only shard.
    pub(crate) async fn fence(&self) -> Result<Fence> {
        let leases = self.store.lease("replica-0", Duration::from_mins(10), 10).await?;
        Ok(leases.first().context("a shard to lease")?.fence())
    }

    /// Ages everything that the rule on many deletions looks at.
    pub(crate) async fn age(&mut self, seconds: i32) -> Result<()> {
        for statement in [
            "update bindings set created_at = created_at - make_interval(secs => $1::int)",
            "update unbindings set at = at - make_interval(secs => $1::int),
                bound_since = bound_since - make_interval(secs => $1::int)",
        ] {
            sqlx::query(statement)
                .bind(seconds)
                .execute(&mut self.sql)
                .await?;
        }
        Ok(())
    }
}

pub(crate) async fn open(store: &Store, cluster: ClusterId) -> Result<Stream> {
    let opened = store
        .open_stream(cluster, "agent-0", 0, "kube-system-uid")
        .await?;
    Ok(Stream {
        cluster,
        epoch: opened.epoch,
    })
}

pub(crate) fn name_of(name: &str) -> Name {
    name.parse().unwrap()
}

pub(crate) fn cluster_spec() -> ClusterSpec {
    ClusterSpec {
        account: "123456789012".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        vpc_id: "vpc-0a1b2c3d".parse().unwrap(),
        aws_name: None,
        mode: Mode::Full,
        serve: Serve::All,
        bind_undeclared: false,
        roles: Vec::new(),
    }
}

pub(crate) fn arn(name: &str) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/{name}/1ce5b7da835c9ffb")
        .parse()
        .unwrap()
}

pub(crate) fn group_spec(name: &str) -> TargetGroupSpec {
    TargetGroupSpec {
        arn: arn(name),
        clusters: vec![name_of("alpha")],
        grants: Vec::new(),
    }
}

pub(crate) fn spec(group: &str, service: &str) -> BindingSpec {
    BindingSpec {
        target_group: arn(group),
        service: service.to_owned(),
        port: PortRef::Number(80),
        target_type: None,
        ip_address_type: None,
        vpc_id: None,
        protocol: None,
        networking: Vec::new(),
        node_selector: None,
        shared: false,
        role: None,
        warnings: Vec::new(),
    }
}

/// The object `name`, bound to the group and service of the same name; its UID follows from its name.
pub(crate) fn source(name: &str) -> JudgedSource {
    judged(name, 1, Ok(spec(name, name)))
}

pub(crate) fn judged(
    name: &str,
    resource_version: u64,
    verdict: Result<BindingSpec, Problem>,
) -> JudgedSource {
    let source = Source {
        object: object(name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version,
        },
        generation: 1,
        spec: json!({ "of": resource_version }),
        deleting: false,
        marks: Some(Marks::default()),
    };
    JudgedSource { source, verdict }
}

pub(crate) fn uid(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Uuid::from_bytes(bytes)
}

pub(crate) fn object(name: &str) -> ObjectName {
    ObjectName::new(NAMESPACE, name)
}

pub(crate) fn service(name: &str, resource_version: u64) -> Service {
    Service {
        object: object(name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version,
        },
        service_type: "ClusterIP".to_owned(),
        ports: vec![ServicePort {
            name: String::new(),
            port: 80,
            protocol: Protocol::Tcp,
            node_port: None,
        }],
        selector: [("app".to_owned(), name.to_owned())].into(),
    }
}

pub(crate) fn slice(name: &str, of: &str, resource_version: u64, addresses: &[&str]) -> EndpointSlice {
    EndpointSlice {
        object: object(name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version,
        },
        service: of.to_owned(),
        family: AddressFamily::Ipv4,
        ports: vec![SlicePort {
            name: String::new(),
            port: Some(8080),
            protocol: Protocol::Tcp,
        }],
        endpoints: addresses
            .iter()
            .map(|address| Endpoint {
                addresses: vec![address.parse().unwrap()],
                ready: Some(true),
                serving: None,
                terminating: None,
                node: None,
                zone: None,
                pod: Some(pod(address)),
            })
            .collect(),
    }
}

pub(crate) fn pod(address: &str) -> PodRef {
    PodRef {
        namespace: NAMESPACE.to_owned(),
        name: format!("pod-{address}"),
        uid: uid(address),
    }
}

pub(crate) fn key(address: &str) -> TargetKey {
    TargetKey::ip(address.parse::<IpAddr>().unwrap(), 8080)
}

pub(crate) fn addition(address: &str, bindings: &[BindingId]) -> Addition {
    Addition {
        target: Target {
            key: key(address),
            zone: None,
        },
        bindings: bindings.to_vec(),
        pod: Some(pod(address)),
        why: Why::Wanted,
    }
}

pub(crate) fn subtraction(address: &str, ground: model::ledger::Ground) -> Subtraction {
    Subtraction {
        target: Target {
            key: key(address),
            zone: None,
        },
        ground,
    }
}

pub(crate) fn plan(group: &str, steps: Vec<Step>) -> Plan {
    Plan {
        target_group: arn(group),
        steps,
        holds: Vec::new(),
        marks: [].into(),
        relists: Vec::new(),
        observe: None,
        wake_at: None,
        statuses: [].into(),
    }
}

pub(crate) fn plan_id() -> PlanId {
    PlanId(Uuid::new_v4())
}

/// What is heard until the marker that is sent last: notifications come in the order of commits.
pub(crate) async fn heard(listener: &mut Listener, sql: &mut PgConnection) -> Result<Vec<Wake>> {
    let marker = ClusterId(Uuid::new_v4());
    sqlx::query("select pg_notify('elbow', $1)")
        .bind(format!("c {marker}"))
        .execute(sql)
        .await?;
    let mut wakes = Vec::new();
    loop {
        let wake = tokio::time::timeout(WAIT, listener.next())
            .await
            .context("the marker was not heard")??;
        if wake == Wake::Cluster(marker) {
            return Ok(wakes);
        }
        // Those who follow are told of every change; here it matters who works on it.
        if wake != Wake::Events {
            wakes.push(wake);
        }
    }
}

/// Every row of every table, with the transaction that wrote it.
pub(crate) async fn rows(sql: &mut PgConnection) -> Result<Vec<String>> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by 1")
            .fetch_all(&mut *sql)
            .await?;
    let mut rows = Vec::new();
    for table in tables {
        let statement = format!("select '{table} ' || xmin || ' ' || t::text from {table} t order by 1");
        rows.extend(
            sqlx::query_scalar::<_, String>(AssertSqlSafe(statement))
                .fetch_all(&mut *sql)
                .await?,
        );
    }
    Ok(rows)
}

/// Who locked each lease last. A lock is a write of its own: who has nothing to say must take none.
pub(crate) async fn lease_locks(sql: &mut PgConnection) -> Result<Vec<String>> {
    Ok(
        sqlx::query_scalar("select shard || ' ' || xmax from shards order by 1")
            .fetch_all(sql)
            .await?,
    )
}

/// Asks again until the answer is there.
pub(crate) async fn eventually<T, F: Future<Output = Result<Option<T>>>>(ask: impl Fn() -> F) -> Result<T> {
    let until = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, until)
        .await
        .context("it did not become so")?
}
