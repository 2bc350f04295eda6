use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event as Message, KeepAlive},
    },
};
use control::{
    Control,
    events::{Follower, News},
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Answer;
use crate::{
    problem::{self, Problem},
    rest::{
        extract::{Caller, Query},
        resource::operate::Event,
    },
};

/// A connection through proxies is seen to live.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After how long a client should come back.
const RETRY: Duration = Duration::from_secs(2);

pub(in crate::rest) fn routes() -> OpenApiRouter<Control> {
    OpenApiRouter::new().routes(routes!(follow))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FollowParams {
    /// Whether to wait for what changes later; `false` ends the stream with what there is by now.
    #[param(default = true)]
    follow: Option<bool>,
}

/// Follow what changes, as server-sent events (`Event`).
///
/// An event says what changed; read the resource to know what it is now. After a broken connection, `Last-Event-ID`
/// goes on where it ended. An event of the type `forgotten` says that some of what came after is not kept any more.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "followEvents", tag = "events",
    params(
        FollowParams,
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event; without it, from now on"),
    ),
    responses(
        (status = 200, description = "A stream", content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn follow(
    State(control): State<Control>,
    Caller(principal): Caller,
    Query(params): Query<FollowParams>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Message, Infallible>>>> {
    let after = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default());
    let follower = control.follow(&principal, after).await?;
    let endless = params.follow.unwrap_or(true);
    Ok(Sse::new(messages(follower, endless)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Ends with the first error: the client comes back and goes on where it was.
fn messages(follower: Follower, endless: bool) -> impl Stream<Item = Result<Message, Infallible>> {
    let begin = stream::iter([Ok(Message::default().comment("following").retry(RETRY))]);
    let rest = stream::unfold(follower, move |mut follower| async move {
        let news = if endless {
            follower.next().await
        } else {
            follower.ready().await
        };
        match news {
            Ok(news) if news.is_empty() => None,
            Ok(news) => Some((
                stream::iter(news.into_iter().filter_map(message).map(Ok)),
                follower,
            )),
            Err(error) => {
                problem::log(&error);
                None
            }
        }
    });
    begin.chain(rest.flatten())
}

fn message(news: News) -> Option<Message> {
    match news {
        News::Event(event) => {
            let message = Message::default()
                .id(event.id.to_string())
                .event(event.change.clone());
            let data = serde_json::to_string(&Event::from(event)).expect("an event has string keys");
            Some(message.data(data))
        }
        News::Forgotten => Some(Message::default().event("forgotten").data("{}")),
        News::Quiet => None,
    }
}
