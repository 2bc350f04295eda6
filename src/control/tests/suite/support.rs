//! A control over a database of its own, with callers and a cluster.

use std::{net::IpAddr, time::Duration};

use anyhow::Context;
use control::{
    ApiRole, Control, Error, Expected, Principal, Settings, TokenSpec, Write,
    session::{Directive, Reply, Session},
    target_groups::GroupSpec,
};
use model::{
    Name, TargetGroupArn,
    cluster::{ClusterSpec, Mode},
    fact::{AddressFamily, Endpoint, EndpointSlice, ObjectName, ObjectVersion, Protocol, SlicePort},
    ownership::{Marks, Serve},
    stream::{Change, Hello, Source, Statement, Update},
    target_group::TargetGroupSpec,
};
use runtime::{Kind, Tasks, telemetry::Registry};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Hub, Metrics, Options, Store};
use uuid::Uuid;

pub(crate) const WRITE: Write = Write {
    expected: Expected::Anything,
    dry_run: false,
};
pub(crate) const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";

pub(crate) struct Fixture {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) admin: Principal,
    pub(crate) viewer: Principal,
}

/// A database of its own on the server that `ELBOW_TEST_DATABASE_URL` names.
async fn database() -> anyhow::Result<String> {
    let url = std::env::var("ELBOW_TEST_DATABASE_URL")
        .context("set ELBOW_TEST_DATABASE_URL to a Postgres that may be filled, or run `cargo xtask test`")?;
    let name = format!("t{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await?;
    let (server, _) = url.rsplit_once('/').context("the URL names a database")?;
    Ok(format!("{server}/{name}"))
}

impl Fixture {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Self::polling(Settings::default().poll).await
    }

    /// Which polls so often.
    pub(crate) async fn polling(poll: Duration) -> anyhow::Result<Self> {
        let options = Options {
            max_connections: 4,
            timeout: Duration::from_secs(20),
        };
        let store = Store::connect(
            &database().await?,
            options,
            Metrics::new(&mut Registry::default()),
        )
        .await?;
        store.migrate().await?;
        let settings = Settings {
            poll,
            ..Settings::default()
        };
        let control = Control::new(store.clone(), settings);
        let mut principals = Vec::new();
        for role in [ApiRole::Admin, ApiRole::Viewer] {
            let spec = TokenSpec {
                role,
                ..TokenSpec::admin(&format!("{role:?}"))
            };
            let token = control.create_token(spec).await?;
            principals.push(control.authenticate(&token).await?);
        }
        let (viewer, admin) = (principals.pop().unwrap(), principals.pop().unwrap());
        Ok(Self {
            control,
            store,
            admin,
            viewer,
        })
    }

    /// Lets the sessions be woken.
    pub(crate) fn spawn(&self, tasks: &Tasks) {
        let hub = Hub::new(self.store.clone());
        self.control.spawn(tasks, hub.subscribe());
        let soft = tasks.soft();
        tasks.spawn(Kind::Critical, "wakes", async move {
            soft.run_until_cancelled(hub.run()).await;
        });
    }

    /// Registers a cluster; answers its agent.
    pub(crate) async fn cluster(&self, name: &str) -> anyhow::Result<Principal> {
        let (_, token) = self
            .control
            .put_cluster(&self.admin, name.parse()?, cluster_spec(), WRITE)
            .await?;
        Ok(self
            .control
            .authenticate(&token.context("a new cluster has a token")?)
            .await?)
    }

    pub(crate) async fn declare(&self, name: &str, arn: &str, clusters: &[&str]) -> Result<(), Error> {
        let clusters = clusters.iter().map(|name| name.parse().unwrap()).collect();
        let spec = TargetGroupSpec {
            arn: arn.parse().unwrap(),
            clusters,
            grants: Vec::new(),
        };
        self.control
            .put_target_group(
                &self.admin,
                name.parse().unwrap(),
                GroupSpec::External(spec),
                WRITE,
            )
            .await
            .map(drop)
    }

    pub(crate) async fn bindings(&self) -> anyhow::Result<Vec<control::view::BindingView>> {
        let page = control::Page {
            cursor: None,
            limit: 100,
        };
        Ok(self.control.list_bindings(&self.admin, None, &page).await?.items)
    }
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

pub(crate) fn hello(cluster: &str) -> Hello {
    Hello {
        cluster: cluster.parse().unwrap(),
        instance: "agent-0".to_owned(),
        protocol: 1,
        version: "0.1.0".to_owned(),
        last_epoch: 0,
        cluster_uid: format!("uid-of-{cluster}"),
    }
}

pub(crate) fn source(name: &str, generation: i64, spec: Value) -> Source {
    Source {
        object: ObjectName::new("default", name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version: u64::try_from(generation).unwrap(),
        },
        generation,
        spec,
        deleting: false,
        marks: Some(Marks::default()),
    }
}

fn uid(name: &str) -> Uuid {
    Uuid::from_u128(
        name.bytes()
            .fold(1, |number, byte| (number << 8) | u128::from(byte)),
    )
}

pub(crate) fn by_arn(arn: &str) -> Value {
    json!({ "targetGroupARN": arn, "serviceRef": { "name": "web", "port": 80 } })
}

pub(crate) fn slice(name: &str, addresses: &[&str]) -> EndpointSlice {
    let endpoint = |address: &&str| Endpoint {
        addresses: vec![address.parse::<IpAddr>().unwrap()],
        ready: Some(true),
        serving: None,
        terminating: None,
        node: None,
        zone: None,
        pod: None,
    };
    EndpointSlice {
        object: ObjectName::new("default", name),
        version: ObjectVersion {
            uid: uid(name),
            resource_version: 1,
        },
        service: "web".to_owned(),
        family: AddressFamily::Ipv4,
        ports: vec![SlicePort {
            name: String::new(),
            port: Some(8080),
            protocol: Protocol::Tcp,
        }],
        endpoints: addresses.iter().map(endpoint).collect(),
    }
}

pub(crate) fn sources(change: Change<Source>) -> Update {
    Update::Sources(change)
}

pub(crate) fn slices(change: Change<EndpointSlice>) -> Update {
    Update::Slices {
        service: ObjectName::new("default", "web"),
        change,
    }
}

pub(crate) async fn state(session: &mut Session, revision: u64, update: Update) -> Result<Vec<Reply>, Error> {
    session.ingest(Statement::Update { revision, update }).await
}

/// The services of the last Subscribe.
pub(crate) fn subscribed(directives: &[Directive]) -> Option<Vec<ObjectName>> {
    directives.iter().rev().find_map(|directive| match directive {
        Directive::Subscribe { services, .. } => Some(services.clone()),
        _ => None,
    })
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn arn(text: &str) -> TargetGroupArn {
    text.parse().unwrap()
}
