//! Putting a simulator together.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    clock::{ClockMode, WallClock},
    core::Core,
    handle::Handle,
    server::{self, Running, StartError, Tls},
    settings::Settings,
    throttle::Throttling,
};

/// Where a simulator begins.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::default(),
            clock: ClockMode::REAL,
            default_account: "111122223333".to_owned(),
            seed: None,
            tls: None,
        }
    }
}

/// What a simulator starts with. All of it but the seed and TLS can be changed while it runs.
#[derive(Debug, Clone)]
pub struct Builder {
    settings: Settings,
    clock: ClockMode,
    default_account: String,
    seed: Option<u64>,
    tls: Option<Tls>,
}

impl Builder {
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    #[must_use]
    pub fn throttling(mut self, throttling: Throttling) -> Self {
        self.settings.throttling = throttling;
        self
    }

    #[must_use]
    pub fn clock(mut self, mode: ClockMode) -> Self {
        self.clock = mode;
        self
    }

    /// The account of access keys that nothing is known of.
    #[must_use]
    pub fn default_account(mut self, account: impl Into<String>) -> Self {
        self.default_account = account.into();
        self
    }

    /// Makes ids and random choices the same in every run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Serves on an address. Port 0 takes a free one.
    pub async fn start(self, address: SocketAddr) -> Result<Running, StartError> {
        let wall = WallClock::start();
        let core = Core::new(self.settings, wall, &self.clock, self.default_account, self.seed);
        server::start(Handle::new(core, wall), address, self.tls.as_ref()).await
    }

    /// Serves on a free port of loopback.
    pub async fn start_local(self) -> Result<Running, StartError> {
        self.start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }
}
