use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use serde_json::Value;

use crate::{
    Console, Error,
    client::{Client, Message},
    output::{Format, Output, text},
};

/// Follows what changes, until it is interrupted. A broken connection is taken up again where it ended.
#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Only changes that begin with this, e.g. `binding` or `hold.opened`.
    changes: Vec<String>,
    /// Begin after this event, as `-o json` shows its id; else now.
    #[arg(long)]
    since: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Between attempts to come back.
const PAUSE: Duration = Duration::from_secs(2);

impl Watch {
    pub(super) async fn run(self, client: &Client, console: &mut Console) -> Result<(), Error> {
        let Self {
            changes,
            since,
            output,
        } = self;
        let mut after = since;
        let mut reached = false;
        loop {
            let mut messages = match client.follow(after.as_deref(), true).await {
                Ok(messages) => messages,
                // What was reached once is worth waiting for.
                Err(Error::Unreachable { .. }) if reached => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            reached = true;
            while let Some(message) = messages.next().await {
                let Ok(message) = message else { break };
                after = message.id.clone().or(after);
                if changes.is_empty() || changes.iter().any(|change| is_of(&message.event, change)) {
                    show(console, output.format, &message)?;
                }
            }
            eprintln!("the connection ended; it is taken up again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether a change begins with what was asked for; a kind may be said as elsewhere: `bindings`, `target-groups`.
fn is_of(event: &str, asked: &str) -> bool {
    let asked = asked.to_lowercase().replace('-', "");
    event
        .to_lowercase()
        .starts_with(asked.strip_suffix('s').unwrap_or(&asked))
}

fn show(console: &mut Console, format: Format, message: &Message) -> Result<(), Error> {
    let Message { id, event, data } = message;
    if format == Format::Table || format == Format::Wide {
        return console.line(format_args!(
            "{}  {event}  {}  {}",
            text(data, "/at"),
            text(data, "/object"),
            summary(&data["body"])
        ));
    }
    let mut data = data.clone();
    data["id"] = id.clone().into();
    // One a line, so that a program can read as it comes.
    console.line(data)
}

/// What a person wants to see of an event.
pub(crate) fn summary(body: &Value) -> String {
    let ready = text(body, "/ready/reason");
    if !ready.is_empty() {
        return format!("{ready}: {}", text(body, "/ready/message"));
    }
    let fields = body.as_object().into_iter().flatten();
    let said: Vec<_> = fields
        .filter(|(_, value)| !value.is_object() && !value.is_array())
        .map(|(name, _)| format!("{name}={}", text(body, &format!("/{name}"))))
        .collect();
    said.join(" ")
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_kind_is_said_in_any_of_its_forms() {
        for asked in ["binding", "bindings", "Binding", "binding.status"] {
            assert!(is_of("binding.status", asked), "{asked}");
        }
        for asked in ["target-groups", "targetGroup"] {
            assert!(is_of("targetGroup.status", asked), "{asked}");
            assert!(!is_of("target.drained", asked), "{asked}");
        }
        assert!(!is_of("hold.opened", "binding"));
    }
}
