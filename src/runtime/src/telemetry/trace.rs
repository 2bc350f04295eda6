//! OpenTelemetry traces over OTLP, and how one trace goes on from process to process: as a W3C `traceparent`
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use opentelemetry::{propagation::TextMapPropagator as _, trace::TracerProvider as _};
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithTonicConfig as _, tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, registry::LookupSpan};

/// How long a batch may take. A collector that is away costs traces, never work.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER: &str = "traceparent";

/// Where traces are sent, as whom.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// OTLP over gRPC: `http://HOST:4317` or `https://…`.
    pub endpoint: String,
    /// `service.name`.
    pub service: &'static str,
    pub version: &'static str,
    /// `service.instance.id`: which of the replicas.
    pub instance: String,
}

/// The way to the collector; without one, nothing is sent.
#[derive(Debug, Default)]
pub struct Tracing(Option<SdkTracerProvider>);

impl Tracing {
    /// Nothing is sent yet, and a collector that is not there is no error.
    pub(super) fn to(otlp: &Otlp) -> anyhow::Result<Self> {
        let Otlp {
            endpoint,
            service,
            version,
            instance,
        } = otlp;
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT);
        if endpoint.starts_with("https://") {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        let exporter = exporter
            .build()
            .with_context(|| format!("traces cannot be sent to {endpoint}: give http://HOST:4317"))?;
        let resource = Resource::builder()
            .with_service_name(*service)
            .with_attribute(opentelemetry::KeyValue::new("service.version", *version))
            .with_attribute(opentelemetry::KeyValue::new(
                "service.instance.id",
                instance.clone(),
            ))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(Some(provider)))
    }

    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.0.as_ref()?.tracer("elbow");
        Some(tracing_opentelemetry::layer().with_tracer(tracer))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(EXPORT_TIMEOUT)
        {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// The trace of this span, for whoever goes on with it elsewhere. `None`: no traces are sent.
pub fn traceparent(span: &tracing::Span) -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.remove(HEADER)
}

/// Makes the span part of a trace that began elsewhere. What is no `traceparent` begins a trace of its own.
pub fn continue_trace(span: &tracing::Span, traceparent: &str) {
    let headers = HashMap::from([(HEADER.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&headers);
    // Without a collector there is no trace to be part of.
    span.set_parent(context).ok();
}
