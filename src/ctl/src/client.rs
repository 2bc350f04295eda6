//! REST: the connection, requests and pages.

use std::{env, error::Error as _, ffi::OsStr, fs, path::PathBuf, time::Duration};

use clap::Args;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use reqwest::{
    Certificate, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, IF_MATCH},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sse_stream::{Sse, SseStream};

use crate::{
    Error,
    config::{Config, Context},
    error::Problem,
};

/// Longer than the longest `wait` of the service.
const TIMEOUT: Duration = Duration::from_secs(70);

const TOKEN: &str = "ELBOW_TOKEN";
const TOKEN_FILE: &str = "ELBOW_TOKEN_FILE";

/// Which installation, and as whom.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Where the REST API is, e.g. `https://elbow.example.com:8443`.
    #[arg(long, env = "ELBOW_URL", global = true)]
    url: Option<String>,
    /// The token itself. Prefer a file: other users of a machine can read its command lines.
    #[arg(long, env = TOKEN, hide_env_values = true, global = true)]
    token: Option<SecretString>,
    /// A file with the token.
    #[arg(long, env = TOKEN_FILE, global = true)]
    token_file: Option<PathBuf>,
    /// PEM certificates to trust beside the machine's.
    #[arg(long, env = "ELBOW_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// A context of the configuration file, instead of its current one.
    #[arg(long, env = "ELBOW_CONTEXT", global = true)]
    context: Option<String>,
    /// The configuration file; else `~/.config/elbow/config.yaml`.
    #[arg(long, env = "ELBOW_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Send the token in plain text to another machine.
    #[arg(long, env = "ELBOW_INSECURE_DEV", global = true)]
    insecure_dev: bool,
}

/// The service, as its caller sees it.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// One event of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

/// Parameters of the query, those that were given.
pub(crate) type Query<'a> = Vec<(&'a str, String)>;

impl Connection {
    pub(crate) fn open(&self) -> Result<Client, Error> {
        let context = if self.url.is_some() && self.context.is_none() {
            None
        } else {
            Config::read(self.config.as_deref())?.context(self.context.as_deref())?
        };
        let url = self
            .url
            .clone()
            .or(context.as_ref().map(|context| context.url.clone()));
        let url = url.ok_or_else(|| {
            Error::usage("which Elbow? Set --url, ELBOW_URL, or a context in ~/.config/elbow/config.yaml")
        })?;
        let base = base(&url, self.insecure_dev)?;
        let token = self.token(context.as_ref())?;
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("elbow/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = self
            .ca_file
            .clone()
            .or(context.and_then(|context| context.ca_file))
        {
            let pem = fs::read(&path).map_err(Error::file(format!("reading {}", path.display())))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
            if certificates.is_empty() {
                let file = path.display();
                return Err(Error::usage(format!(
                    "{file} holds no certificate: give PEM certificates"
                )));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder
            .build()
            .map_err(|error| Error::usage(format!("no TLS: {}", cause(&error))))?;
        Ok(Client { http, base, token })
    }

    fn token(&self, context: Option<&Context>) -> Result<SecretString, Error> {
        let is_of = |name, value: &OsStr| env::var_os(name).is_some_and(|set| set == value);
        let file = match (&self.token, &self.token_file) {
            (Some(token), Some(file)) => {
                let token_is_set = is_of(TOKEN, OsStr::new(token.expose_secret()));
                let file_is_set = is_of(TOKEN_FILE, file.as_os_str());
                goes_before(token_is_set, file_is_set)?.then_some(file)
            }
            (None, Some(file)) => Some(file),
            (Some(_), None) => None,
            (None, None) => context.and_then(|context| context.token_file.as_ref()),
        };
        let (token, origin) = match (file, &self.token) {
            (Some(path), _) => {
                let origin = format!("the token in {}", path.display());
                let text = fs::read_to_string(path).map_err(Error::file(format!("reading {origin}")))?;
                (text.trim().into(), origin)
            }
            (None, Some(token)) => (token.clone(), "the token".to_owned()),
            (None, None) => {
                return Err(Error::usage(
                    "as whom? Set --token-file, ELBOW_TOKEN_FILE or ELBOW_TOKEN; `elbow-server token create` makes a token",
                ));
            }
        };
        let text: &str = token.expose_secret();
        if text.is_empty() || !text.chars().all(|char| char.is_ascii_graphic()) {
            return Err(Error::usage(format!(
                "{origin} is not one word: give it as `elbow token create` printed it"
            )));
        }
        Ok(token)
    }
}

/// Of a token and a file with one, whether the file counts. What the command line says goes before what the environment
/// says, and there the token itself goes first.
fn goes_before(token_is_set: bool, file_is_set: bool) -> Result<bool, Error> {
    match (token_is_set, file_is_set) {
        (false, false) => Err(Error::usage("say --token or --token-file, and not both")),
        (is_set, file_is_set) => Ok(is_set && !file_is_set),
    }
}

/// The address, with a token only ever sent where nobody can read it on the way.
fn base(text: &str, insecure_dev: bool) -> Result<Url, Error> {
    let wrong = |why: &str| Error::usage(format!("`{text}` is no address of Elbow: {why}"));
    let url = Url::parse(text).map_err(|_| wrong("say https://HOST:PORT"))?;
    let host = url.host_str().unwrap_or_default();
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme() {
        "https" => Ok(url),
        "http" if local || insecure_dev => Ok(url),
        "http" => Err(wrong(
            "http would send the token in plain text; say https, or --insecure-dev if that is meant",
        )),
        _ => Err(wrong("say https://HOST:PORT")),
    }
}

impl Client {
    /// Where the service is, for messages.
    pub(crate) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// All items of a list, page by page.
    pub(crate) async fn list(&self, path: &[&str], query: Query<'_>) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = query.clone();
            page.push(("limit", "500".to_owned()));
            page.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut answer = self.send(self.request(Method::GET, path, &page)).await?;
            match answer["items"].take() {
                Value::Array(more) => items.extend(more),
                _ => {
                    return Err(self.strange(format!("GET {}", path.join("/")), "it has no `items`"));
                }
            }
            cursor = answer["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    /// All items of a list that is always one page.
    pub(crate) async fn list_all(&self, path: &[&str]) -> Result<Vec<Value>, Error> {
        let answer = self.get(path, Vec::new()).await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// The events after the given one, or from now on; with `follow` without end, else what there is by now.
    pub(crate) async fn follow(
        &self,
        after: Option<&str>,
        follow: bool,
    ) -> Result<BoxStream<'_, Result<Message, Error>>, Error> {
        let query = vec![("follow", follow.to_string())];
        // The stream lives as long as it is watched; that the service is there, its comments tell.
        let mut request = self
            .request(Method::GET, &["events"], &query)
            .timeout(Duration::from_hours(24 * 365));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.response(request).await?;
        let bytes = stream::try_unfold(response, |mut response| async move {
            Ok::<_, reqwest::Error>(response.chunk().await?.map(|chunk| (chunk, response)))
        });
        let messages = SseStream::from_bytes_stream(bytes.boxed());
        let read = move |message: Result<Sse, sse_stream::Error>| {
            let strange = |why: String| self.strange("GET events".to_owned(), &why);
            let Sse { id, event, data, .. } = message.map_err(|error| strange(error.to_string()))?;
            Ok(Message {
                id: id.filter(|id| !id.is_empty()),
                event: event.unwrap_or_default(),
                data: serde_json::from_str(&data.unwrap_or_default())
                    .map_err(|error| strange(error.to_string()))?,
            })
        };
        let said = |message: &Result<Sse, sse_stream::Error>| {
            let comment = message.as_ref().is_ok_and(|message| message.data.is_none());
            std::future::ready(!comment)
        };
        Ok(messages.filter(said).map(read).boxed())
    }

    /// Where the service explains a reason.
    pub(crate) fn runbook(&self, family: &str, reason: &str) -> String {
        format!("{}/runbooks/{family}/{reason}", self.url())
    }

    pub(crate) async fn get(&self, path: &[&str], query: Query<'_>) -> Result<Value, Error> {
        self.send(self.request(Method::GET, path, &query)).await
    }

    /// Creates or updates; says whether it was created.
    pub(crate) async fn put(
        &self,
        path: &[&str],
        query: Query<'_>,
        version: Option<i64>,
        body: &Value,
    ) -> Result<(bool, Value), Error> {
        let mut request = self.request(Method::PUT, path, &query).json(body);
        if let Some(version) = version {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        let response = self.response(request).await?;
        let created = response.status() == StatusCode::CREATED;
        Ok((created, self.body(response).await?))
    }

    pub(crate) async fn delete(&self, path: &[&str], query: Query<'_>) -> Result<Value, Error> {
        self.send(self.request(Method::DELETE, path, &query)).await
    }

    /// Posts YAML as it is.
    pub(crate) async fn post_yaml(
        &self,
        path: &[&str],
        query: Query<'_>,
        text: String,
    ) -> Result<Value, Error> {
        let request = self.request(Method::POST, path, &query);
        self.send(request.header(CONTENT_TYPE, "application/yaml").body(text))
            .await
    }

    pub(crate) async fn post(
        &self,
        path: &[&str],
        query: Query<'_>,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let request = self.request(Method::POST, path, &query);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.send(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &Query<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("http addresses have paths")
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Error> {
        let response = self.response(request).await?;
        self.body(response).await
    }

    /// A success, or what the service says is wrong.
    async fn response(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let request = response.url().path().to_owned();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(Error::Problem(problem)),
            Err(_) => Err(self.strange(request, &format!("{status} without a problem"))),
        }
    }

    async fn body(&self, response: Response) -> Result<Value, Error> {
        let request = response.url().path().to_owned();
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(request, &error.to_string()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable {
            url: self.url().to_owned(),
            cause: cause(error),
        }
    }

    fn strange(&self, request: String, why: &str) -> Error {
        Error::Answer {
            request,
            url: self.url().to_owned(),
            why: why.to_owned(),
        }
    }
}

/// The innermost cause: reqwest's own words say only that sending failed.
fn cause(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_out_in_the_clear_only_on_this_machine_or_when_that_is_asked_for() {
        assert!(base("https://elbow.example.com", false).is_ok());
        assert!(base("http://127.0.0.1:8443", false).is_ok());
        assert!(base("http://elbow.example.com", true).is_ok());
        for wrong in [
            "http://elbow.example.com",
            "elbow.example.com:8443",
            "ftp://x",
            "nonsense",
        ] {
            let error = base(wrong, false).unwrap_err();
            assert!(error.to_string().contains("https"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        assert!(goes_before(true, false).unwrap(), "--token-file");
        assert!(!goes_before(false, true).unwrap(), "--token");
        assert!(!goes_before(true, true).unwrap());
        assert_eq!(goes_before(false, false).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_told_before_anybody_is_asked() {
        let connection = |token: &str| Connection {
            url: None,
            token: Some(token.into()),
            token_file: None,
            ca_file: None,
            context: None,
            config: None,
            insecure_dev: false,
        };
        assert!(connection("elbow_x").token(None).is_ok());
        for wrong in ["", "a\nb", "a b", "ä"] {
            let error = connection(wrong).token(None).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
