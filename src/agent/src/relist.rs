//! Answers to a relist: consistent reads of a Service, all its slices, and the pods and nodes that are asked about.
//!
//! No resourceVersion is given, so the API server answers from its quorum. One read that fails, and there is no answer;
//! the service asks again.

use std::time::Duration;

use kube::{Api, Client, api::ListParams};
use model::{
    fact::{ObjectName, PodRef},
    node::NodeRef,
    stream::{Confirm, NodeReading, PodReading},
};
use runtime::{Kind, Tasks};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    engine::Finding,
    kinds::{EndpointSlice, Node, SERVICE_NAME, Service, Watched},
    proof,
};

const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server refused a read")]
    Kube(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("an object cannot be read")]
    Unreadable(#[from] crate::kinds::Unreadable),
    #[error("a pod could not be read: {0}")]
    Pod(String),
}

/// What a relist asks about.
#[derive(Clone, Debug)]
pub struct Relist {
    pub id: u64,
    pub service: ObjectName,
    pub pods: Vec<PodRef>,
    pub nodes: Vec<NodeRef>,
}

/// Reads, and answers with a [`Finding::Confirmed`] for the stream of `epoch`, or not at all.
pub fn spawn(relist: Relist, epoch: u64, client: Client, findings: mpsc::Sender<Finding>, tasks: &Tasks) {
    tasks.spawn(Kind::Job, "relist", async move {
        let service = relist.service.clone();
        match read(relist, &client).await {
            // The engine ends first at a shutdown; nobody wants the answer then.
            Ok(confirm) => {
                findings.send(Finding::Confirmed { epoch, confirm }).await.ok();
            }
            Err(error) => {
                tracing::warn!(%service, error = &error as &dyn std::error::Error, "nothing is confirmed");
            }
        }
    });
}

async fn read(relist: Relist, client: &Client) -> Result<Confirm, Error> {
    let Relist {
        id,
        service: object,
        pods,
        nodes,
    } = relist;
    let services = Api::<Service>::namespaced(client.clone(), &object.namespace);
    let service = timeout(READ_TIMEOUT, services.get_opt(&object.name)).await??;
    let service = service.map(Watched::fact).transpose()?;

    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &object.namespace);
    let of_service = ListParams::default().labels(&format!("{SERVICE_NAME}={}", object.name));
    let slices = timeout(READ_TIMEOUT, slices.list(&of_service)).await??;
    let slices = slices
        .items
        .into_iter()
        .map(Watched::fact)
        .collect::<Result<_, _>>()?;

    let mut readings = Vec::with_capacity(pods.len());
    for pod in pods {
        let evidence = proof::read(client, &pod).await.map_err(Error::Pod)?;
        readings.push(PodReading { pod, evidence });
    }
    let api = Api::<Node>::all(client.clone());
    let mut node_readings = Vec::with_capacity(nodes.len());
    for node in nodes {
        let found = timeout(READ_TIMEOUT, api.get_opt(&node.name)).await??;
        let found = found.map(Watched::fact).transpose()?;
        node_readings.push(NodeReading { node, found });
    }
    Ok(Confirm {
        relist_id: id,
        object,
        service,
        slices,
        pods: readings,
        nodes: node_readings,
    })
}
