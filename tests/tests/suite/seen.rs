//! What an operator sees of the built programs while they work: metrics, one trace from an event to AWS's request id, logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use awssim::JournalFilter;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use sandbox::{
    Progress, Wait,
    demo::{Sandbox, bind},
    free_port, wait_until,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tests::{
    MUTATING,
    metrics::{Exported, table},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const LIMIT: Duration = Duration::from_mins(1);
/// Histograms are most of it; targets, pods and groups are none of it.
const SERIES: usize = 1500;

/// A span as it came in.
#[derive(Clone, Debug)]
struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: BTreeMap<String, String>,
}

/// What receives OTLP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

fn text(value: Option<Any>) -> String {
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.into_iter().flat_map(|it| it.attributes);
            let mut service = attributes.filter(|it| it.key == "service.name");
            let service = text(service.next().and_then(|it| it.value?.value));
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let attributes = span.attributes.into_iter();
                let attributes = attributes.map(|it| (it.key, text(it.value.and_then(|value| value.value))));
                spans.push(Span {
                    service: service.clone(),
                    name: span.name,
                    trace: span.trace_id,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    attributes: attributes.collect(),
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens until the end of the test.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    /// The way of a trace from its root to the call of AWS that ended in this request, root first.
    fn way_to(&self, request_id: &str) -> Option<Vec<Span>> {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let call = spans.iter().find(|span| {
            span.attributes
                .get("request_id")
                .is_some_and(|id| id == request_id)
        })?;
        let mut way = vec![call.clone()];
        while let Some(parent) = spans
            .iter()
            .find(|span| span.trace == call.trace && span.id == way[way.len() - 1].parent)
        {
            way.push(parent.clone());
        }
        way.reverse();
        Some(way)
    }
}

struct World {
    sandbox: Sandbox,
    agent_admin: String,
    collector: Collector,
}

impl World {
    async fn start() -> Self {
        let collector = Collector::default();
        let otlp = collector.start().await;
        let options = [("--otlp-endpoint", &*otlp), ("--log-format", "json")];
        let mut sandbox = Sandbox::with(Progress::silent(), &options).await.unwrap();
        sandbox.agent.stop(LIMIT).await.unwrap();
        let admin = format!("127.0.0.1:{}", free_port());
        let options = [("--otlp-endpoint", &*otlp), ("--admin-listen", &*admin)];
        sandbox.agent = sandbox
            .another_agent("agent-2", &[&sandbox.server], &options)
            .await
            .unwrap();
        Self {
            sandbox,
            agent_admin: format!("http://{admin}"),
            collector,
        }
    }

    /// Pods come and go, and one request is refused.
    async fn be_busy(&self) {
        let sandbox = &self.sandbox;
        bind(&sandbox.plane, &sandbox.binding()).unwrap();
        for replicas in [1, 4, 1] {
            sandbox.scale(replicas).unwrap();
            sandbox
                .registered(usize::try_from(replicas).unwrap())
                .await
                .unwrap();
        }
        tests::condition(sandbox, "my-tgb-alb-ip", "Reconciled").await;
        let nothing = format!("/v1/holds/{}/release", uuid::Uuid::nil());
        let post = reqwest::Method::POST;
        let (status, _) = sandbox.server.try_call(post, &nothing, None).await.unwrap();
        assert_eq!(status, reqwest::StatusCode::NOT_FOUND);
    }

    async fn exported(&self, admin: &str) -> Exported {
        let answer = reqwest::get(format!("{admin}/metrics")).await.unwrap();
        Exported::read(&answer.text().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_seen_in_metrics_traces_and_logs() {
    if !tests::available() {
        return;
    }
    let world = World::start().await;
    world.be_busy().await;
    the_table_is_what_is_served(&world).await;
    the_time_to_the_call_is_measured(&world).await;
    a_trace_leads_from_an_event_to_the_request_of_aws(&world).await;
    every_write_is_one_line_and_no_line_has_a_token(&world);
}

async fn the_table_is_what_is_served(world: &World) {
    let admin = &world.sandbox.server.admin;
    // The count of everything comes by and by.
    let server = wait_until(LIMIT, "the census", &Progress::silent(), async || {
        let exported = world.exported(admin).await;
        let bindings = exported.sum("elbow_bindings", &[("reason", "Reconciled")]);
        if bindings > 0.0 {
            Ok(exported)
        } else {
            Err(Wait::not_yet(bindings))
        }
    })
    .await
    .unwrap();
    let agent = world.exported(&world.agent_admin).await;
    for (program, exported) in [("server", &server), ("agent", &agent)] {
        let wanted: BTreeSet<_> = table()
            .into_iter()
            .filter(|(_, metric)| metric.program == program || metric.program == "both")
            .map(|(name, _)| name)
            .collect();
        let served: BTreeSet<_> = exported.kinds.keys().cloned().collect();
        assert_eq!(served, wanted, "the {program} and deploy/monitoring/README.md");
        for (name, kind) in &exported.kinds {
            let metric = &table()[name];
            assert_eq!(*kind, metric.kind, "{name}");
            if let Some(labels) = exported.labels(name) {
                assert_eq!(labels, metric.labels, "{name}");
            }
        }
        assert!(
            exported.samples.len() < SERIES,
            "the {program} has {} series",
            exported.samples.len()
        );
        let mut unbounded = tests::pods(&world.sandbox).into_keys().collect::<Vec<_>>();
        unbounded.extend(["nginx", "my-tgb-alb-ip", "test-tg-ip"].map(str::to_owned));
        for sample in &exported.samples {
            let names = sample
                .labels
                .values()
                .find(|value| unbounded.iter().any(|name| value.contains(name)));
            assert_eq!(names, None, "{sample:?}");
        }
    }
    assert!(server.sum("elbow_streams_open", &[]) >= 1.0);
    assert!(server.sum("elbow_clusters", &[("state", "connected")]) >= 1.0);
    assert!(agent.sum("elbow_agent_watch_synced", &[("kind", "EndpointSlice")]) >= 1.0);
    assert!(agent.sum("elbow_agent_connected", &[]) >= 1.0);
    assert!(server.sum("elbow_aws_permits_total", &[("lane", "add")]) >= 1.0);
}

async fn the_time_to_the_call_is_measured(world: &World) {
    let exported = world.exported(&world.sandbox.server.admin).await;
    for action in MUTATING {
        let of = |name: &str| exported.sum(name, &[("action", action)]);
        let (events, ingests) = (
            of("elbow_event_to_call_seconds_count"),
            of("elbow_ingest_to_call_seconds_count"),
        );
        assert!(events >= 1.0, "{action} follows no event");
        assert!((events - ingests).abs() < 0.5, "{action}: {events} and {ingests}");
        let (since_event, since_ingest) = (
            of("elbow_event_to_call_seconds_sum"),
            of("elbow_ingest_to_call_seconds_sum"),
        );
        assert!(since_ingest > 0.0, "{action}: no time passed");
        assert!(
            since_ingest <= since_event,
            "{action}: {since_ingest} > {since_event}"
        );
        assert!(
            since_event / events < 30.0,
            "{action}: {since_event} s for {events}"
        );
    }
}

async fn a_trace_leads_from_an_event_to_the_request_of_aws(world: &World) {
    let journal = world.sandbox.aws().journal(&JournalFilter::default()).entries;
    let requests: Vec<_> = journal
        .into_iter()
        .filter(|entry| entry.action == "RegisterTargets")
        .map(|entry| entry.request_id)
        .collect();
    let way = wait_until(LIMIT, "a trace", &Progress::silent(), async || {
        let ways = requests.iter().filter_map(|id| world.collector.way_to(id));
        let whole = ways
            .into_iter()
            .find(|way| way.first().is_some_and(|root| root.service == "elbow-agent"));
        whole.ok_or_else(|| Wait::not_yet(format!("{} spans", world.collector.0.lock().unwrap().len())))
    })
    .await
    .unwrap();
    let names: Vec<_> = way.iter().map(|span| (&*span.service, &*span.name)).collect();
    assert_eq!(
        names,
        [
            ("elbow-agent", "tell"),
            ("elbow-server", "ingest"),
            ("elbow-server", "pass"),
            ("elbow-server", "call"),
        ]
    );
    assert_eq!(way[3].attributes["action"], "RegisterTargets");
    assert_eq!(way[3].attributes["outcome"], "ok");
    assert_eq!(way[1].attributes["cluster"], "democluster");
}

fn every_write_is_one_line_and_no_line_has_a_token(world: &World) {
    let folder = world.sandbox.installation.folder();
    let server = std::fs::read_to_string(folder.join("server-1.log")).unwrap();
    let lines: Vec<Value> = server
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for entry in world.sandbox.aws().journal(&JournalFilter::default()).entries {
        if entry.action.starts_with("Describe") {
            continue;
        }
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line["fields"]["request_id"] == *entry.request_id)
            .collect();
        assert!(!told.is_empty(), "no line tells of {entry:?}");
        // One rule is one line; targets are one line a call.
        assert!(!MUTATING.contains(&&*entry.action) || told.len() == 1, "{told:?}");
        for line in told {
            assert!(line["fields"]["plan"].is_string(), "{line}");
            assert_eq!(line["span"]["name"], "pass", "{line}");
        }
    }
    let secrets = [
        world
            .sandbox
            .installation
            .admin_token()
            .expose_secret()
            .to_owned(),
        std::fs::read_to_string(folder.join("democluster.token")).unwrap(),
    ];
    let logs = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let logs: Vec<_> = logs
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    assert_eq!(logs.len(), 3, "{logs:?}");
    for path in logs {
        let text = std::fs::read_to_string(&path).unwrap();
        // The first agent may have ended before it had something to say.
        let silent = text.is_empty() && !path.ends_with("agent-1.log");
        assert!(!silent, "{}", path.display());
        for secret in &secrets {
            assert!(secret.len() > 20, "no token");
            // The random part alone would do, too.
            assert!(!text.contains(&secret[12..]), "{} has a token", path.display());
        }
    }
}
