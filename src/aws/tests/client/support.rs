//! A loopback endpoint that answers what a test tells it to, over real sockets: what a client makes of a connection
//! that drops or hangs cannot be told from a fake of the client.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws::{Aws, Credentials, Deadline, Metrics, Settings, ShardClient};
use jiff::Timestamp;
use model::{Target, TargetGroupArn, TargetKey};
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};

/// AWS's name of every request.
pub(crate) const REQUEST_ID: &str = "85ec74fd-e1f3-4d4e-9a44-1e4f9f4a4a4a";

/// What the endpoint does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status and body.
    Status(u16, String),
    /// It reads the request and closes the connection.
    Drop,
    /// It reads the request and never answers.
    Hang,
}

impl Answer {
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Status(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 </ErrorResponse>"
            ),
        )
    }

    pub(crate) fn result(action: &str, result: &str) -> Self {
        Self::Status(
            200,
            format!(
                "<{action}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
                 <{action}Result>{result}</{action}Result>\
                 </{action}Response>"
            ),
        )
    }
}

/// A request's form parameters in order, undecoded but for the colon.
pub(crate) type Form = Vec<(String, String)>;

type Script = Arc<Mutex<dyn FnMut(&Form) -> Answer + Send>>;

pub(crate) struct Endpoint {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Form>>>,
    connections: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Endpoint {
    /// Answers each request as `script` says.
    pub(crate) async fn start(script: impl FnMut(&Form) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Form>>>::default();
        let script: Script = Arc::new(Mutex::new(script));
        let connections = Arc::<AtomicUsize>::default();
        let (seen, accepted) = (requests.clone(), connections.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                serving.spawn(serve(stream, script.clone(), seen.clone()));
            }
        });
        Self {
            url,
            requests,
            connections,
            _server: tasks,
        }
    }

    /// Answers one request after the other as listed; more are an error.
    pub(crate) async fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        Self::start(move |_| {
            answers
                .pop_front()
                .unwrap_or_else(|| Answer::error(400, "Unexpected", "no answer left"))
        })
        .await
    }

    pub(crate) fn requests(&self) -> Vec<Form> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, script: Script, seen: Arc<Mutex<Vec<Form>>>) {
    while let Some(form) = request(&mut stream).await {
        seen.lock().unwrap().push(form.clone());
        let answer = (script.lock().unwrap())(&form);
        match answer {
            Answer::Drop => return,
            Answer::Hang => std::future::pending().await,
            Answer::Status(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nx-amzn-requestid: {REQUEST_ID}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all((head + &body).as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads one request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream) -> Option<Form> {
    let mut text = String::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                let pair = |pair: &str| {
                    pair.split_once('=')
                        .map(|(k, v)| (k.to_owned(), v.replace("%3A", ":")))
                };
                return Some(body.split('&').filter_map(pair).collect());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.push_str(std::str::from_utf8(&buffer[..read]).unwrap()),
        }
    }
}

/// The value of a form's parameter.
pub(crate) fn value<'f>(form: &'f Form, name: &str) -> &'f str {
    form.iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value)
}

/// The target ids of a form.
pub(crate) fn ids(form: &Form) -> Vec<&str> {
    let is_id = |key: &str| key.starts_with("Targets.member.") && key.ends_with(".Id");
    form.iter()
        .filter(|(key, _)| is_id(key))
        .map(|(_, value)| value.as_str())
        .collect()
}

pub(crate) fn arn() -> TargetGroupArn {
    "arn:aws-cn:elasticloadbalancing:cn-north-1:111122223333:targetgroup/web/0123456789abcdef"
        .parse()
        .unwrap()
}

pub(crate) fn targets(range: std::ops::RangeInclusive<u8>) -> Vec<Target> {
    let target = |n| Target {
        key: TargetKey::ip([10, 0, 0, n].into(), 80),
        zone: None,
    };
    range.map(target).collect()
}

/// What the clock of [`client`] says.
pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        endpoint_url: Some(url.to_owned()),
        attempt_timeout: Duration::from_secs(1),
        credentials: Credentials::Static {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI".to_owned().into(),
        },
        ..Settings::default()
    }
}

pub(crate) async fn client(settings: Settings) -> ShardClient {
    let aws = Aws::new(settings, Metrics::new(&mut Registry::default()), Arc::new(now))
        .await
        .unwrap();
    aws.shard(arn().shard())
}

/// A lease that lasts.
pub(crate) fn later() -> Deadline {
    Deadline(Instant::now() + Duration::from_mins(1))
}
