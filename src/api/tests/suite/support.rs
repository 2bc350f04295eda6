//! The REST API in this process, over a database of its own.

use std::{io::Cursor, time::Duration};

use anyhow::{Context, ensure};
use api::rest;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use clap::Parser;
use control::{ApiRole, Control, Expected, Settings, TokenSpec, Write};
use model::{
    cluster::{ClusterSpec, Mode},
    ownership::Serve,
};
use runtime::{Kind, Tasks, telemetry::Registry};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{Hub, Metrics, Options, Store};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// The group `web`.
pub(crate) const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/1ce5b7da835c9ffb";

/// The OpenAPI document.
pub(crate) fn document() -> Value {
    serde_json::from_str(&rest::openapi::document()).unwrap()
}

pub(crate) struct Api {
    pub(crate) control: Control,
    pub(crate) store: Store,
    router: Router,
    pub(crate) admin: String,
    pub(crate) viewer: String,
    /// The token of an agent of cluster `one`.
    pub(crate) agent: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Value,
}

/// A database of its own on the server that `ELBOW_TEST_DATABASE_URL` names.
async fn database() -> anyhow::Result<String> {
    let url = std::env::var("ELBOW_TEST_DATABASE_URL")
        .context("set ELBOW_TEST_DATABASE_URL to a Postgres that may be filled, or run `cargo xtask test`")?;
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::query(AssertSqlSafe(format!("create database {name}")))
        .execute(&mut connection)
        .await?;
    let (server, _) = url.rsplit_once('/').context("the URL names a database")?;
    Ok(format!("{server}/{name}"))
}

impl Api {
    /// The use cases over an empty database.
    pub(crate) async fn empty() -> anyhow::Result<Control> {
        Ok(Control::new(Self::database().await?, Settings::default()))
    }

    async fn database() -> anyhow::Result<Store> {
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
        Ok(store)
    }

    pub(crate) async fn start() -> anyhow::Result<Self> {
        let store = Self::database().await?;
        let control = Control::new(store.clone(), Settings::default());
        let admin = control.create_token(TokenSpec::admin("admin")).await?;
        let viewer = TokenSpec {
            role: ApiRole::Viewer,
            ..TokenSpec::admin("viewer")
        };
        let viewer = control.create_token(viewer).await?;
        let principal = control.authenticate(&admin).await?;
        let write = Write {
            expected: Expected::Anything,
            dry_run: false,
        };
        let (_, agent) = control
            .put_cluster(&principal, "one".parse()?, cluster_spec(), write)
            .await?;
        Ok(Self {
            router: rest::router(control.clone()),
            control,
            store,
            admin: admin.expose().to_owned(),
            viewer: viewer.expose().to_owned(),
            agent: agent.context("a new cluster has a token")?.expose().to_owned(),
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

    pub(crate) async fn send(&self, request: Request<Body>) -> anyhow::Result<Answer> {
        let response: Response<Body> = self.router.clone().oneshot(request).await?;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 * 1024 * 1024).await?;
        let is_stream = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "text/event-stream");
        let body = if bytes.is_empty() {
            Value::Null
        } else if is_stream {
            Value::String(String::from_utf8(bytes.to_vec())?)
        } else {
            serde_json::from_slice(&bytes).context("not JSON")?
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// The API itself.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// What `elbow` says to these words of an admin, and to what it reads.
    pub(crate) async fn elbow(&self, words: &str, input: &str) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = axum::serve(listener, self.router()).into_future();
        let arguments = ["elbow", "--url", &url, "--token", &self.admin];
        let cli = ctl::Cli::try_parse_from(arguments.into_iter().chain(words.split(' ')))?;
        let (reader, writer) = std::io::pipe()?;
        let input = Cursor::new(input.to_owned());
        let mut console = ctl::Console::new(writer, input, "2026-11-25T12:00:00Z".parse()?);
        tokio::select! {
            done = ctl::run(cli, &mut console) => done?,
            served = server => served?,
        }
        drop(console);
        Ok(std::io::read_to_string(reader)?)
    }

    /// Sends as an admin.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", self.bearer());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body))?).await
    }

    /// Makes a token as an admin; the answer has it and its id.
    pub(crate) async fn issue(&self, body: Value) -> anyhow::Result<Value> {
        self.issue_by(&self.admin, body).await
    }

    /// Makes a token by another one.
    pub(crate) async fn issue_by(&self, issuer: &str, body: Value) -> anyhow::Result<Value> {
        let answer = self.send_as(issuer, "POST", "/v1/tokens", Some(&body)).await?;
        ensure!(answer.status == StatusCode::CREATED, "{answer:?}");
        Ok(answer.body)
    }

    /// Sends by a token.
    pub(crate) async fn send_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body)?).await
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.admin)
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

impl Answer {
    /// The type of the problem.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// Every answer that is no success is a problem in its full form, and every answer has a request id.
    pub(crate) fn is_problem_or_success(&self) -> anyhow::Result<()> {
        ensure!(
            self.headers.contains_key("x-request-id"),
            "no request id: {self:?}"
        );
        if self.status.is_success() {
            return Ok(());
        }
        let content = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        ensure!(content == Some("application/problem+json"), "{self:?}");
        ensure!(self.kind().starts_with("/problems/"), "{self:?}");
        ensure!(self.body["status"] == self.status.as_u16(), "{self:?}");
        ensure!(
            self.body["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{self:?}"
        );
        Ok(())
    }
}
