//! A service that an agent streams to: it keeps what it is told, and says what a test wants said.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{
    ownership::Surroundings,
    stream::{Hello, Statement, Update},
};
use runtime::{Kind, Tasks};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use wire::{
    agent::v1::{
        self as v1, AgentMessage, ServerMessage, agent_message, agent_service_server::AgentService,
        agent_service_server::AgentServiceServer, server_message::Message,
    },
    convert::Stamped,
};

use crate::mirror::Mirror;

pub(crate) const TOKEN: &str = "the-token-of-this-cluster";
const DEADLINE: Duration = Duration::from_secs(30);

/// What was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) mirror: Mirror,
    pub(crate) statements: Vec<Statement>,
    pub(crate) heartbeats: usize,
    pub(crate) surroundings: Option<Surroundings>,
    pub(crate) ended: usize,
}

impl Told {
    pub(crate) fn updates(&self) -> impl Iterator<Item = &Update> {
        self.statements.iter().filter_map(|statement| match statement {
            Statement::Update { update, .. } => Some(update),
            _ => None,
        })
    }
}

type Out = mpsc::Sender<Result<ServerMessage, Status>>;

#[derive(Clone)]
pub(crate) struct Service {
    told: watch::Sender<Told>,
    out: Arc<Mutex<Option<Out>>>,
    services: Arc<Mutex<Vec<v1::ServiceName>>>,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Subscribes every stream to `services`, pairs of namespace and name.
    pub(crate) async fn start(services: &[(&str, &str)], tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let services = services.iter().map(|(namespace, name)| v1::ServiceName {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
        });
        let service = Self {
            told: watch::Sender::new(Told::default()),
            out: Arc::default(),
            services: Arc::new(Mutex::new(services.collect())),
            address: listener.local_addr().unwrap(),
        };
        let serving = Server::builder()
            .add_service(AgentServiceServer::new(service.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tasks.spawn(Kind::Job, "service", async { serving.await.unwrap() });
        service
    }

    pub(crate) async fn say(&self, message: Message) {
        let out = self.out.lock().unwrap().clone().expect("a stream is open");
        out.send(Ok(ServerMessage {
            message: Some(message),
        }))
        .await
        .unwrap();
    }

    pub(crate) fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Waits until what was told satisfies `condition`.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Told) -> bool) -> Told {
        let mut told = self.told.subscribe();
        let waiting = told.wait_for(condition);
        if let Ok(told) = tokio::time::timeout(DEADLINE, waiting).await {
            return told.unwrap().clone();
        }
        panic!("waited in vain for {what}: {:#?}", self.told())
    }
}

#[tonic::async_trait]
impl AgentService for Service {
    type ConnectStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let bearer = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if bearer != Some(&format!("Bearer {TOKEN}")) {
            return Err(Status::unauthenticated("no token of this cluster"));
        }
        let mut inbound = request.into_inner();
        let Some(AgentMessage {
            message: Some(agent_message::Message::Hello(hello)),
            ..
        }) = inbound.message().await?
        else {
            return Err(Status::invalid_argument("no Hello"));
        };
        let hello = Hello::try_from(hello).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let epoch = hello.last_epoch + 1;
        self.told.send_modify(|told| told.hellos.push(hello));

        let (out, queue) = mpsc::channel(64);
        let welcome = v1::Welcome {
            epoch,
            protocol: wire::PROTOCOL,
            version: "test".into(),
            heartbeat_seconds: 1,
        };
        let subscribe = v1::Subscribe {
            services: self.services.lock().unwrap().clone(),
            nodes: true,
            pods: true,
        };
        for message in [Message::Welcome(welcome), Message::Subscribe(subscribe)] {
            out.try_send(Ok(ServerMessage {
                message: Some(message),
            }))
            .unwrap();
        }
        *self.out.lock().unwrap() = Some(out.clone());
        let told = self.told.clone();
        Tasks::new().spawn(Kind::Job, "receive", async move {
            while let Ok(Some(message)) = inbound.message().await {
                let Stamped {
                    epoch: stamped,
                    statement,
                } = Stamped::try_from(message).expect("it is well-formed");
                assert_eq!(stamped, epoch);
                let ack = match &statement {
                    Statement::Update { revision, .. } => Some(*revision),
                    _ => None,
                };
                told.send_modify(|told| match statement {
                    Statement::Heartbeat { surroundings } => {
                        told.heartbeats += 1;
                        told.surroundings = surroundings.or(told.surroundings.take());
                    }
                    statement => {
                        if let Statement::Update { update, .. } = &statement {
                            told.mirror.fold(update.clone());
                        }
                        told.statements.push(statement);
                    }
                });
                if let Some(revision) = ack {
                    let ack = ServerMessage {
                        message: Some(Message::Ack(v1::Ack { revision })),
                    };
                    if out.send(Ok(ack)).await.is_err() {
                        break;
                    }
                }
            }
            told.send_modify(|told| told.ended += 1);
        });
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}
