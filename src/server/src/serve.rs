//! `serve`: the composition of the service, and its end.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use api::{
    agent::{self, Agents, Patience, server as agent_server},
    grpc::Public,
};
use control::{Census, Control, Settings, Token, TokenSpec};
use model::guard::Guards;
use reconcile::{DatabaseClock, Engine};
use runtime::{
    Clock, Kind, Lifecycle, Probe, Tasks,
    admin::{self, Admin, Readiness},
    telemetry::{self, Registry},
};
use store::{Hub, Identity, Store, Wakes};
use tokio::net::TcpListener;

use crate::{
    connect,
    options::{Aws, Replica, ServeOptions},
    require_schema,
};

/// A database that fails over is away for some seconds; requests wait or fail by themselves meanwhile.
const DATABASE: Probe = Probe {
    name: "database",
    every: Duration::from_secs(2),
    patience: Duration::from_secs(15),
};

pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    let ServeOptions {
        database,
        listen,
        aws,
        guards,
        retention,
        replica,
        admin_token_file,
        heartbeat,
        grace,
        told,
    } = options;
    let _tracing = told.init(&replica)?;
    // Only a second call can fail, and then the provider is already the one we want.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let identity = listen.identity()?;
    if identity.is_none() {
        tracing::warn!("--insecure-dev: tokens travel in plain text");
    }
    let lifecycle = Lifecycle::new();
    let tasks = lifecycle.tasks();
    let mut registry = telemetry::registry(env!("CARGO_PKG_VERSION"));
    let store = connect(&database, &mut registry).await?;
    require_schema(&store).await?;
    if store.check_identity().await? == Identity::Changed {
        tracing::warn!(
            "the database is another one or went back in time: removals wait until each shard is released"
        );
    }
    let guards = Guards::from(guards);
    let control = Control::new(
        store.clone(),
        Settings {
            heartbeat,
            guards: guards.clone(),
            retention: retention.into(),
            ..Settings::default()
        },
    );
    Census::new(&mut registry).spawn(&control, Clock::real(), &tasks);
    first_admin(&control, admin_token_file.as_deref()).await?;

    let readiness = Readiness::default();
    readiness.set("listeners", false);
    let asked = store.clone();
    DATABASE.spawn(&readiness, &tasks, move || {
        let store = asked.clone();
        async move { require_schema(&store).await }
    });
    let hub = Hub::new(store.clone());
    control.spawn(&tasks, hub.subscribe());
    spawn_engine(
        store,
        hub.subscribe(),
        aws,
        guards,
        replica,
        &mut registry,
        &tasks,
    )
    .await?;
    let soft = tasks.soft();
    tasks.spawn(Kind::Critical, "wakes", async move {
        soft.run_until_cancelled(hub.run()).await;
    });

    let streams = agent::Metrics::new(&mut registry);
    let admin_listener = TcpListener::bind(listen.admin_address)
        .await
        .context("cannot listen for the admin port")?;
    let rest = std::net::TcpListener::bind(listen.api_address).context("cannot listen for REST")?;
    let agents = TcpListener::bind(listen.agent_address)
        .await
        .context("cannot listen for agents")?;
    tracing::info!(
        rest = %rest.local_addr()?, agents = %agents.local_addr()?, admin = %admin_listener.local_addr()?, "listening"
    );
    admin::serve(
        admin_listener,
        Admin {
            registry: Arc::new(registry),
            readiness: readiness.clone(),
        },
        &tasks,
    );
    api::rest::server::serve(rest, identity.as_ref(), control.clone(), &tasks)
        .await
        .context("REST")?;
    let public = Public::new(control.clone());
    let service = Agents::new(control, tasks.clone(), Patience::default(), streams);
    agent_server::serve(agents, identity.as_ref(), service, public, &tasks)
        .await
        .context("the certificate or key is unusable")?;
    readiness.set("listeners", true);

    lifecycle.run(grace).await
}

/// Somebody must be able to begin: the admin of the file, or one that is made while there is none.
async fn first_admin(control: &Control, token_file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(path) = token_file {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let token = Token::parse(text.trim()).with_context(|| {
            format!(
                "{} holds no token; `elbow-server token create` makes one",
                path.display()
            )
        })?;
        control
            .register_token(TokenSpec::admin("admin token file"), &token)
            .await?;
    } else if let Some(token) = control.bootstrap().await? {
        // Not in the log, which others keep.
        println!("the first admin's token, shown this once: {}", token.expose());
    }
    Ok(())
}

/// The reconcile loop of this process.
async fn spawn_engine(
    store: Store,
    wakes: Wakes,
    aws: Aws,
    guards: Guards,
    replica: Replica,
    registry: &mut Registry,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let clock = Clock::real();
    let database = DatabaseClock::new(clock.clone());
    let settings = aws::Settings::from(aws);
    let attempt_timeout = settings.attempt_timeout;
    let now = {
        let database = database.clone();
        Arc::new(move || database.now())
    };
    let aws = aws::Aws::new(settings, aws::Metrics::new(registry), now)
        .await
        .context("AWS cannot be set up")?;
    let settings = replica.settings(attempt_timeout, guards)?;
    tracing::info!(replica = settings.replica, "this replica");
    Engine::new(
        store,
        aws,
        settings,
        clock,
        database,
        reconcile::Metrics::new(registry),
    )
    .spawn(tasks, wakes);
    Ok(())
}
