//! The stream to the service: connect, say Hello, pass messages on, wait, again.
//!
//! Disconnected → Connecting → Connected → Backoff → … The active replica alone has a stream; it ends with the Lease.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::StreamExt as _;
use model::stream::Hello;
use runtime::backoff::Backoff;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Uri},
};
use wire::agent::v1::{
    self as v1, AgentMessage, ServerMessage, agent_message, agent_service_client::AgentServiceClient,
    server_message::Message,
};

use crate::{
    Config,
    engine::{Command, Link},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What neither waiting nor another server heals is retried this slowly.
const SLOW: Duration = Duration::from_secs(30);
/// Messages between the index, where the rest waits, and the socket.
const QUEUE: usize = 8;

/// Why there is no stream.
enum End {
    Stopped,
    /// Another replica is active.
    Inactive,
    /// A newer stream of this cluster exists. Fighting for it would only move the trouble.
    Superseded(String),
    GoAway {
        reason: String,
        after: Duration,
    },
    /// The server will say the same to the next attempt.
    Refused(String),
    Failed(String),
}

/// Holds the stream while this replica is active.
pub struct Connector {
    pub config: Config,
    pub cluster_uid: String,
    pub active: watch::Receiver<bool>,
    pub commands: mpsc::Sender<Command>,
    pub soft: CancellationToken,
    /// The highest epoch that a server has given us.
    last_epoch: AtomicU64,
}

impl Connector {
    pub fn new(
        config: Config,
        cluster_uid: String,
        active: watch::Receiver<bool>,
        commands: mpsc::Sender<Command>,
        soft: CancellationToken,
    ) -> Self {
        Self {
            config,
            cluster_uid,
            active,
            commands,
            soft,
            last_epoch: AtomicU64::new(0),
        }
    }

    /// Runs until the soft stop.
    pub async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        // With both ends equal, delays spread over [SLOW, 2 × SLOW].
        let mut slow = Backoff::new(SLOW, SLOW);
        let mut told = String::new();
        for server in self.config.servers.iter().cycle() {
            let mut active = self.active.clone();
            tokio::select! {
                () = self.soft.cancelled() => return,
                changed = active.wait_for(|active| *active) => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let before = self.last_epoch.load(Ordering::Relaxed);
            let end = self.session(server).await;
            if self.last_epoch.load(Ordering::Relaxed) != before {
                backoff.reset();
                told.clear();
            }
            let (reason, delay) = match end {
                End::Stopped => return,
                End::Inactive => continue,
                End::GoAway { reason, after } => (reason, after + backoff.next_delay()),
                End::Superseded(reason) | End::Refused(reason) => (reason, SLOW + slow.next_delay()),
                End::Failed(reason) => (reason, backoff.next_delay()),
            };
            // A server that is away for an hour is one line, not a thousand.
            if told != reason {
                tracing::warn!(%server, reason, retry_in = ?delay, "no stream to the server");
                told = reason;
            }
            tokio::select! {
                () = self.soft.cancelled() => return,
                () = sleep(delay) => {}
            }
        }
    }

    async fn session(&self, server: &Uri) -> End {
        let mut active = self.active.clone();
        tokio::select! {
            () = self.soft.cancelled() => End::Stopped,
            _ = active.wait_for(|active| !*active) => End::Inactive,
            end = self.converse(server) => end,
        }
    }

    async fn converse(&self, server: &Uri) -> End {
        let (out, queue) = mpsc::channel(QUEUE);
        let opened = timeout(CONNECT_TIMEOUT, self.open(server, &out, queue)).await;
        let (welcome, mut inbound) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(end)) => return end,
            Err(_) => return End::Failed("the server did not answer in time".to_owned()),
        };
        let v1::Welcome {
            epoch,
            protocol,
            version,
            heartbeat_seconds,
        } = welcome;
        self.last_epoch.fetch_max(epoch, Ordering::Relaxed);
        tracing::info!(%server, epoch, protocol, version, "stream opened");

        let cut = CancellationToken::new();
        let heartbeat = Duration::from_secs(u64::from(heartbeat_seconds.max(1)));
        let link = Link {
            epoch,
            heartbeat,
            out,
            cut: cut.clone(),
        };
        let _closing = Closing {
            epoch,
            commands: self.commands.clone(),
        };
        if self.commands.send(Command::Connected(link)).await.is_err() {
            return End::Stopped;
        }
        cut.run_until_cancelled(self.listen(epoch, &mut inbound))
            .await
            .unwrap_or_else(|| End::Failed("the server took no messages".to_owned()))
    }

    async fn open(
        &self,
        server: &Uri,
        out: &mpsc::Sender<AgentMessage>,
        queue: mpsc::Receiver<AgentMessage>,
    ) -> Result<(v1::Welcome, Streaming<ServerMessage>), End> {
        let channel = self.channel(server).await?;
        let hello = Hello {
            cluster: self.config.cluster.clone(),
            instance: self.config.instance.clone(),
            protocol: wire::PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            last_epoch: self.last_epoch.load(Ordering::Relaxed),
            cluster_uid: self.cluster_uid.clone(),
        };
        let hello = AgentMessage {
            origin: None,
            message: Some(agent_message::Message::Hello(hello.into())),
        };
        if out.try_send(hello).is_err() {
            return Err(End::Failed("the stream ended before it began".to_owned()));
        }
        let messages =
            ReceiverStream::new(queue).flat_map(|message| futures::stream::iter(wire::parts::cut(message)));
        let mut request = Request::new(messages);
        request
            .metadata_mut()
            .insert("authorization", self.authorization()?);
        let mut client = AgentServiceClient::new(channel).max_decoding_message_size(wire::MAX_MESSAGE_BYTES);
        let mut inbound = client.connect(request).await.map_err(ended)?.into_inner();
        match inbound.message().await.map_err(ended)? {
            Some(ServerMessage {
                message: Some(Message::Welcome(welcome)),
            }) => Ok((welcome, inbound)),
            Some(ServerMessage {
                message: Some(Message::GoAway(go_away)),
            }) => Err(gone_away(go_away)),
            _ => Err(End::Refused(
                "the server's first message is no Welcome: is this an Elbow server?".to_owned(),
            )),
        }
    }

    async fn channel(&self, server: &Uri) -> Result<Channel, End> {
        let mut endpoint = Channel::builder(server.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if server.scheme_str() == Some("https") {
            let mut tls = ClientTlsConfig::new();
            if let Some(path) = &self.config.ca_file {
                let pem = fs::read(path).map_err(|error| {
                    End::Refused(format!("the CA file {} cannot be read: {error}", path.display()))
                })?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| End::Refused(chain(&error)))?;
        }
        endpoint
            .connect()
            .await
            .map_err(|error| End::Failed(chain(&error)))
    }

    fn authorization(&self) -> Result<MetadataValue<tonic::metadata::Ascii>, End> {
        let path = &self.config.token_file;
        let refused = |what: &str| End::Refused(format!("the token file {} {what}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| refused(&format!("cannot be read: {error}")))?;
        let token = SecretString::from(text.trim().to_owned());
        let mut value: MetadataValue<_> = format!("Bearer {}", token.expose_secret())
            .parse()
            .map_err(|_| refused("holds no token: one line of visible ASCII is expected"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn listen(&self, epoch: u64, inbound: &mut Streaming<ServerMessage>) -> End {
        loop {
            match inbound.message().await {
                Ok(Some(ServerMessage {
                    message: Some(Message::GoAway(go_away)),
                })) => return gone_away(go_away),
                Ok(Some(ServerMessage {
                    message: Some(message),
                })) => {
                    if self
                        .commands
                        .send(Command::Server { epoch, message })
                        .await
                        .is_err()
                    {
                        return End::Stopped;
                    }
                }
                // From a newer server.
                Ok(Some(ServerMessage { message: None })) => {}
                Ok(None) => return End::Failed("the server ended the stream".to_owned()),
                Err(status) => return ended(status),
            }
        }
    }
}

/// Tells the engine that the stream is over, however it ended.
struct Closing {
    epoch: u64,
    commands: mpsc::Sender<Command>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        // In a full queue the news may be lost: the engine notices by itself, for its end of the stream is closed.
        self.commands
            .try_send(Command::Disconnected { epoch: self.epoch })
            .ok();
    }
}

fn gone_away(go_away: v1::GoAway) -> End {
    let v1::GoAway {
        reason,
        superseded,
        retry_after_seconds,
    } = go_away;
    if superseded {
        End::Superseded(reason)
    } else {
        End::GoAway {
            reason,
            after: Duration::from_secs(retry_after_seconds.into()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn ended(status: Status) -> End {
    let reason = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::Unimplemented
        | Code::NotFound => End::Refused(reason),
        _ => End::Failed(reason),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
