//! The gRPC listener: TLS, keepalive, limits, health, reflection.
//!
//! Agents, people and portals share it: a second port would need a second certificate and a second hole in every
//! firewall, and what a caller may do is decided by its token, not by its port.

use std::time::Duration;

use runtime::{Kind, Tasks};
use tokio::net::TcpListener;
use tonic::{
    service::RoutesBuilder,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use wire::agent::v1::agent_service_server::AgentServiceServer;

use super::Agents;
use crate::{Pem, grpc::Public};

/// Keepalive proves the socket; heartbeats prove the agent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection. An agent needs one; a proxy may carry several agents.
const STREAMS_PER_CONNECTION: u32 = 100;
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves gRPC until the soft stop; then every stream is sent away and the listener closes.
pub async fn serve(
    listener: TcpListener,
    tls: Option<&Pem>,
    agents: Agents,
    public: Public,
    tasks: &Tasks,
) -> Result<(), tonic::transport::Error> {
    let mut builder = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_PER_CONNECTION);
    if let Some(pem) = tls {
        let identity = Identity::from_pem(&pem.certificates, pem.key());
        builder = builder.tls_config(
            ServerTlsConfig::new()
                .identity(identity)
                .timeout(TLS_HANDSHAKE_TIMEOUT),
        )?;
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<AgentServiceServer<Agents>>().await;
    let service = AgentServiceServer::new(agents).max_decoding_message_size(wire::MAX_MESSAGE_BYTES);
    let mut routes = RoutesBuilder::default();
    routes.add_service(health_service).add_service(service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("protox encodes what it has compiled");
    routes.add_service(reflection);
    public.add_to(&mut routes);
    let router = builder.add_routes(routes.routes());
    let soft = tasks.soft();
    let stop = async move {
        soft.cancelled().await;
        health.set_not_serving::<AgentServiceServer<Agents>>().await;
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tasks.spawn(Kind::Critical, "agent gRPC", async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop).await {
            tracing::error!(error = %error, "the agent gRPC listener failed");
        }
    });
    Ok(())
}
