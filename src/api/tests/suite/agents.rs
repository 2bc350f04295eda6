//! The agents' gRPC over a real socket.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use api::{
    agent::{Agents, Metrics, Patience, server},
    grpc::Public,
};
use model::{
    fact::{self, ObjectName},
    guard::Guards,
    plan::RelistRequest,
};
use runtime::{Tasks, telemetry::Registry};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue, transport::Endpoint};
use wire::agent::v1::{
    Absent, AgentMessage, Confirm, Evidence, Heartbeat, Hello, PodReading, PodRef, ServerMessage,
    SourceReset, SourceUpdate, agent_message::Message as Say, agent_service_client::AgentServiceClient,
    confirm, server_message::Message as Heard, source_update::Change,
};

use crate::support::{ARN, Api, cluster_spec};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long the service waits for an agent that does not read.
const IMPATIENT: Duration = Duration::from_millis(300);

struct Agent {
    say: mpsc::Sender<AgentMessage>,
    heard: Streaming<ServerMessage>,
}

pub(crate) struct Service {
    pub(crate) api: Api,
    pub(crate) url: String,
    tasks: Tasks,
}

impl Service {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let api = Api::start().await?;
        let tasks = Tasks::new();
        api.spawn(&tasks);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let impatient = Patience {
            send: IMPATIENT,
            ..Patience::default()
        };
        let url = format!("http://{}", listener.local_addr()?);
        server::serve(
            listener,
            None,
            Agents::new(
                api.control.clone(),
                tasks.clone(),
                impatient,
                Metrics::new(&mut Registry::default()),
            ),
            Public::new(api.control.clone()),
            &tasks,
        )
        .await?;
        Ok(Self { api, url, tasks })
    }

    async fn connect(&self, token: &str, first: AgentMessage) -> Result<Agent, Status> {
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        // A small window: what is not read soon waits at the server.
        let endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(unavailable)?
            .initial_stream_window_size(1024);
        let mut client = AgentServiceClient::new(endpoint.connect().await.map_err(unavailable)?);
        let (say, statements) = mpsc::channel(16);
        say.send(first)
            .await
            .map_err(|_| Status::internal("the queue is closed"))?;
        let mut request = Request::new(ReceiverStream::new(statements));
        let bearer =
            MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| Status::internal("no header"))?;
        request.metadata_mut().insert("authorization", bearer);
        let heard = client.connect(request).await?.into_inner();
        Ok(Agent { say, heard })
    }

    /// An agent of cluster `one` with its epoch.
    async fn agent(&self) -> anyhow::Result<(Agent, u64)> {
        let mut agent = self.connect(&self.api.agent, hello("one", 1)).await?;
        let Heard::Welcome(welcome) = agent.hear().await? else {
            bail!("no Welcome first")
        };
        Ok((agent, welcome.epoch))
    }

    /// The token of an agent of cluster `two`, which is registered for it.
    async fn second_token(&self) -> anyhow::Result<String> {
        let spec = serde_json::to_value(cluster_spec())?;
        let body = serde_json::json!({ "spec": spec }).to_string();
        let json = [("content-type", "application/json")];
        let answer = self.api.call("PUT", "/v1/clusters/two", &json, body).await?;
        Ok(answer.body["agentToken"]
            .as_str()
            .context("a new cluster has a token")?
            .to_owned())
    }

    pub(crate) async fn stop(self) {
        self.tasks.stop(PATIENCE).await;
    }
}

impl Agent {
    async fn hear(&mut self) -> anyhow::Result<Heard> {
        let message = timeout(PATIENCE, self.heard.message())
            .await
            .context("nothing was heard")??;
        message
            .context("the stream ended")?
            .message
            .context("a message says nothing")
    }

    async fn say(&self, message: Say) -> anyhow::Result<()> {
        Ok(self
            .say
            .send(AgentMessage {
                origin: None,
                message: Some(message),
            })
            .await?)
    }

    /// Hears on until it is told to go away or an error comes.
    async fn end(&mut self) -> anyhow::Result<Result<wire::agent::v1::GoAway, Status>> {
        loop {
            match timeout(PATIENCE, self.heard.message())
                .await
                .context("the stream goes on")?
            {
                Ok(Some(ServerMessage {
                    message: Some(Heard::GoAway(go_away)),
                })) => return Ok(Ok(go_away)),
                Ok(Some(_)) => {}
                Ok(None) => bail!("the stream ended without a word"),
                Err(status) => return Ok(Err(status)),
            }
        }
    }
}

fn hello(cluster: &str, protocol: u32) -> AgentMessage {
    let hello = Hello {
        cluster: cluster.to_owned(),
        instance: "agent-0".to_owned(),
        protocol,
        version: "0.1.0".to_owned(),
        last_epoch: 0,
        cluster_uid: "uid".to_owned(),
    };
    AgentMessage {
        origin: None,
        message: Some(Say::Hello(hello)),
    }
}

#[tokio::test]
async fn an_agent_is_welcomed_told_what_to_stream_and_acknowledged() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut agent, epoch) = service.agent().await?;
    ensure!(matches!(agent.hear().await?, Heard::Subscribe(subscribe) if subscribe.services.is_empty()));
    let reset = SourceReset {
        target_group_bindings: vec![],
        target_group_binding_count: Some(0),
    };
    agent
        .say(Say::Sources(SourceUpdate {
            epoch,
            revision: 1,
            change: Some(Change::Reset(reset)),
        }))
        .await?;
    ensure!(matches!(agent.hear().await?, Heard::Ack(ack) if ack.revision == 1));
    drop(agent);
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_reset_in_parts_is_taken_as_one_and_a_lost_part_takes_nothing() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut agent, epoch) = service.agent().await?;
    let reset = SourceReset {
        target_group_bindings: vec![],
        target_group_binding_count: Some(0),
    };
    let update = |revision| {
        let sources = SourceUpdate {
            epoch,
            revision,
            change: Some(Change::Reset(reset.clone())),
        };
        let message = AgentMessage {
            origin: None,
            message: Some(Say::Sources(sources)),
        };
        wire::parts::cut_at(message, 3)
    };
    for part in update(1) {
        agent.say.send(part).await?;
    }
    while !matches!(agent.hear().await?, Heard::Ack(ack) if ack.revision == 1) {}
    let mut lacking = update(2);
    lacking.remove(1);
    for part in lacking {
        // The stream may have ended over the first that does not follow.
        agent.say.send(part).await.ok();
    }
    let refused = agent.end().await?.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_may_not_state_is_refused_with_the_reason() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let unknown = control::Token::generate().expose().to_owned();
    let agent = service.api.agent.clone();
    let heartbeat = AgentMessage {
        origin: None,
        message: Some(Say::Heartbeat(Heartbeat {
            epoch: 1,
            surroundings: None,
        })),
    };
    for (token, first, code, word) in [
        ("nonsense", hello("one", 1), Code::Unauthenticated, "token"),
        (&unknown, hello("one", 1), Code::Unauthenticated, "token"),
        (
            &service.api.admin,
            hello("one", 1),
            Code::PermissionDenied,
            "agent",
        ),
        (&agent, hello("two", 1), Code::PermissionDenied, "`two`"),
        (&agent, hello("one", 9), Code::FailedPrecondition, "1 to 2"),
        (&agent, hello("ONE", 1), Code::InvalidArgument, "cluster"),
        (&agent, heartbeat, Code::InvalidArgument, "Hello"),
        (
            &agent,
            AgentMessage {
                message: None,
                origin: None,
            },
            Code::InvalidArgument,
            "Hello",
        ),
    ] {
        let status = match service.connect(token, first.clone()).await {
            Err(status) => status,
            Ok(mut agent) => agent.end().await?.err().context("sent away, not refused")?,
        };
        assert_eq!(status.code(), code, "{first:?}: {status:?}");
        assert!(status.message().contains(word), "{first:?}: {status:?}");
    }
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_older_of_two_streams_is_told_that_it_is_superseded() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut older, _) = service.agent().await?;
    let (newest, epoch) = service.agent().await?;
    let go_away = older.end().await?.map_err(|status| anyhow::anyhow!("{status}"))?;
    assert!(go_away.superseded, "{go_away:?}");
    newest
        .say(Say::Heartbeat(Heartbeat {
            epoch,
            surroundings: None,
        }))
        .await?;
    drop((older, newest));
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_stream_of_before_the_database_went_back_is_told_to_come_again_at_once() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut agent, _) = service.agent().await?;
    service.api.store.went_back().await?;
    let go_away = agent.end().await?.map_err(|status| anyhow::anyhow!("{status}"))?;
    assert!(!go_away.superseded, "nobody is in its place: {go_away:?}");
    assert!(go_away.reason.contains("went back in time"), "{go_away:?}");
    service.agent().await?;
    drop(agent);
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_message_that_says_too_little_or_is_of_another_stream_ends_the_stream_and_changes_nothing()
-> anyhow::Result<()> {
    let service = Service::start().await?;
    let reset = |count| SourceReset {
        target_group_bindings: vec![],
        target_group_binding_count: count,
    };
    let update = |epoch, change| {
        Say::Sources(SourceUpdate {
            epoch,
            revision: 1,
            change,
        })
    };
    for (statement, word) in [
        (update(0, Some(Change::Reset(reset(Some(0))))), "epoch"),
        (update(7, Some(Change::Reset(reset(Some(0))))), "epoch 7"),
        (
            Say::Heartbeat(Heartbeat {
                epoch: 7,
                surroundings: None,
            }),
            "epoch 7",
        ),
    ] {
        let (mut agent, _) = service.agent().await?;
        agent.say(statement).await?;
        let status = agent.end().await?.err().context("sent away, not refused")?;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(word), "{status:?}");
    }
    for (change, word) in [
        (None, "change"),
        (Some(Change::Reset(reset(None))), "count"),
        (Some(Change::Reset(reset(Some(3)))), "3"),
    ] {
        let (mut agent, epoch) = service.agent().await?;
        agent.say(update(epoch, change)).await?;
        let status = agent.end().await?.err().context("sent away, not refused")?;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(word), "{status:?}");
    }
    service.stop().await;
    Ok(())
}

/// A consistent read by which the Service of `shop/web` is gone, and the pod `uid` with it.
fn confirmation(epoch: u64, relist_id: u64, uid: &str) -> Say {
    let pod = PodRef {
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        uid: uid.to_owned(),
    };
    Say::Confirm(Confirm {
        epoch,
        revision: 1,
        relist_id,
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        state: Some(confirm::State::Absent(Absent {})),
        slice_count: Some(0),
        pods: vec![PodReading {
            pod: Some(pod),
            evidence: Evidence::PodGone.into(),
        }],
        ..Confirm::default()
    })
}

/// S24: the Service, the relist and the pod of a confirmation are those of whose stream it comes on, whatever it names.
#[tokio::test]
async fn a_confirmation_of_what_is_another_cluster_s_changes_nothing_there() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (api, store) = (&service.api, &service.api.store);
    let token = service.second_token().await?;
    let group = serde_json::json!({ "spec": { "arn": ARN, "clusters": ["one", "two"] } });
    let binding = serde_json::json!({ "spec": { "targetGroupArn": ARN, "service": "web", "port": "80" } });
    for (path, body) in [
        ("/v1/target-groups/web", &group),
        ("/v1/clusters/one/bindings/shop/web", &binding),
        ("/v1/clusters/two/bindings/shop/web", &binding),
    ] {
        let json = [("content-type", "application/json")];
        let answer = api.call("PUT", path, &json, body.to_string()).await?;
        ensure!(answer.status == 201, "{answer:?}");
    }
    let one = store
        .cluster(&"one".parse()?)
        .await?
        .context("it is registered")?
        .cluster
        .id;
    let uid = uuid::Uuid::from_u128(1);
    let asked = RelistRequest {
        cluster: one,
        service: ObjectName::new("shop", "web"),
        pods: vec![fact::PodRef {
            namespace: "shop".into(),
            name: "web-1".into(),
            uid,
        }],
        nodes: Vec::new(),
    };
    store.request_relists(&[asked]).await?;
    let known = async || {
        let group = store.group(&ARN.parse()?, Guards::default().window).await?;
        let of_one = group.bindings.iter().find(|bound| bound.binding.cluster == one);
        let facts = of_one.context("it is bound")?.facts.clone();
        Ok::<_, anyhow::Error>((store.relists(one).await?, format!("{facts:?}")))
    };
    let before = known().await?;
    let relist = before.0.first().context("it was asked")?.id;
    let uid = uid.to_string();

    let mut two = service.connect(&token, hello("two", 1)).await?;
    let Heard::Welcome(welcome) = two.hear().await? else {
        bail!("no Welcome first")
    };
    while !matches!(two.hear().await?, Heard::Subscribe(subscribe) if !subscribe.services.is_empty()) {}
    two.say(confirmation(welcome.epoch, relist, &uid)).await?;
    while !matches!(two.hear().await?, Heard::Ack(ack) if ack.revision == 1) {}
    ensure!(known().await? == before, "{:?} was {before:?}", known().await?);

    // Whose it is can say so.
    let (mut agent, epoch) = service.agent().await?;
    while !matches!(agent.hear().await?, Heard::Subscribe(subscribe) if !subscribe.services.is_empty()) {}
    // Nor does the other's stream take what carries this one's epoch.
    ensure!(epoch != welcome.epoch, "epochs are told apart");
    two.say(confirmation(epoch, relist, &uid)).await?;
    let status = two.end().await?.err().context("sent away, not refused")?;
    ensure!(
        status.code() == Code::InvalidArgument && status.message().contains("epoch"),
        "{status:?}"
    );
    ensure!(known().await? == before, "{:?} was {before:?}", known().await?);
    agent.say(confirmation(epoch, relist, &uid)).await?;
    while !matches!(agent.hear().await?, Heard::Ack(ack) if ack.revision == 1) {}
    let (relists, facts) = known().await?;
    ensure!(relists.is_empty() && facts != before.1, "{relists:?} {facts}");
    drop((agent, two));
    service.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_stop_sends_agents_away_to_come_back() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut agent, _) = service.agent().await?;
    let tasks = service.tasks.clone();
    let stop = tasks.stop(PATIENCE);
    let told = async {
        let go_away = agent.end().await?.map_err(|status| anyhow::anyhow!("{status}"))?;
        ensure!(
            !go_away.superseded && go_away.retry_after_seconds > 0,
            "{go_away:?}"
        );
        drop(agent);
        Ok(())
    };
    let ((), told) = tokio::join!(stop, told);
    told?;
    assert!(!tasks.hard().is_cancelled(), "nothing had to be cut");
    Ok(())
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_cut_and_nobody_else_waits_for_it() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let (mut deaf, epoch) = service.agent().await?;
    let reset = |revision| {
        let reset = SourceReset {
            target_group_bindings: vec![],
            target_group_binding_count: Some(0),
        };
        Say::Sources(SourceUpdate {
            epoch,
            revision,
            change: Some(Change::Reset(reset)),
        })
    };
    // Far more than the window and the queues hold: the server stops listening, for longer than it has patience.
    let mut sent = 0;
    while timeout(IMPATIENT * 4, deaf.say(reset(sent + 1)))
        .await
        .is_ok_and(|said| said.is_ok())
    {
        sent += 1;
        ensure!(
            sent < 100_000,
            "an agent that does not read is listened to for ever"
        );
    }
    println!("not listened to after {sent} statements");
    let mut other = service
        .connect(&service.second_token().await?, hello("two", 1))
        .await?;
    ensure!(matches!(other.hear().await?, Heard::Welcome(_)));
    while let Ok(Some(_)) = timeout(PATIENCE, deaf.heard.message())
        .await
        .context("the stream goes on")?
    {}
    drop((deaf, other));
    service.stop().await;
    Ok(())
}
