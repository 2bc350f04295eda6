//! M8: all agents reconnect at once, each with all that it knows, and nothing has changed meanwhile. The agents are a
//! driver that speaks their gRPC; the server, its Postgres and AWS are as everywhere.

use std::{net::Ipv4Addr, time::Duration};

use awssim::Throttling;
use futures::{StreamExt, future::join_all, stream};
use model::{
    fact::{
        AddressFamily, Endpoint, EndpointSlice, ObjectName, ObjectVersion, PodRef, Protocol, Service,
        ServicePort, SlicePort,
    },
    ownership::Marks,
    stream::{Change, Hello, Source, Statement, Update},
};
use runtime::{Kind, Tasks};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use uuid::Uuid;
use wire::{
    agent::v1::{
        AgentMessage, ServerMessage, agent_message::Message as Said,
        agent_service_client::AgentServiceClient, server_message::Message as Heard,
    },
    convert::agent_message,
};

use crate::{figures, world::World};

/// A tenth of the full storm.
const AGENTS: u32 = 100;
/// Of an agent's one Service, in slices as large as Kubernetes makes them.
const ENDPOINTS: u32 = 1_000;
const IN_A_SLICE: u32 = 100;
/// Requests under way at once while the clusters are registered.
const WRITERS: usize = 8;
/// Calls enough that the first registration does not take the day.
const BUDGET: [(&str, &str); 1] = [("--aws-budget-registration", "1000/1000")];

pub(crate) async fn run() {
    let names: Vec<_> = (0..AGENTS).map(name).collect();
    let world = World::without_clusters(&names, &BUDGET).await;
    world
        .aws()
        .update_settings(|settings| settings.throttling = Throttling::off());
    let agents: Vec<_> = stream::iter(0..AGENTS)
        .map(|index| Agent::register(&world, index))
        .buffer_unordered(WRITERS)
        .collect()
        .await;
    let streams = connect(&agents).await;
    let all = usize::try_from(AGENTS * ENDPOINTS).unwrap();
    world
        .registrations(0, |calls| {
            calls.iter().map(|call| call.targets).sum::<usize>() >= all
        })
        .await;
    // As when a server or a load balancer goes.
    streams.stop(Duration::from_secs(10)).await;
    world.rest().await;
    let (since, begun) = (world.last_call(), Instant::now());
    let streams = connect(&agents).await;
    let took = begun.elapsed().as_secs_f64();
    world.rest().await;
    streams.stop(Duration::from_secs(10)).await;
    let calls = world.calls_since(since);
    let writes = calls
        .iter()
        .filter(|call| !call.action.starts_with("Describe"))
        .count();
    figures::tell(
        "M8 reconnect storm",
        &format!("{AGENTS} agents × {ENDPOINTS} endpoints at once"),
        &format!(
            "consistent in {took:.1} s, {writes} AWS writes; mark 30 s, 0; ours ÷ mark {:.2}",
            took / 30.0
        ),
    );
}

/// Connects all at once, and waits until each has told everything and was acknowledged. The streams go on until the
/// tasks are stopped.
async fn connect(agents: &[Agent]) -> Tasks {
    let tasks = Tasks::new();
    let talks = join_all(agents.iter().map(Agent::connect)).await;
    for talk in talks {
        let stop = tasks.soft();
        tasks.spawn(Kind::Job, "agent", async move {
            stop.run_until_cancelled(talk.keep_alive()).await;
        });
    }
    tasks
}

fn name(agent: u32) -> String {
    format!("agent-{agent}")
}

/// An agent with what it knows: a binding, its Service and the Service's slices.
struct Agent {
    index: u32,
    token: SecretString,
    binding: Source,
    channel: Channel,
}

impl Agent {
    async fn register(world: &World, index: u32) -> Self {
        let name = name(index);
        let arn = &world.groups[&name];
        let token = world.server.register_cluster(&name, "full").await.unwrap();
        world
            .server
            .declare_target_group(&name, arn, &[&name])
            .await
            .unwrap();
        let binding = Source {
            object: ObjectName::new("default", "web"),
            version: version(index, 0),
            generation: 1,
            spec: json!({"serviceRef": {"name": "web", "port": 80}, "targetGroupARN": arn, "targetType": "ip"}),
            deleting: false,
            marks: Some(Marks::default()),
        };
        let ca = std::fs::read(world.installation.authority()).unwrap();
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let channel = Channel::from_shared(world.server.agents.clone())
            .unwrap()
            .tls_config(tls);
        Self {
            index,
            token,
            binding,
            channel: channel.unwrap().connect_lazy(),
        }
    }

    /// From the Hello to the acknowledgement of everything.
    async fn connect(&self) -> Talk {
        let (say, queue) = mpsc::channel(8);
        let hello = Hello {
            cluster: name(self.index).parse().unwrap(),
            instance: "driver".to_owned(),
            protocol: wire::PROTOCOL,
            version: "bench".to_owned(),
            last_epoch: 0,
            cluster_uid: name(self.index),
        };
        let hello = Said::Hello(hello.into());
        say.send(AgentMessage {
            message: Some(hello),
            origin: None,
        })
        .await
        .unwrap();
        let mut request = Request::new(ReceiverStream::new(queue));
        let bearer = format!("Bearer {}", self.token.expose_secret()).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let mut client = AgentServiceClient::new(self.channel.clone());
        let heard = client.connect(request).await.unwrap().into_inner();
        let mut talk = Talk { say, heard, epoch: 0 };
        let Some(Heard::Welcome(welcome)) = talk.hear().await else {
            panic!("no Welcome first");
        };
        talk.epoch = welcome.epoch;
        talk.tell(1, Update::Sources(Change::Reset(vec![self.binding.clone()])))
            .await;
        let everything = self.service();
        let last = 1 + u64::try_from(everything.len()).unwrap();
        let mut left = Some(everything);
        loop {
            match talk.hear().await {
                Some(Heard::Subscribe(subscribe)) if !subscribe.services.is_empty() => {
                    for (revision, update) in (2..).zip(left.take().into_iter().flatten()) {
                        talk.tell(revision, update).await;
                    }
                }
                Some(Heard::Ack(ack)) if ack.revision == last => return talk,
                Some(_) => {}
                None => panic!("the server ended the stream of {}", name(self.index)),
            }
        }
    }

    fn service(&self) -> Vec<Update> {
        let object = ObjectName::new("default", "web");
        let service = Service {
            object: object.clone(),
            version: version(self.index, 1),
            service_type: "ClusterIP".to_owned(),
            ports: vec![ServicePort {
                name: String::new(),
                port: 80,
                protocol: Protocol::Tcp,
                node_port: None,
            }],
            selector: [("app".to_owned(), "web".to_owned())].into(),
        };
        let slices = (0..ENDPOINTS.div_ceil(IN_A_SLICE)).map(|slice| self.slice(slice));
        let change = Change::Reset(slices.collect());
        vec![
            Update::Service {
                object: object.clone(),
                state: Some(service),
            },
            Update::Slices {
                service: object,
                change,
            },
        ]
    }

    fn slice(&self, slice: u32) -> EndpointSlice {
        let pods = (slice * IN_A_SLICE..ENDPOINTS).take(IN_A_SLICE as usize);
        EndpointSlice {
            object: ObjectName::new("default", format!("web-{slice}")),
            version: version(self.index, 2 + slice),
            service: "web".to_owned(),
            family: AddressFamily::Ipv4,
            ports: vec![SlicePort {
                name: String::new(),
                port: Some(80),
                protocol: Protocol::Tcp,
            }],
            endpoints: pods.map(|pod| self.endpoint(pod)).collect(),
        }
    }

    fn endpoint(&self, pod: u32) -> Endpoint {
        let address =
            Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + self.index * ENDPOINTS + pod);
        Endpoint {
            addresses: vec![address.into()],
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
            node: Some(format!("node-{}", pod % 50)),
            zone: Some("cn-north-1a".to_owned()),
            pod: Some(PodRef {
                namespace: "default".to_owned(),
                name: format!("web-{pod}"),
                uid: version(self.index, 1_000 + pod).uid,
            }),
        }
    }
}

fn version(agent: u32, object: u32) -> ObjectVersion {
    ObjectVersion {
        uid: Uuid::from_u64_pair((1 + agent).into(), (1 + object).into()),
        resource_version: 1,
    }
}

/// An open stream.
struct Talk {
    say: mpsc::Sender<AgentMessage>,
    heard: Streaming<ServerMessage>,
    epoch: u64,
}

impl Talk {
    async fn hear(&mut self) -> Option<Heard> {
        self.heard
            .message()
            .await
            .unwrap()
            .and_then(|message| message.message)
    }

    async fn tell(&self, revision: u64, update: Update) {
        let statement = Statement::Update { revision, update };
        self.say.send(agent_message(self.epoch, statement)).await.unwrap();
    }

    /// Listens and beats as an agent does that has nothing to say.
    async fn keep_alive(mut self) {
        let mut beat = interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                heard = self.heard.message() => if !matches!(heard, Ok(Some(_))) { return },
                _ = beat.tick() => {
                    let beat = agent_message(self.epoch, Statement::Heartbeat { surroundings: None });
                    if self.say.send(beat).await.is_err() { return }
                }
            }
        }
    }
}
