//! gRPC for agents: `elbow.agent.v1.AgentService`.

mod answer;
mod metrics;
pub mod server;
mod stream;

use std::time::Duration;

use control::Control;
use runtime::{Kind, Tasks};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::agent::v1::{AgentMessage, ServerMessage, agent_service_server::AgentService};

pub use self::metrics::Metrics;
use crate::status::principal;

/// Messages to one agent that wait for it to read. A slower agent is cut; it loses nothing, since it resyncs.
const OUTBOUND_QUEUE: usize = 16;

/// How long an agent is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a new stream says Hello.
    pub hello: Duration,
    /// Until a message finds room in the queue: an agent that does not read is cut.
    pub send: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            send: Duration::from_secs(10),
        }
    }
}

/// The service that agents connect to.
#[derive(Clone)]
pub struct Agents {
    control: Control,
    tasks: Tasks,
    patience: Patience,
    metrics: Metrics,
}

impl Agents {
    pub fn new(control: Control, tasks: Tasks, patience: Patience, metrics: Metrics) -> Self {
        Self {
            control,
            tasks,
            patience,
            metrics,
        }
    }
}

#[tonic::async_trait]
impl AgentService for Agents {
    type ConnectStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let principal = principal(&self.control, request.metadata()).await?;
        let (outbound, answers) = mpsc::channel(OUTBOUND_QUEUE);
        let stream = stream::AgentStream::new(
            self.control.clone(),
            principal,
            request.into_inner(),
            outbound,
            self.tasks.soft(),
            self.patience,
            self.metrics.clone(),
        );
        self.tasks.spawn(Kind::Job, "agent stream", stream.run());
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
