//! From a message to a request of REST, and from its answer to a message.

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderValue, Method, Request, header},
};
use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::{
    Response, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tower::ServiceExt;

use super::Public;
use crate::problem::Kind;

/// What is written in a path otherwise than it is. Routes have hyphens, and are found as they are written.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-');

/// Above the largest page.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// A request of REST in the making.
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    authorization: Option<HeaderValue>,
    expected: Option<i64>,
    body: Option<(&'static str, Bytes)>,
}

impl Call {
    /// `path` is what comes after `/v1`; a name in it that is empty is refused when it is sent.
    pub(super) fn new(metadata: &MetadataMap, method: Method, path: &[&str]) -> Self {
        let path = path
            .iter()
            .map(|segment| utf8_percent_encode(segment, ESCAPED).to_string());
        let authorization = metadata.get("authorization");
        Self {
            method,
            path: path.collect::<Vec<_>>().join("/"),
            query: Vec::new(),
            authorization: authorization
                .and_then(|value| HeaderValue::from_bytes(value.as_encoded_bytes()).ok()),
            expected: None,
            body: None,
        }
    }

    /// One more segment of the path.
    pub(super) fn then(mut self, segment: &str) -> Self {
        self.path = format!("{}/{segment}", self.path);
        self
    }

    /// A parameter of the query; an empty one was not given.
    pub(super) fn query(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.query.push((name, value.to_owned()));
        }
        self
    }

    pub(super) fn flag(self, name: &'static str, set: bool) -> Self {
        self.query(name, if set { "true" } else { "" })
    }

    pub(super) fn page(self, cursor: &str, limit: u32) -> Self {
        let limit = if limit == 0 {
            String::new()
        } else {
            limit.to_string()
        };
        self.query("cursor", cursor).query("limit", &limit)
    }

    /// The version that the caller has seen.
    pub(super) fn expecting(mut self, version: Option<i64>) -> Self {
        self.expected = version;
        self
    }

    /// A body. What is empty in a message was not given.
    pub(super) fn json(mut self, mut body: Value) -> Self {
        leave_out_empty(&mut body);
        let text = body.to_string();
        self.body = Some(("application/json", text.into()));
        self
    }

    pub(super) fn yaml(mut self, body: Vec<u8>) -> Self {
        self.body = Some(("application/yaml", body.into()));
        self
    }

    /// Sends it and reads the answer as a message.
    pub(super) async fn answer<M: DeserializeOwned>(self, public: &Public) -> Result<Response<M>, Status> {
        let answer = self.send(public).await?;
        let message = serde_json::from_value(answer)
            .map_err(|error| Status::internal(format!("REST's answer is no message: {error}")))?;
        Ok(Response::new(message))
    }

    /// Sends it. What REST refuses is told with the code of its problem.
    pub(super) async fn send(self, public: &Public) -> Result<Value, Status> {
        if self.path.split('/').any(str::is_empty) {
            return Err(Status::invalid_argument("a name is empty"));
        }
        let mut uri = format!("/v1/{}", self.path);
        if !self.query.is_empty() {
            let query = Serializer::new(String::new()).extend_pairs(&self.query).finish();
            uri = format!("{uri}?{query}");
        }
        let mut request = Request::builder().method(self.method).uri(uri);
        if let Some(authorization) = self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(version) = self.expected {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let request = match self.body {
            Some((media_type, body)) => request
                .header(header::CONTENT_TYPE, media_type)
                .body(Body::from(body)),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let response = match public.rest.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let body = to_bytes(response.into_body(), ANSWER_LIMIT)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        if body.is_empty() && status.is_success() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let answer = serde_json::from_slice(&body).map_err(|error| Status::internal(error.to_string()))?;
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(&answer))
        }
    }
}

fn leave_out_empty(body: &mut Value) {
    if let Value::Object(fields) = body {
        fields.retain(|_, value| !value.is_null() && value != "");
        // A tag may be empty.
        let known = fields.iter_mut().filter(|(name, _)| *name != "tags");
        known.for_each(|(_, value)| leave_out_empty(value));
    }
}

/// A problem as a status: the code by the one table, the type and the field as metadata.
fn refusal(problem: &Value) -> Status {
    let text = |field: &str| problem[field].as_str().unwrap_or_default();
    let kind = text("type");
    let code = Kind::of_type(kind).map_or(tonic::Code::Internal, |kind| kind.row().code);
    let mut metadata = MetadataMap::new();
    for (name, value) in [("elbow-problem", kind), ("elbow-field", text("field"))] {
        if let Ok(value) = MetadataValue::try_from(value)
            && !value.is_empty()
        {
            metadata.insert(name, value);
        }
    }
    Status::with_metadata(code, text("detail"), metadata)
}
