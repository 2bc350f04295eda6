//! The admin port: `/livez`, `/readyz`, `/metrics`. Plain HTTP, for the kubelet and Prometheus; no secret passes here.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::{Kind, Tasks, telemetry::Registry};

/// What must be true before the process takes work, by name.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<RwLock<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// States whether `name` is ready. A name counts from its first mention.
    pub fn set(&self, name: &'static str, ready: bool) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, ready);
    }

    /// The names that are not ready; empty: ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .filter(|(_, ready)| !**ready)
            .map(|(name, _)| *name)
            .collect()
    }
}

/// What the admin port shows.
#[derive(Clone, Debug)]
pub struct Admin {
    pub registry: Arc<Registry>,
    pub readiness: Readiness,
}

/// Serves the admin port until the soft stop.
pub fn serve(listener: TcpListener, admin: Admin, tasks: &Tasks) {
    let soft = tasks.soft();
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin);
    tasks.spawn(Kind::Critical, "admin", async move {
        let stop = async move { soft.cancelled().await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(error = %error, "the admin port failed");
        }
    });
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    let missing = admin.readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let mut body = String::new();
    for name in missing {
        writeln!(body, "waiting for {name}").expect("writing to a String cannot fail");
    }
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut body = String::new();
    match prometheus_client::encoding::text::encode(&mut body, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [("content-type", kind)], body)
        }
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [("content-type", "text/plain; charset=utf-8")],
            error.to_string(),
        ),
    }
}
