//! Live reads of pods and nodes: the evidence for an endpoint or a node that vanished. Never from a cache.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client};
use model::{
    fact::{Evidence, PodRef},
    node::NodeRef,
};
use runtime::{Kind, Tasks};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;

use crate::{engine::Finding, index::ProofRequest};

const READ_TIMEOUT: Duration = Duration::from_secs(5);
const READS_AT_ONCE: usize = 16;

/// Reads pods and nodes, a bounded number at once.
#[derive(Clone)]
pub struct Prover {
    client: Client,
    permits: Arc<Semaphore>,
    findings: mpsc::Sender<Finding>,
    tasks: Tasks,
}

impl Prover {
    pub fn new(client: Client, findings: mpsc::Sender<Finding>, tasks: Tasks) -> Self {
        Self {
            client,
            permits: Arc::new(Semaphore::new(READS_AT_ONCE)),
            findings,
            tasks,
        }
    }

    /// Answers with a [`Finding::Proven`]. A read that fails proves nothing.
    pub fn prove(&self, request: ProofRequest) {
        let Self {
            client,
            permits,
            findings,
            tasks,
        } = self.clone();
        tasks.spawn(Kind::Job, "proof", async move {
            let ProofRequest { service, key, pod } = request;
            let evidence = match &pod {
                Some(pod) => {
                    let _permit = permits.acquire().await;
                    read(&client, pod).await.unwrap_or_else(|error| {
                        tracing::info!(pod = %pod.name, namespace = %pod.namespace, error, "a pod could not be read");
                        Evidence::None
                    })
                }
                None => Evidence::None,
            };
            // The engine ends first at a shutdown; nobody wants the answer then.
            findings.send(Finding::Proven { service, key, evidence }).await.ok();
        });
    }

    /// Answers with a [`Finding::NodeGone`] if it is. A read that fails proves nothing.
    pub fn prove_node(&self, node: NodeRef) {
        let Self {
            client,
            permits,
            findings,
            tasks,
        } = self.clone();
        tasks.spawn(Kind::Job, "proof of a node", async move {
            let _permit = permits.acquire().await;
            match is_gone(&client, &node).await {
                Ok(true) => {
                    // The engine ends first at a shutdown; nobody wants the answer then.
                    findings.send(Finding::NodeGone(node)).await.ok();
                }
                Ok(false) => {}
                Err(error) => tracing::info!(node = %node.name, error, "a node could not be read"),
            }
        });
    }
}

/// Whether a live read finds no node of that name, or another.
async fn is_gone(client: &Client, node: &NodeRef) -> Result<bool, String> {
    let api = Api::<Node>::all(client.clone());
    let read = timeout(READ_TIMEOUT, api.get_metadata_opt(&node.name)).await;
    let found = read.map_err(|_| "the API server did not answer in time".to_owned())?;
    let found = found.map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(true) };
    let uid = found.metadata.uid.and_then(|uid| Uuid::parse_str(&uid).ok());
    Ok(uid.is_some_and(|uid| uid != node.uid))
}

/// What a live read of the pod shows.
pub async fn read(client: &Client, pod: &PodRef) -> Result<Evidence, String> {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    let read = timeout(READ_TIMEOUT, api.get_metadata_opt(&pod.name)).await;
    let found = read.map_err(|_| "the API server did not answer in time".to_owned())?;
    let found = found.map_err(|error| error.to_string())?;
    let Some(found) = found else {
        return Ok(Evidence::PodGone);
    };
    let uid = found
        .metadata
        .uid
        .as_deref()
        .and_then(|uid| Uuid::parse_str(uid).ok());
    Ok(match uid {
        None => Evidence::None,
        Some(uid) if uid != pod.uid => Evidence::PodGone,
        Some(_) if found.metadata.deletion_timestamp.is_some() => Evidence::Terminating,
        Some(_) => Evidence::NotSelected,
    })
}
