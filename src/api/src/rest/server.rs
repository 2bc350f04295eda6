//! The REST listener.

use std::{io, net::TcpListener, time::Duration};

use axum_server::{Handle, tls_rustls::RustlsConfig};
use control::Control;
use runtime::{Kind, Tasks};

use crate::Pem;

/// How long requests under way may take once a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves REST until the soft stop.
pub async fn serve(
    listener: TcpListener,
    tls: Option<&Pem>,
    control: Control,
    tasks: &Tasks,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let service = super::router(control).into_make_service();
    let handle = Handle::new();
    let (soft, stop) = (tasks.soft(), handle.clone());
    tasks.spawn(Kind::Job, "REST drain", async move {
        soft.cancelled().await;
        stop.graceful_shutdown(Some(DRAIN));
    });
    let tls = match tls {
        Some(pem) => Some(RustlsConfig::from_pem(pem.certificates.clone(), pem.key().to_vec()).await?),
        None => None,
    };
    let plain = axum_server::from_tcp(listener)?.handle(handle);
    tasks.spawn(Kind::Critical, "REST", async move {
        let served = match tls {
            Some(tls) => {
                plain
                    .acceptor(axum_server::tls_rustls::RustlsAcceptor::new(tls))
                    .serve(service)
                    .await
            }
            None => plain.serve(service).await,
        };
        if let Err(error) = served {
            tracing::error!(error = %error, "the REST listener failed");
        }
    });
    Ok(())
}
