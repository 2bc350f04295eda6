//! One agent's stream, from its Hello to its end.

use std::time::Duration;

use control::{
    Control, Principal,
    session::{Reply, Session},
};
use model::{
    sabotage,
    stream::{Hello, Origin},
};
use runtime::telemetry;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument as _;
use wire::{
    agent::v1::{self as wire_v1, AgentMessage, ServerMessage, agent_message, server_message},
    convert::{self, ConvertError, Stamped},
    parts::Joiner,
};

use super::{Metrics, Patience, answer, metrics};
use crate::status::status;

/// Heartbeats that may be missed before the stream counts as dead.
const MISSED_HEARTBEATS: u32 = 3;

pub(super) struct AgentStream {
    control: Control,
    principal: Principal,
    inbound: Streaming<AgentMessage>,
    outbound: mpsc::Sender<Result<ServerMessage, Status>>,
    soft: CancellationToken,
    patience: Patience,
    metrics: Metrics,
    parts: Joiner,
}

/// Why a stream ends.
enum End {
    /// The agent closed it, or does not read: nobody is there to be told.
    Gone,
    /// The agent is told to connect again.
    GoAway { reason: String, superseded: bool },
    /// The agent did or met something that it must be told as an error.
    Status(Status),
}

impl From<control::Error> for End {
    fn from(error: control::Error) -> Self {
        match error {
            control::Error::Superseded | control::Error::Forgotten => Self::GoAway {
                reason: error.to_string(),
                // Where another agent speaks now, this one is not to come back at once.
                superseded: matches!(error, control::Error::Superseded),
            },
            error => Self::Status(status(&error)),
        }
    }
}

impl From<ConvertError> for End {
    fn from(error: ConvertError) -> Self {
        Self::Status(Status::invalid_argument(error.to_string()))
    }
}

impl AgentStream {
    pub(super) fn new(
        control: Control,
        principal: Principal,
        inbound: Streaming<AgentMessage>,
        outbound: mpsc::Sender<Result<ServerMessage, Status>>,
        soft: CancellationToken,
        patience: Patience,
        metrics: Metrics,
    ) -> Self {
        Self {
            control,
            principal,
            inbound,
            outbound,
            soft,
            patience,
            metrics,
            parts: Joiner::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let Err(end) = self.serve().await;
        self.metrics.ended(match &end {
            End::Gone => metrics::GONE,
            End::GoAway { .. } => metrics::SENT_AWAY,
            End::Status(_) => metrics::REFUSED,
        });
        let last = match end {
            End::Gone => return,
            End::GoAway { reason, superseded } => {
                tracing::info!(
                    principal = self.principal.name,
                    reason,
                    superseded,
                    "agent stream ended by us"
                );
                Ok(answer::go_away(reason, superseded))
            }
            End::Status(status) => {
                let why = status.message();
                tracing::warn!(principal = self.principal.name, code = ?status.code(), why, "agent stream refused");
                Err(status)
            }
        };
        // An agent that does not read learns it from the end of the stream.
        timeout(self.patience.send, self.outbound.send(last)).await.ok();
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let hello = self.hello().await?;
        let mut session = self.control.open(&self.principal, hello).await?;
        let _open = self.metrics.open();
        self.welcome(&session).await?;
        self.tell(&mut session).await?;
        let silence = session.heartbeat() * MISSED_HEARTBEATS;
        let mut dead = Instant::now() + silence;
        loop {
            tokio::select! {
                () = self.soft.cancelled() => {
                    return Err(End::GoAway { reason: "this replica stops".to_owned(), superseded: false });
                }
                () = sleep_until(dead) => {
                    let reason = format!("nothing was heard for {} s", silence.as_secs());
                    return Err(End::GoAway { reason, superseded: false });
                }
                message = self.inbound.message() => {
                    dead = Instant::now() + silence;
                    self.hear(&mut session, message).await?;
                }
                () = session.woken() => self.tell(&mut session).await?,
            }
        }
    }

    async fn hello(&mut self) -> Result<Hello, End> {
        let soft = self.soft.clone();
        let message = tokio::select! {
            () = soft.cancelled() => {
                return Err(End::GoAway { reason: "this replica stops".to_owned(), superseded: false });
            }
            message = timeout(self.patience.hello, self.inbound.message()) => {
                message.map_err(|_| End::Status(Status::deadline_exceeded("the first message, Hello, did not come")))?
            }
        };
        match message {
            Ok(Some(AgentMessage {
                message: Some(agent_message::Message::Hello(hello)),
                ..
            })) => Ok(Hello::try_from(hello)?),
            Ok(Some(_)) => Err(End::Status(Status::invalid_argument(
                "the first message of a stream must be Hello",
            ))),
            Ok(None) | Err(_) => Err(End::Gone),
        }
    }

    async fn welcome(&self, session: &Session) -> Result<(), End> {
        let welcome = wire_v1::Welcome {
            epoch: session.epoch(),
            protocol: session.protocol(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heartbeat_seconds: seconds(session.heartbeat()),
        };
        self.send(answer::message(server_message::Message::Welcome(welcome)))
            .await
    }

    async fn hear(
        &mut self,
        session: &mut Session,
        message: Result<Option<AgentMessage>, Status>,
    ) -> Result<(), End> {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Err(End::Gone),
            // The transport's own complaint, e.g. about a message that is too large, reaches the agent as it is.
            Err(status) => return Err(End::Status(status)),
        };
        let Some(message) = self.parts.take(message)? else {
            return Ok(());
        };
        self.metrics.heard(message.message.as_ref());
        let origin = convert::origin(&message);
        let Stamped { epoch, statement } = Stamped::try_from(message)?;
        if epoch != session.epoch() {
            let why = format!(
                "the message carries epoch {epoch}, but the stream has {}",
                session.epoch()
            );
            return Err(End::Status(Status::invalid_argument(why)));
        }
        let span = tracing::info_span!("ingest", cluster = %session.cluster());
        if let Some(trace) = origin.as_ref().and_then(|origin| origin.trace.as_deref()) {
            telemetry::continue_trace(&span, trace);
        }
        let origin = origin.map(|Origin { waited, trace: _ }| Origin {
            waited,
            trace: telemetry::traceparent(&span),
        });
        let ingest = control::coming_from(origin, session.ingest(statement));
        for reply in Box::pin(ingest.instrument(span)).await? {
            if matches!(reply, Reply::Resync { .. }) {
                self.metrics.resynced();
            }
            self.send(answer::reply(reply)).await?;
        }
        Ok(())
    }

    async fn tell(&self, session: &mut Session) -> Result<(), End> {
        for directive in session.outgoing().await? {
            self.send(answer::directive(directive)).await?;
        }
        Ok(())
    }

    async fn send(&self, message: ServerMessage) -> Result<(), End> {
        let patience = if sabotage::is_on("S19") {
            Duration::from_hours(1)
        } else {
            self.patience.send
        };
        match self.outbound.send_timeout(Ok(message), patience).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                    tracing::warn!(
                        principal = self.principal.name,
                        "an agent does not read and is cut"
                    );
                }
                Err(End::Gone)
            }
        }
    }
}

/// Whole seconds, at least one.
fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}
