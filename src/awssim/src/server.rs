//! The shell: HTTP/1.1 on one port, for AWS's protocol and for the admin API. It decides nothing.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::body::{Body, to_bytes};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    admin,
    core::{Call, Ending},
    handle::Handle,
    query::{self, Credential},
};

const BIGGEST_BODY: usize = 4 * 1024 * 1024;

/// Certificate chain and key as PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}; choose another address or port 0")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read a PEM certificate chain from {path}")]
    Certificate {
        path: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    #[error("cannot read a PEM private key from {path}")]
    Key {
        path: PathBuf,
        source: rustls_pki_types::pem::Error,
    },
    #[error("certificate and key do not make a TLS server")]
    Tls(#[from] rustls::Error),
}

/// A simulator that serves. It stops when it is dropped.
#[derive(Debug)]
pub struct Running {
    url: String,
    address: SocketAddr,
    handle: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// The endpoint URL for SDKs, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Closes the port and all connections and waits until they are closed.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Waits until `stop` is called on it from elsewhere.
    pub async fn wait(&self) {
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn start(
    handle: Handle,
    address: SocketAddr,
    tls: Option<&Tls>,
) -> Result<Running, StartError> {
    let acceptor = tls.map(acceptor).transpose()?;
    let listen = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let shell = Arc::new(Shell {
        admin: admin::router(handle.clone()),
        handle: handle.clone(),
        tasks: tasks.clone(),
        stop: stop.clone(),
    });
    tasks.spawn(accept(listener, acceptor, shell));
    tasks.close();
    Ok(Running {
        url: format!("{scheme}://{address}"),
        address,
        handle,
        stop,
        tasks,
    })
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let certificate = |source| StartError::Certificate {
        path: tls.cert.clone(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert).map_err(certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|source| StartError::Key {
        path: tls.key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Shell {
    handle: Handle,
    admin: axum::Router,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated service closes the connection")]
struct Dropped;

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shell: Arc<Shell>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shell.stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (tls, served) = (tls.clone(), Arc::clone(&shell));
        shell.tasks.spawn(async move {
            let stop = served.stop.clone();
            tokio::select! {
                () = connection(stream, tls, served) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, shell: Arc<Shell>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off Nagle's algorithm");
    }
    match tls {
        None => serve(stream, shell).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve(stream, shell).await,
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        },
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shell: Arc<Shell>) {
    let service = service_fn(|request| answer(Arc::clone(&shell), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(shell: Arc<Shell>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    if request.uri().path().starts_with("/_awssim") {
        return match shell.admin.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        };
    }
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), BIGGEST_BODY).await else {
        return Ok(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request body is bigger than 4 MiB",
        ));
    };
    let received = shell.handle.wall_now();
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let form = query::decode(if body.is_empty() {
        head.uri.query().unwrap_or_default().as_bytes()
    } else {
        &body
    });
    let call = Call {
        credential: authorization.and_then(Credential::parse),
        form,
        received,
    };
    let decision = shell.handle.handle_call(call);
    let mut waiting = Waiting {
        handle: &shell.handle,
        sequence: decision.sequence,
        finished: false,
    };
    match decision.ending {
        Ending::Answer { after, answer } => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            waiting.answered();
            let response = Response::builder()
                .status(answer.status)
                .header(header::CONTENT_TYPE, "text/xml;charset=UTF-8")
                .header("x-amzn-requestid", answer.request_id)
                .body(Body::from(answer.body));
            Ok(response.expect("a status of AWS and plain headers make a response"))
        }
        Ending::Silence { hold } => {
            match hold {
                Some(hold) => tokio::time::sleep(hold).await,
                None => std::future::pending().await,
            }
            Err(Dropped)
        }
        Ending::ApplyLater { after, call } => {
            let (handle, stop) = (shell.handle.clone(), shell.stop.clone());
            shell.tasks.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(after) => handle.apply_late(&call),
                    () = stop.cancelled() => {}
                }
            });
            std::future::pending().await
        }
        Ending::Drop { after } => {
            tokio::time::sleep(after).await;
            Err(Dropped)
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Notes in the journal how a call ended, also when the client goes away in the middle.
struct Waiting<'a> {
    handle: &'a Handle,
    sequence: u64,
    finished: bool,
}

impl Waiting<'_> {
    fn answered(&mut self) {
        self.finished = true;
        self.handle.note_answered(self.sequence);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.handle.note_abandoned(self.sequence);
        }
    }
}
